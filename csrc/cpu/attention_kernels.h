// The tables of kernels that CMake compiled, and which one serves a dtype.
#pragma once

#include "cpu/attention_types.h"
#include "cpu/dispatch.h"

namespace ladnet {

LADNET_DECLARE_FOR_EACH_SET(extern const attention::Kernels attention_kernels;)
#ifdef LADNET_HAVE_AVX512_BF16
namespace avx512_bf16 {
extern const attention::ForwardKernels attention_forward_bf16;
extern const attention::BackwardKernels attention_backward_bf16;
}  // namespace avx512_bf16
#endif
#ifdef LADNET_HAVE_AMX
namespace amx {
extern const attention::ForwardKernels attention_forward_bf16;
extern const attention::BackwardKernels attention_backward_bf16;
}  // namespace amx
#endif

namespace attention {

inline bool multiplies(Dtype dtype, Bf16Products products) {
  return dtype == Dtype::kBFloat16 && bf16_products() == products;
}

inline const ForwardKernels& forward_kernels(Dtype dtype) {
  const Kernels& kernels = LADNET_SELECT(attention_kernels);
#ifdef LADNET_HAVE_AVX512_BF16
  if (multiplies(dtype, Bf16Products::kPairs)) return avx512_bf16::attention_forward_bf16;
#endif
#ifdef LADNET_HAVE_AMX
  if (multiplies(dtype, Bf16Products::kTiles)) return amx::attention_forward_bf16;
#endif
  return dtype == Dtype::kFloat64 ? kernels.forward64 : kernels.forward32;
}

inline const BackwardKernels& backward_kernels(Dtype dtype) {
  const Kernels& kernels = LADNET_SELECT(attention_kernels);
#ifdef LADNET_HAVE_AVX512_BF16
  if (multiplies(dtype, Bf16Products::kPairs)) return avx512_bf16::attention_backward_bf16;
#endif
#ifdef LADNET_HAVE_AMX
  if (multiplies(dtype, Bf16Products::kTiles)) return amx::attention_backward_bf16;
#endif
  return dtype == Dtype::kFloat64 ? kernels.backward64 : kernels.backward32;
}

inline const ToeplitzKernels& toeplitz_kernels(Dtype dtype) {
  const Kernels& kernels = LADNET_SELECT(attention_kernels);
  return dtype == Dtype::kFloat64 ? kernels.toeplitz64 : kernels.toeplitz32;
}

}  // namespace attention
}  // namespace ladnet
