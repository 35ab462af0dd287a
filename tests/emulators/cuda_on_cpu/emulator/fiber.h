// A fiber: a stack of its own, on which one CUDA thread runs until it has to wait.
#pragma once

#include <stddef.h>

#include "sanitizers.h"

namespace cuda_on_cpu {

class Fiber {
 public:
  static constexpr size_t kStackBytes = size_t(256) << 10;

  // Maps the stack, with a guard page below it: an overflow ends the process with a signal.
  // `index` staggers the stacks, since equal page offsets would fight for the same cache lines.
  explicit Fiber(unsigned index);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Forgets what the stack holds; the next resume() begins with `entry`, which must not return.
  void reset(void (*entry)());

  // Called by the scheduler: runs the fiber until it calls yield().
  void resume();

  // Called on the fiber: goes back to the scheduler.
  void yield();

  // What `entry` has to call first.
  static void started();

 private:
  void* top_of_stack_ = nullptr;  // while it is not running
  char* stack_ = nullptr;
  unsigned index_;
  void* fake_stack_ = nullptr;
  void* tsan_fiber_ = nullptr;
};

}  // namespace cuda_on_cpu
