// Reductions and scans over the threads of a warp or a block, each in a fixed order.
//
// Every function here is called by all threads of the block (of the warp, where the name says so).
#pragma once

#include <stdint.h>

namespace ladnet::gpu {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ __forceinline__ int lane_of_warp() {
  return static_cast<int>(threadIdx.x) % kWarp;
}

struct Add {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Largest {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// Combines the values of neighbouring threads: of each group of kLanes = 2, 4 .. 32, or of a block
// of kLanes > 32 threads. Every thread gets the same bits, because the operation commutes.
template <int kLanes, class T, class Operation>
__device__ __forceinline__ T reduce(T value, Operation operation) {
  constexpr int kShuffled = kLanes < kWarp ? kLanes : kWarp;
#pragma unroll
  for (int distance = kShuffled / 2; distance > 0; distance /= 2) {
    value = operation(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  if constexpr (kLanes > kWarp) {
    constexpr int kWarps = kLanes / kWarp;
    __shared__ T of_warp[kWarps];
    __syncthreads();  // the last reduction may still be read
    if (lane_of_warp() == 0) of_warp[threadIdx.x / kWarp] = value;
    __syncthreads();
    value = of_warp[0];
    for (int warp = 1; warp < kWarps; ++warp) value = operation(value, of_warp[warp]);
  }
  return value;
}

// Whether the condition holds for any group of the warp. In a group larger than a warp it must be
// the same for all lanes.
template <int kLanes>
__device__ __forceinline__ bool any_group(bool predicate) {
  if constexpr (kLanes >= kWarp) return predicate;
  return __any_sync(kAllLanes, predicate) != 0;
}

// Inclusive scan over a warp.
template <class T>
__device__ __forceinline__ T warp_scan(T value) {
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const T other = __shfl_up_sync(kAllLanes, value, distance);
    if (lane_of_warp() >= distance) value += other;
  }
  return value;
}

// What the threads before this one hold together, and what the block does.
template <class T>
struct Scan {
  T before;
  T total;
};

template <int kThreads, class T>
__device__ __forceinline__ Scan<T> block_scan(T value) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ T of_warp[kWarps];
  const int own = static_cast<int>(threadIdx.x) / kWarp;
  const T inclusive = warp_scan(value);
  __syncthreads();  // the last scan may still be read
  if (lane_of_warp() == kWarp - 1) of_warp[own] = inclusive;
  __syncthreads();
  Scan<T> scan{inclusive - value, 0};
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp < own) scan.before += of_warp[warp];
    scan.total += of_warp[warp];
  }
  return scan;
}

}  // namespace ladnet::gpu
