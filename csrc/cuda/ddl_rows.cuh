// Rows of features in the registers of a group of lanes.
//
// Lane l of a group of kLanes holds the vectors l, l + kLanes, .. of 16 bytes of a row, widened to
// fp32: neighbouring lanes read neighbouring memory. A row behind whose end a vector would reach,
// or whose address is not a multiple of 16, is read element by element, by the same lanes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#include <string.h>

#include "core/ddl_elements.h"
#include "cuda/async_copy.cuh"
#include "cuda/block.cuh"
#include "cuda/ddl_layout.cuh"

namespace ladnet::ddl::gpu {

using ladnet::gpu::any_group;
using ladnet::gpu::copy_async;
using ladnet::gpu::Largest;
using ladnet::gpu::wait_for_copies;

// ---- Storage types: four words of memory and the elements in them ------------------------------

template <class F>
constexpr int kPerVector = 16 / static_cast<int>(sizeof(F));

__device__ __forceinline__ void narrow(float from, float* to) {
  *to = from;
}
__device__ __forceinline__ void narrow(float from, BFloat16* to) {
  *to = bit_cast<BFloat16>(__float2bfloat16_rn(from));
}
__device__ __forceinline__ void narrow(float from, Float16* to) {
  *to = bit_cast<Float16>(__float2half_rn(from));
}

template <class F>
constexpr int kPerWord = 4 / static_cast<int>(sizeof(F));

__device__ __forceinline__ void widen_word(uint32_t word, float* to, float) {
  to[0] = bit_cast<float>(word);
}
__device__ __forceinline__ void widen_word(uint32_t word, float* to, BFloat16) {
  to[0] = bit_cast<float>(word << 16);
  to[1] = bit_cast<float>(word & 0xffff0000u);
}
__device__ __forceinline__ void widen_word(uint32_t word, float* to, Float16) {
  const float2 pair = __half22float2(bit_cast<__half2>(word));
  to[0] = pair.x;
  to[1] = pair.y;
}

__device__ __forceinline__ uint32_t narrow_word(const float* from, float) {
  return bit_cast<uint32_t>(from[0]);
}
__device__ __forceinline__ uint32_t narrow_word(const float* from, BFloat16) {
  return bit_cast<uint32_t>(__floats2bfloat162_rn(from[0], from[1]));
}
__device__ __forceinline__ uint32_t narrow_word(const float* from, Float16) {
  return bit_cast<uint32_t>(__floats2half2_rn(from[0], from[1]));
}

// ---- How a row is spread over lanes ------------------------------------------------------------

template <class F, int kLanes_, int kValues_>
struct Shape {
  using Feature = F;
  static constexpr int kLanes = kLanes_;
  static constexpr int kValues = kValues_;  // fp32 registers per lane
  static constexpr int kWidth = kLanes * kValues;
  static constexpr int kVectors = kValues / kPerVector<F>;

  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % kLanes; }
  // First element of a vector of this lane.
  __device__ __forceinline__ static int element(int vector) {
    return (vector * kLanes + lane()) * kPerVector<F>;
  }
};

// Two rows of each group in shared memory, as they lie in memory, zeros behind their end: one that
// is computed with, and the next one on its way. A lane reads what it has fetched itself, so that
// no barrier is needed.
template <class S, int kThreads>
struct RowBuffers {
  uint4 vectors[2][S::kVectors][kThreads];
};

// A row at length 1, and what it was multiplied by: first by scale, then by inverse.
template <class S>
struct Row {
  float unit[S::kValues];
  RowNorm<float> norm;
};

__device__ __forceinline__ uint32_t word_of(const float* from, bool, bool wanted) {
  return wanted ? bit_cast<uint32_t>(*from) : 0u;
}
template <class F>
__device__ __forceinline__ uint32_t word_of(const F* from, bool both, bool wanted) {
  const uint32_t low = wanted ? bit_cast<uint16_t>(from[0]) : 0u;
  const uint32_t high = wanted && both ? bit_cast<uint16_t>(from[1]) : 0u;
  return low | high << 16;
}

// Begins to fetch a row into one of the buffers; zeros if it is not wanted.
template <class S, int kThreads>
__device__ __forceinline__ void fetch_row(const typename S::Feature* from, int width,
                                          bool in_vectors, bool wanted, int buffer,
                                          RowBuffers<S, kThreads>& buffers) {
  using F = typename S::Feature;
  if (in_vectors) {
#pragma unroll
    for (int v = 0; v < S::kVectors; ++v) {
      const int first = S::element(v);
      const bool inside = wanted && first < width;
      copy_async(&buffers.vectors[buffer][v][threadIdx.x], from + (inside ? first : 0), inside);
    }
    return;
  }
  // Eight elements at a time: more would cost registers that the usual rows need.
  constexpr int kAtOnce = 8 / kPerVector<F>;
#pragma unroll kAtOnce
  for (int v = 0; v < S::kVectors; ++v) {
    uint32_t words[4];
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      const int c = S::element(v) + w * kPerWord<F>;
      words[w] = word_of(from + c, c + 1 < width, wanted && c < width);
    }
    buffers.vectors[buffer][v][threadIdx.x] = make_uint4(words[0], words[1], words[2], words[3]);
  }
}

// The numbers of a row that has been fetched, not yet brought to length 1.
template <class S, int kThreads>
__device__ __forceinline__ void read_row(const RowBuffers<S, kThreads>& buffers, int buffer,
                                         Row<S>& row) {
  using F = typename S::Feature;
#pragma unroll
  for (int v = 0; v < S::kVectors; ++v) {
    const uint4 vector = buffers.vectors[buffer][v][threadIdx.x];
    const uint32_t words[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      widen_word(words[w], row.unit + (v * 4 + w) * kPerWord<F>, F{});
    }
  }
}

template <class S>
__device__ __forceinline__ void store_row(const float* values, int width, bool in_vectors,
                                          typename S::Feature* to) {
  using F = typename S::Feature;
  if (in_vectors) {
#pragma unroll
    for (int v = 0; v < S::kVectors; ++v) {
      uint32_t words[4];
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        words[w] = narrow_word(values + (v * 4 + w) * kPerWord<F>, F{});
      }
      const uint4 vector = make_uint4(words[0], words[1], words[2], words[3]);
      if (S::element(v) < width) *reinterpret_cast<uint4*>(to + S::element(v)) = vector;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < S::kValues; ++i) {
    const int c = S::element(i / kPerVector<F>) + i % kPerVector<F>;
    if (c < width) narrow(values[i], to + c);
  }
}

template <class S>
__device__ __forceinline__ float sum_of_squares(const Row<S>& row) {
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < S::kValues; ++i) squares = fmaf(row.unit[i], row.unit[i], squares);
  return reduce<S::kLanes>(squares, Add{});
}

// Brings a loaded row to length 1. Rows whose squares overflow, vanish or are not finite take the
// longer way, and the other groups of their warp go along.
template <class S>
__device__ __forceinline__ void normalise(bool wanted, Row<S>& row) {
  float squares = sum_of_squares(row);
  const bool usual = is_safe_norm(squares) || !wanted;
  row.norm.scale = 1.0f;
  bool finite = true;
  if (any_group<S::kLanes>(!usual)) {
    int largest = 0;
#pragma unroll
    for (int i = 0; i < S::kValues; ++i) {
      const int bits = bit_cast<int>(row.unit[i]) & FloatBits<float>::kMagnitude;
      largest = bits > largest ? bits : largest;
    }
    largest = reduce<S::kLanes>(largest, Largest{});
    finite = largest < FloatBits<float>::kInfinity;
    if (!usual && finite) row.norm.scale = row_scale<float>(largest);
#pragma unroll
    for (int i = 0; i < S::kValues; ++i) row.unit[i] *= row.norm.scale;
    squares = sum_of_squares(row);
  }
  if (squares == 0.0f) row.norm.scale = 1.0f;
  row.norm.inverse = squares == 0.0f ? 0.0f : inverse_root(squares);
  if (!finite) row.norm.inverse = key_value<float>(FloatBits<float>::kMagnitude);
#pragma unroll
  for (int i = 0; i < S::kValues; ++i) row.unit[i] *= row.norm.inverse;
}

// df of two rows, in every lane of the group.
template <class S>
__device__ __forceinline__ float dynamics_of(const Row<S>& row, const Row<S>& next) {
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < S::kValues; ++i) {
    const float difference = row.unit[i] - next.unit[i];
    squares = fmaf(difference, difference, squares);
  }
  const float df = clamped_dynamics(reduce<S::kLanes>(squares, Add{}));
  const bool zeros = row.norm.inverse == 0.0f || next.norm.inverse == 0.0f;
  return zeros ? zero_row_dynamics(row.norm.inverse, next.norm.inverse) : df;
}

}  // namespace ladnet::ddl::gpu
