// Lets g++ compile an unmodified .cu file: every CUDA thread becomes a fiber of one CPU thread.
//
// Given on the command line with -include, so that the file need not name it. It must launch its
// kernels with launch(kernel, grid, block, shared_bytes, stream, arguments...), which is
// kernel<<<grid, block, shared_bytes, stream>>>(arguments...) under nvcc. README.md says what is
// found this way and what is not.
#pragma once

#ifdef __CUDACC__
#error "cuda_on_cpu.h is for a host compiler; nvcc has the real thing"
#endif

// The toolkit's own types and numbers (dim3, float4, __half, cudaError_t): headers alone, nothing
// of CUDA is linked.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#undef __shared__
#undef __constant__
#undef __launch_bounds__
// In a function, thread_local implies static; extern thread_local is dynamic shared memory.
#define __shared__ thread_local
#define __constant__
#define __launch_bounds__(...)

#include "atomics.h"
#include "built_ins.h"
#include "device.h"
#include "intrinsics.h"

// The toolkit's headers define this one for nvcc alone.
template <class... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute,
                                 int value) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

namespace cuda_on_cpu {

template <class... Parameters>
struct Call {
  void (*kernel)(Parameters...);
  std::tuple<std::decay_t<Parameters>...> arguments;

  static void run(void* self) {
    const Call& call = *static_cast<const Call*>(self);
    std::apply(call.kernel, call.arguments);
  }
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
            Arguments&&... arguments) {
  Call<Parameters...> call{kernel, {std::forward<Arguments>(arguments)...}};
  const auto addresses = std::apply(
      [](const auto&... stored) { return std::vector<const void*>{&stored...}; }, call.arguments);
  Device::get().launch({reinterpret_cast<const void*>(kernel),
                        grid,
                        block,
                        shared_bytes,
                        &Call<Parameters...>::run,
                        &call,
                        addresses,
                        {sizeof(std::decay_t<Parameters>)...}});
}

}  // namespace cuda_on_cpu
