// What AddressSanitizer and ThreadSanitizer have to be told about fibers.
//
// The emulator itself is compiled without them and only the kernels are instrumented, so that its
// own bookkeeping is never reported. The hooks are weak: they exist when a sanitizer's runtime is
// in the process, and one build of the emulator serves every flavour of kernels.
#pragma once

#include <stddef.h>

extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom,
                                                          size_t size);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom,
                                                           size_t* size);
__attribute__((weak)) void __asan_poison_memory_region(const volatile void* begin, size_t size);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* begin, size_t size);
__attribute__((weak)) void* __tsan_get_current_fiber();
__attribute__((weak)) void* __tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_destroy_fiber(void* fiber);
__attribute__((weak)) void __tsan_switch_to_fiber(void* fiber, unsigned flags);
__attribute__((weak)) void __tsan_acquire(void* address);
__attribute__((weak)) void __tsan_release(void* address);
}

namespace cuda_on_cpu {

inline bool has_asan() {
  return __asan_poison_memory_region != nullptr;
}

inline bool has_tsan() {
  return __tsan_create_fiber != nullptr;
}

inline void forbid(const volatile void* begin, size_t size) {
  if (has_asan()) __asan_poison_memory_region(begin, size);
}

inline void allow(const volatile void* begin, size_t size) {
  if (has_asan()) __asan_unpoison_memory_region(begin, size);
}

// An edge of "happens before": all that was done before release(e) is visible after acquire(e).
// Any address serves as a name of the edge.
struct Edge {
  char name;
};

inline void release(Edge& edge) {
  if (has_tsan()) __tsan_release(&edge.name);
}

inline void acquire(Edge& edge) {
  if (has_tsan()) __tsan_acquire(&edge.name);
}

}  // namespace cuda_on_cpu
