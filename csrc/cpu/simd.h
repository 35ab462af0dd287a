// Vectors of the instruction set that a translation unit is compiled for.
//
// GCC's and clang's vector types give arithmetic on every processor; intrinsics serve only where a
// single instruction does what the compiler would spell with several. No standard library: its
// inline functions have one copy in a program, and the linker could keep that of the newest set.
//
// NaN never disappears: see exp2 and maximum.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "core/host_device.h"

#define LADNET_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define LADNET_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LADNET_UNROLL _Pragma("GCC unroll 16")
#endif

namespace ladnet::LADNET_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

typedef float VecF __attribute__((vector_size(kVectorBytes)));
typedef double VecD __attribute__((vector_size(kVectorBytes)));
typedef int32_t VecI32 __attribute__((vector_size(kVectorBytes)));
typedef int64_t VecI64 __attribute__((vector_size(kVectorBytes)));

template <class Real>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef VecF type;
};
template <>
struct VectorOf<double> {
  typedef VecD type;
};
template <class Real>
using Vec = typename VectorOf<Real>::type;

template <class Real>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Real));

template <class Real>
LADNET_INLINE Vec<Real> load(const Real* from) {
  Vec<Real> to;
  memcpy(&to, from, sizeof(to));
  return to;
}

LADNET_INLINE void store(float* to, VecF from) {
  memcpy(to, &from, sizeof(from));
}
LADNET_INLINE void store(double* to, VecD from) {
  memcpy(to, &from, sizeof(from));
}

// x in every lane. Not x + zero vector: that would turn -0 into 0 and cost an addition.
LADNET_INLINE VecF broadcast(float x) {
#if defined(__AVX512F__)
  return (VecF)_mm512_set1_ps(x);
#elif defined(__AVX2__)
  return (VecF)_mm256_set1_ps(x);
#else
  return VecF{x, x, x, x};
#endif
}
LADNET_INLINE VecD broadcast(double x) {
#if defined(__AVX512F__)
  return (VecD)_mm512_set1_pd(x);
#elif defined(__AVX2__)
  return (VecD)_mm256_set1_pd(x);
#else
  return VecD{x, x};
#endif
}

// a * b + c in one rounding where the processor has that.
LADNET_INLINE VecF multiply_add(VecF a, VecF b, VecF c) {
#if defined(__AVX512F__)
  return (VecF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (VecF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (VecF)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}
LADNET_INLINE VecD multiply_add(VecD a, VecD b, VecD c) {
#if defined(__AVX512F__)
  return (VecD)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
  return (VecD)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
  return (VecD)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
  return a * b + c;
#endif
}

// The larger one; b where either is NaN.
LADNET_INLINE VecF maximum(VecF a, VecF b) {
#if defined(__AVX512F__)
  return (VecF)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (VecF)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (VecF)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}
LADNET_INLINE VecD maximum(VecD a, VecD b) {
#if defined(__AVX512F__)
  return (VecD)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
  return (VecD)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__SSE2__)
  return (VecD)_mm_max_pd((__m128d)a, (__m128d)b);
#else
  return a > b ? a : b;
#endif
}

// Half of a vector. Compilers take copies of parts of a vector through memory, which costs more
// than all sums that follow, so that instructions are named where there are such.
template <class Half, int kIndex, class V>
LADNET_INLINE Half half_of(V v) {
#if defined(__AVX512DQ__)
  if constexpr (sizeof(V) == 64) {
    return (Half)_mm512_extractf64x4_pd((__m512d)v, kIndex);
  }
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32) {
    return (Half)_mm256_extractf128_pd((__m256d)v, kIndex);
  }
#endif
  Half half;
  memcpy(&half, reinterpret_cast<const char*>(&v) + kIndex * sizeof(Half), sizeof(Half));
  return half;
}

// All lanes joined two by two, halves first, as a tree: the same order for every compiler.
template <class Real, int kCount, class V, class Join>
LADNET_INLINE Real join_lanes(V v, Join join) {
  if constexpr (kCount == 2) {
    return join(v[0], v[1]);
  } else if constexpr (kCount == 4 && sizeof(Real) == 4) {
    return join(join(v[0], v[2]), join(v[1], v[3]));
  } else {
    typedef Real Half __attribute__((vector_size(kCount / 2 * sizeof(Real))));
    return join_lanes<Real, kCount / 2>(join(half_of<Half, 0>(v), half_of<Half, 1>(v)), join);
  }
}

template <class Real>
LADNET_INLINE Real sum(Vec<Real> a) {
  return join_lanes<Real, kLanes<Real>>(a, [](auto x, auto y) { return x + y; });
}

// The largest lane; any if one is NaN.
template <class Real>
LADNET_INLINE Real largest(Vec<Real> a) {
  return join_lanes<Real, kLanes<Real>>(a, [](auto x, auto y) { return y > x ? y : x; });
}

// ---- Comparisons: gathered with |, asked once with any() ---------------------------------------

#if defined(__AVX512F__)
LADNET_INLINE unsigned greater(VecF a, VecF b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
}
LADNET_INLINE unsigned greater(VecD a, VecD b) {
  return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GT_OQ);
}
LADNET_INLINE bool any(unsigned mask) {
  return mask != 0;
}
#else
LADNET_INLINE VecI32 greater(VecF a, VecF b) {
  return (VecI32)(a > b);
}
LADNET_INLINE VecI32 greater(VecD a, VecD b) {
  return (VecI32)(a > b);
}
LADNET_INLINE bool any(VecI32 mask) {
#if defined(__AVX2__)
  return _mm256_movemask_epi8((__m256i)mask) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_epi8((__m128i)mask) != 0;
#elif defined(__aarch64__)
  return vmaxvq_u32((uint32x4_t)mask) != 0;
#else
  int32_t all = 0;
  for (int i = 0; i < kLanes<float>; ++i) all |= mask[i];
  return all != 0;
#endif
}
#endif

// ---- 2^x ---------------------------------------------------------------------------------------

// Relative error under one rounding (1e-7 for float, 2e-16 for double) for x up to 100; 0 far below
// the smallest normal number; NaN for NaN. Chebyshev fits over one octave.
LADNET_INLINE VecF exp2(VecF x) {
#if defined(__AVX512F__)
  // Fraction above the floor; scalef multiplies by 2^floor(x).
  const VecF f = (VecF)_mm512_reduce_ps((__m512)x, 0x09);
  VecF p = broadcast(0x1.ca8f0ap-13f);
  p = multiply_add(p, f, broadcast(0x1.44d4d2p-10f));
  p = multiply_add(p, f, broadcast(0x1.3d54d8p-7f));
  p = multiply_add(p, f, broadcast(0x1.c67f50p-5f));
  p = multiply_add(p, f, broadcast(0x1.ebfdf2p-3f));
  p = multiply_add(p, f, broadcast(0x1.62e428p-1f));
  p = multiply_add(p, f, broadcast(1.0f));
  return (VecF)_mm512_scalef_ps((__m512)p, (__m512)x);
#else
  // The sum with this constant leaves the biased exponent of 2^round(x) in the lowest bits. The
  // product, unlike an addition to the exponent, keeps NaN.
  const VecF magic = broadcast(12582912.0f + 127.0f);
  x = maximum(broadcast(-127.0f), x);
  const VecF shifted = x + magic;
  const VecF f = x - (shifted - magic);
  VecF p = broadcast(0x1.444000p-13f);
  p = multiply_add(p, f, broadcast(0x1.5f48c0p-10f));
  p = multiply_add(p, f, broadcast(0x1.3b2a1cp-7f));
  p = multiply_add(p, f, broadcast(0x1.c6aeccp-5f));
  p = multiply_add(p, f, broadcast(0x1.ebfbe0p-3f));
  p = multiply_add(p, f, broadcast(0x1.62e430p-1f));
  p = multiply_add(p, f, broadcast(1.0f));
  return p * (VecF)((VecI32)shifted << 23);
#endif
}

LADNET_INLINE VecD exp2(VecD x) {
  const VecD magic = broadcast(6755399441055744.0 + 1023.0);
  x = maximum(broadcast(-1023.0), x);
  const VecD shifted = x + magic;
  const VecD f = x - (shifted - magic);
  VecD p = broadcast(0x1.e9ec1fcb69a7fp-32);
  p = multiply_add(p, f, broadcast(0x1.e6228acd1c6e5p-28));
  p = multiply_add(p, f, broadcast(0x1.b524ebd13a55fp-24));
  p = multiply_add(p, f, broadcast(0x1.62bfc2c86d700p-20));
  p = multiply_add(p, f, broadcast(0x1.ffcbfc6da6ed1p-17));
  p = multiply_add(p, f, broadcast(0x1.430913112c61bp-13));
  p = multiply_add(p, f, broadcast(0x1.5d87fe78a3f9cp-10));
  p = multiply_add(p, f, broadcast(0x1.3b2ab6fb9f1a5p-7));
  p = multiply_add(p, f, broadcast(0x1.c6b08d704a0c6p-5));
  p = multiply_add(p, f, broadcast(0x1.ebfbdff82c5aep-3));
  p = multiply_add(p, f, broadcast(0x1.62e42fefa39efp-1));
  p = multiply_add(p, f, broadcast(1.0));
  return p * (VecD)((VecI64)shifted << 52);
}

}  // namespace ladnet::LADNET_ISA
