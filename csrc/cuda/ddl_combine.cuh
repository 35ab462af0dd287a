// The gradient of one score, from those of the three terms.
#pragma once

#include <stdint.h>

namespace ladnet::ddl::gpu {

// Sum over the terms of their gradient times their derivative by one score. A term without
// gradient adds nothing, even where its derivative is not finite.
__device__ __forceinline__ float combine(const float* __restrict__ grad_terms,
                                         const float* __restrict__ score_grads, int64_t snippets,
                                         int64_t snippet) {
  float sum = 0.0f;
#pragma unroll
  for (int term = 0; term < 3; ++term) {
    const float grad = grad_terms[term];
    if (grad != 0.0f) sum += grad * score_grads[term * snippets + snippet];
  }
  return sum;
}

}  // namespace ladnet::ddl::gpu
