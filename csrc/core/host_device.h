// LADNET_HOST_DEVICE marks a function that CPU and GPU kernels share.
//
// Always inlined: the CPU's kernels are compiled once per instruction set, and a shared out-of-line
// copy would be whichever the linker kept.
#pragma once

#if defined(__CUDACC__)
#define LADNET_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define LADNET_HOST_DEVICE inline __attribute__((always_inline))
#endif
