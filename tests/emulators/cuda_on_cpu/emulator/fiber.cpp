#include "fiber.h"

#include <sys/mman.h>

#include <new>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the fibers of cuda_on_cpu are written for x86-64 Linux"
#endif

// Saves the registers that a called function has to keep, and continues on another stack.
extern "C" void cuda_on_cpu_switch_stack(void** save_top, void* new_top);
asm(R"(
.text
.globl cuda_on_cpu_switch_stack
.hidden cuda_on_cpu_switch_stack
.type cuda_on_cpu_switch_stack, @function
cuda_on_cpu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_on_cpu_switch_stack, .-cuda_on_cpu_switch_stack
)");

namespace cuda_on_cpu {
namespace {

constexpr size_t kGuardBytes = 4096;
constexpr size_t kSavedRegisters = 6;
// ThreadSanitizer is not to see a switch as synchronisation: only barriers are.
constexpr unsigned kNoSync = 1;

// The scheduler's side, which is the thread that launched the kernel.
struct {
  void* top_of_stack = nullptr;
  const void* bottom = nullptr;
  size_t bytes = 0;
  void* fake_stack = nullptr;
  void* tsan_fiber = nullptr;
} scheduler;

}  // namespace

Fiber::Fiber(unsigned index) : index_(index) {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kGuardBytes, PROT_NONE);
  stack_ = static_cast<char*>(memory) + kGuardBytes;
}

Fiber::~Fiber() {
  if (tsan_fiber_ != nullptr) __tsan_destroy_fiber(tsan_fiber_);
  munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes);
}

void Fiber::reset(void (*entry)()) {
  allow(stack_, kStackBytes);
  const size_t stagger = index_ % 61 * 192;
  // What switch_stack pops: the saved registers, then the address to return to. Above it lies a
  // null return address, where a debugger's walk of the stack ends.
  void** frame = reinterpret_cast<void**>(stack_ + kStackBytes - 64 - stagger);
  frame[0] = reinterpret_cast<void*>(entry);
  frame[1] = nullptr;
  top_of_stack_ = frame - kSavedRegisters;
  fake_stack_ = nullptr;
  if (has_tsan()) {
    if (tsan_fiber_ != nullptr) __tsan_destroy_fiber(tsan_fiber_);
    tsan_fiber_ = __tsan_create_fiber(0);
  }
}

void Fiber::resume() {
  if (has_asan()) __sanitizer_start_switch_fiber(&scheduler.fake_stack, stack_, kStackBytes);
  if (has_tsan()) {
    scheduler.tsan_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(tsan_fiber_, kNoSync);
  }
  cuda_on_cpu_switch_stack(&scheduler.top_of_stack, top_of_stack_);
  if (has_asan()) __sanitizer_finish_switch_fiber(scheduler.fake_stack, nullptr, nullptr);
}

void Fiber::yield() {
  if (has_asan()) {
    __sanitizer_start_switch_fiber(&fake_stack_, scheduler.bottom, scheduler.bytes);
  }
  if (has_tsan()) __tsan_switch_to_fiber(scheduler.tsan_fiber, kNoSync);
  cuda_on_cpu_switch_stack(&top_of_stack_, scheduler.top_of_stack);
  if (has_asan()) {
    __sanitizer_finish_switch_fiber(fake_stack_, &scheduler.bottom, &scheduler.bytes);
  }
}

void Fiber::started() {
  if (has_asan()) __sanitizer_finish_switch_fiber(nullptr, &scheduler.bottom, &scheduler.bytes);
}

}  // namespace cuda_on_cpu
