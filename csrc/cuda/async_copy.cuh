// Copies from global to shared memory that go on while the thread computes (sm_80 and later).
#pragma once

#include <stdint.h>

namespace ladnet::gpu {

// Starts the copy of 16 bytes, both sides aligned; of zeros where they are not wanted, and then
// `from` is not read. Until wait_for_copies the thread may not touch what it has given here.
__device__ __forceinline__ void copy_async(uint4* to, const void* from, bool wanted) {
#if defined(__CUDA_ARCH__)
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(wanted ? 16 : 0)
               : "memory");
#else  // tests/emulators/cuda_on_cpu
  *to = wanted ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}

// Waits for the copies that this thread has started, and shows them to this thread.
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDA_ARCH__)
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace ladnet::gpu
