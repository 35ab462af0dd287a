// Sound kernels, each of which leans on another part of the harness.
#include "../../launch.h"

namespace examples {

template <class T>
__device__ __forceinline__ float to_float(T value) {
  return static_cast<float>(value);
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, offset);
  }
  return value;
}

// The sum of every bag: shuffles, static shared memory, an early end for warps without work.
template <class T>
__global__ void __launch_bounds__(1024)
    bag_sums(const T* __restrict__ values, const int* __restrict__ offsets,
             float* __restrict__ out) {
  __shared__ float partial[32];
  const int bag = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float sum = 0.0f;
  for (int i = offsets[bag] + threadIdx.x; i < offsets[bag + 1]; i += blockDim.x) {
    sum += to_float(values[i]);
  }
  sum = warp_sum(sum);
  if (lane == 0) partial[warp] = sum;
  __syncthreads();
  if (warp != 0) return;
  sum = warp_sum(lane < (blockDim.x + 31) / 32 ? partial[lane] : 0.0f);
  if (lane == 0) out[bag] = sum;
}

// The maximum of every bag: a tree in dynamic shared memory, barriers in a loop.
__global__ void bag_maxima(const float* values, const int* offsets, float* out) {
  extern __shared__ float tree[];
  const int bag = blockIdx.x;
  float largest = -INFINITY;
  for (int i = offsets[bag] + threadIdx.x; i < offsets[bag + 1]; i += blockDim.x) {
    largest = fmaxf(largest, values[i]);
  }
  tree[threadIdx.x] = largest;
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      tree[threadIdx.x] = fmaxf(tree[threadIdx.x], tree[threadIdx.x + half]);
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) out[bag] = tree[0];
}

// How often each digit occurs: integer atomics in shared memory, under another name and type than
// the other kernel's dynamic shared memory.
__global__ void histogram(const int* digits, int count, int* out) {
  extern __shared__ int counts[];
  for (int d = threadIdx.x; d < 10; d += blockDim.x) counts[d] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) atomicAdd(&counts[digits[i]], 1);
  __syncthreads();
  for (int d = threadIdx.x; d < 10; d += blockDim.x) out[d] = counts[d];
}

// Every kind of warp collective; lane i of a single warp writes row i of (32, 12).
__global__ void collectives(int* out) {
  const unsigned all = 0xffffffffu;
  const int lane = threadIdx.x;
  int* row = out + 12 * lane;
  row[0] = __shfl_sync(all, lane, 5);
  row[1] = __shfl_sync(all, lane, 3, 8);
  row[2] = __shfl_up_sync(all, lane, 2, 16);
  row[3] = __shfl_down_sync(all, lane, 3, 8);
  row[4] = __shfl_xor_sync(all, lane, 9);
  row[5] = static_cast<int>(__ballot_sync(all, lane % 3 == 0));
  row[6] = 2 * __any_sync(all, lane == 7) + __all_sync(all, lane < 31);
  row[7] = static_cast<int>(__match_any_sync(all, lane / 4));
  row[8] = __reduce_add_sync(all, lane);
  row[9] = __reduce_min_sync(all, lane - 16);
  row[10] = static_cast<int>(__reduce_max_sync(all, static_cast<unsigned>(lane - 16)));
  row[11] = static_cast<int>(__shfl_sync(all, static_cast<long long>(lane) << 33, 6) >> 33);
}

// Where every thread of a grid stands: (z, y, x) of block and thread, in launch order.
__global__ void indices(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] += static_cast<int>(block * 1000 + thread);
}

}  // namespace examples

#define BAG_SUMS(name, type)                                                                 \
  extern "C" void launch_bag_sums_##name(const type* values, const int* offsets, float* out, \
                                         int bags, int threads) {                            \
    launch(examples::bag_sums<type>, bags, threads, 0, 0, values, offsets, out);             \
  }
BAG_SUMS(float, float)
BAG_SUMS(half, __half)
BAG_SUMS(bfloat16, __nv_bfloat16)

extern "C" void launch_bag_maxima(const float* values, const int* offsets, float* out, int bags,
                                  int threads) {
  launch(examples::bag_maxima, bags, threads, threads * sizeof(float), 0, values, offsets, out);
}
// The same with as much shared memory as a block of sm_80 can have.
extern "C" void launch_bag_maxima_with_room(const float* values, const int* offsets, float* out,
                                            int bags, int threads) {
  constexpr int kBytes = 163 << 10;
  cudaFuncSetAttribute(examples::bag_maxima, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  launch(examples::bag_maxima, bags, threads, kBytes, 0, values, offsets, out);
}
extern "C" void launch_histogram(const int* digits, int count, int* out, int threads) {
  launch(examples::histogram, 1, threads, 10 * sizeof(int), 0, digits, count, out);
}
extern "C" void launch_collectives(int* out) {
  launch(examples::collectives, 1, 32, 0, 0, out);
}
extern "C" void launch_indices(int* out) {
  launch(examples::indices, dim3(3, 2, 2), dim3(5, 3, 2), 0, 0, out);
}
