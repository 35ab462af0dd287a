// Kernels with one fault each, and beside them what they should have been: the tests of the
// harness say which of them it must find, and which it must let pass.
#include "../../launch.h"

namespace faults {

constexpr int kThreads = 64;
constexpr int kLast = kThreads - 1;

// Reverses 0, 1, 2, ...; every thread reads what another one wrote, and nobody waits.
__global__ void missing_barrier(float* out) {
  __shared__ float row[kThreads];
  row[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = row[kLast - threadIdx.x];
}

__global__ void sound_barrier(float* out) {
  __shared__ float row[kThreads];
  row[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = row[kLast - threadIdx.x];
}

// The next round's write may overtake this round's read.
__global__ void missing_second_barrier(float* out) {
  __shared__ float value;
  float sum = 0.0f;
  for (int round = 0; round < 3; ++round) {
    if (threadIdx.x == 0) value = static_cast<float>(round);
    __syncthreads();
    sum += value;
  }
  out[threadIdx.x] = sum;
}

__global__ void early_return(float* out) {
  if (threadIdx.x == kLast) return;
  __syncthreads();
  out[threadIdx.x] = 1.0f;
}

__global__ void divergent_barrier(float* out) {
  if (threadIdx.x < 40) {
    out[threadIdx.x] = 1.0f;
    __syncthreads();
  } else {
    out[threadIdx.x] = 2.0f;
    __syncthreads();
  }
}

// Half of the warp shuffles with a mask that names all of it; the other half waits elsewhere.
__global__ void half_warp_shuffle(float* out) {
  float value = 1.0f;
  if (threadIdx.x % 32 < 16) {
    value += __shfl_xor_sync(0xffffffffu, value, 1);
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = value;
}

// Two different collectives meet.
__global__ void mixed_collectives(float* out) {
  unsigned bits = 0;
  if (threadIdx.x % 2 == 0) {
    bits = __ballot_sync(0xffffffffu, 1);
  } else {
    bits = __any_sync(0xffffffffu, 1);
  }
  out[threadIdx.x] = static_cast<float>(bits);
}

__global__ void lane_outside_its_mask(float* out) {
  out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 0);
}

// A shuffle moves registers; what it does to shared memory is not said.
__global__ void shuffle_as_fence(float* out) {
  __shared__ float row[32];
  if (threadIdx.x < 32) {
    row[threadIdx.x] = static_cast<float>(threadIdx.x);
    __shfl_sync(0xffffffffu, 1, 0);
    out[threadIdx.x] = row[31 - threadIdx.x];
  }
}

__global__ void sound_warp_barrier(float* out) {
  __shared__ float row[32];
  if (threadIdx.x < 32) {
    row[threadIdx.x] = static_cast<float>(threadIdx.x);
    __syncwarp();
    out[threadIdx.x] = row[31 - threadIdx.x];
  }
}

__global__ void dynamic_shared_overrun(float* out) {
  extern __shared__ float row[];
  row[threadIdx.x + 1] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = row[threadIdx.x];
}

__global__ void static_shared_overrun(float* out, int shift) {
  __shared__ float row[kThreads];
  row[threadIdx.x + shift] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = row[threadIdx.x];
}

__global__ void global_overrun(float* out, int shift) {
  out[threadIdx.x + shift] = 1.0f;
}

__global__ void global_read_overrun(float* out, int shift) {
  const float value = out[threadIdx.x + shift];
  __syncthreads();
  out[threadIdx.x] = value;
}

__global__ void uninitialised_shared(float* out) {
  __shared__ float sum;
  if (threadIdx.x == kThreads) sum = 0.0f;  // there is no such thread
  __syncthreads();
  if (threadIdx.x == 0) sum += 1.0f;
  __syncthreads();
  out[threadIdx.x] = sum;
}

// More than a block can have; on a GPU the launch fails, and who does not ask never knows.
__global__ void too_many_threads(float* out) {
  out[0] = 1.0f;
}

// More than a kernel gets without cudaFuncSetAttribute.
__global__ void too_much_shared_memory(float* out) {
  out[0] = 1.0f;
}

}  // namespace faults

#define LAUNCHER(name, threads, shared_bytes, ...)                  \
  extern "C" void launch_##name(float* out) {                       \
    launch(faults::name, 1, threads, shared_bytes, 0, __VA_ARGS__); \
  }
LAUNCHER(missing_barrier, faults::kThreads, 0, out)
LAUNCHER(sound_barrier, faults::kThreads, 0, out)
LAUNCHER(missing_second_barrier, faults::kThreads, 0, out)
LAUNCHER(early_return, faults::kThreads, 0, out)
LAUNCHER(divergent_barrier, faults::kThreads, 0, out)
LAUNCHER(half_warp_shuffle, faults::kThreads, 0, out)
LAUNCHER(mixed_collectives, faults::kThreads, 0, out)
LAUNCHER(lane_outside_its_mask, faults::kThreads, 0, out)
LAUNCHER(shuffle_as_fence, faults::kThreads, 0, out)
LAUNCHER(sound_warp_barrier, faults::kThreads, 0, out)
LAUNCHER(dynamic_shared_overrun, faults::kThreads, faults::kThreads * sizeof(float), out)
LAUNCHER(static_shared_overrun, faults::kThreads, 0, out, 1)
LAUNCHER(global_overrun, faults::kThreads, 0, out, 1)
LAUNCHER(global_read_overrun, faults::kThreads, 0, out, 1)
LAUNCHER(uninitialised_shared, faults::kThreads, 0, out)
LAUNCHER(too_many_threads, 1025, 0, out)
LAUNCHER(too_much_shared_memory, faults::kThreads, 48 * 1024 + 1, out)
