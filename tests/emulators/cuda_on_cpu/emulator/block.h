// One block of threads: runs them in turns, and lets them meet at barriers and warp collectives.
#pragma once

#include <stdint.h>
#include <vector_types.h>

#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fiber.h"
#include "warp.h"

namespace cuda_on_cpu {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kWarpSize = 32;

// Which ready thread runs next. "Up" and "down" run a warp until it can go no further, then the
// next one; "random" changes the warp at every turn. What depends on the order is a bug.
enum class Schedule : int { kUp = 0, kDown = 1, kRandom = 2 };

class Block {
 public:
  using Body = void (*)(void*);

  // The one block that runs at a time.
  static Block& current();

  // Prepares for a launch of `shape` threads that each call body(argument).
  void prepare(dim3 shape, dim3 grid, Body body, void* argument, Schedule schedule, unsigned seed);

  // Runs the block at `index` to its end; returns what went wrong, or an empty string.
  std::string run(uint3 index);

  // ---- Called by a kernel, on one of the fibers ----

  // A barrier of the block; returns for how many threads `vote` was not 0.
  int barrier(int vote, Site site);

  // A collective of the warp; returns this lane's result.
  uint64_t collective(Request request);

  unsigned lane() const { return running_->id % kWarpSize; }

  // Ends the block with a message that names the running thread.
  [[noreturn]] void fail(const std::string& message);

  // ---- Mutations: what the tests of a kernel would say to one barrier less ----

  // Takes the __syncthreads at that line out of every kernel, as if it were not written there. An
  // empty name takes out nothing. `file` is compared with the end of a path.
  void remove_barrier(std::string file, int line);

  // Every __syncthreads that was reached since remove_barrier(): lines of "path:line".
  std::string barriers_reached() const;

 private:
  enum class State : uint8_t { kReady, kAtBarrier, kAtCollective, kReturned };

  struct Thread {
    explicit Thread(unsigned id_) : id(id_), fiber(id_) {}
    unsigned id;
    uint3 index{};
    State state = State::kReturned;
    Site site;        // where it waits
    Request request;  // while it waits at a collective
    Fiber fiber;
  };

  static void thread_main();
  bool is_removed(const Site& site) const;
  void run_one_round();
  void finish_thread();
  void open_barrier();
  void try_collective(Thread& thread);
  void wait(Thread& thread);
  std::string deadlock() const;
  std::vector<std::unique_ptr<Thread>> threads_;  // kept from launch to launch
  bool abandoned_ = true;                         // stacks hold threads that never returned
  Thread* running_ = nullptr;
  dim3 shape_;
  unsigned count_ = 0;
  Body body_ = nullptr;
  void* argument_ = nullptr;
  Schedule schedule_ = Schedule::kUp;
  std::mt19937 random_;
  std::vector<unsigned> warp_order_, lane_order_;

  std::string error_;
  bool progress_ = false;
  unsigned alive_ = 0;

  unsigned arrived_ = 0, votes_ = 0, result_ = 0, generation_ = 0;
  Site barrier_site_;
  std::string removed_file_;
  int removed_line_ = 0;
  std::set<std::pair<std::string, int>> reached_;

  // Barriers order memory, and nothing else does: not the end of a turn, not a shuffle. Two edges
  // each, used alternately, since a thread may arrive at the next barrier before another one left
  // the last.
  Edge block_start_, block_end_, barrier_edge_[2], warp_edge_[kMaxThreads / kWarpSize][2];
  unsigned warp_generation_[kMaxThreads / kWarpSize] = {};
};

}  // namespace cuda_on_cpu
