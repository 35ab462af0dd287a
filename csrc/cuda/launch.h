// The one function that launches kernels; it checks every launch.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/check.h"

namespace ladnet::gpu {

#if defined(__CUDACC__)
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, Arguments... arguments) {
  kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
}
#else  // tests/emulators/cuda_on_cpu: another compiler, and threads that run on the CPU
using cuda_on_cpu::launch;
#endif

// Launches a kernel with `threads` threads per block, without dynamic shared memory. Throws if the
// launch is refused; errors inside of the kernel are reported by the stream's next synchronisation.
template <class Kernel, class... Arguments>
void launch_checked(const char* name, Kernel kernel, dim3 grid, unsigned threads,
                    cudaStream_t stream, const Arguments&... arguments) {
  launch(kernel, grid, dim3(threads), 0, stream, arguments...);
  check(cudaGetLastError(), name);
}

}  // namespace ladnet::gpu
