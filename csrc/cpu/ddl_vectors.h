// What the losses need of vectors beyond cpu/simd.h: 16-bit storage, row ends, streaming stores.
#pragma once

#include <stdint.h>

#include "core/dtype.h"
#include "cpu/simd.h"

namespace ladnet::ddl::LADNET_ISA {

using namespace ::ladnet::LADNET_ISA;

template <class A, class B>
constexpr bool kSame = false;
template <class A>
constexpr bool kSame<A, A> = true;

// Whole vectors of any storage type: as they are, or by loops over lanes, which become vector
// instructions.
template <class A, class F>
LADNET_INLINE Vec<A> load_row(const F* from) {
  if constexpr (kSame<A, F>) {
    return load(from);
  } else {
    A lane[kLanes<A>];
    for (int i = 0; i < kLanes<A>; ++i) lane[i] = load_as<A>(from[i]);
    return load(lane);
  }
}
template <class A, class F>
LADNET_INLINE void store_row(F* to, Vec<A> from) {
  if constexpr (kSame<A, F>) {
    store(to, from);
  } else {
    for (int i = 0; i < kLanes<A>; ++i) store_to(to + i, from[i]);
  }
}

// The sums of eight vectors, each in the order of `sum`. Joined eight at a time they take a third
// of the instructions.
template <class A>
LADNET_INLINE void sum_eight(const Vec<A>* v, A* sums) {
#if defined(__AVX512F__)
  if constexpr (sizeof(A) == 4) {
    // Halves of two vectors side by side, then quarters of four.
    const auto halves = [](VecF a, VecF b) {
      return (VecF)_mm512_shuffle_f32x4((__m512)a, (__m512)b, 0x44) +
             (VecF)_mm512_shuffle_f32x4((__m512)a, (__m512)b, 0xee);
    };
    const auto quarters = [](VecF a, VecF b) {
      return (VecF)_mm512_shuffle_f32x4((__m512)a, (__m512)b, 0x88) +
             (VecF)_mm512_shuffle_f32x4((__m512)a, (__m512)b, 0xdd);
    };
    const VecF first = quarters(halves(v[0], v[1]), halves(v[2], v[3]));
    const VecF last = quarters(halves(v[4], v[5]), halves(v[6], v[7]));
    const VecF pairs = (VecF)_mm512_unpacklo_pd((__m512d)first, (__m512d)last) +
                       (VecF)_mm512_unpackhi_pd((__m512d)first, (__m512d)last);
    const VecF totals = pairs + (VecF)_mm512_permute_ps((__m512)pairs, 0xb1);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512 sorted = _mm512_permutexvar_ps(order, (__m512)totals);
    _mm256_storeu_ps(sums, _mm512_castps512_ps256(sorted));
    return;
  }
#endif
  for (int i = 0; i < 8; ++i) sums[i] = sum<A>(v[i]);
}

// The last `count` elements of a row, zeros behind.
template <class A, class F>
LADNET_INLINE Vec<A> load_end(const F* from, int64_t count) {
  A lane[kLanes<A>] = {};
  for (int64_t i = 0; i < count; ++i) lane[i] = load_as<A>(from[i]);
  return load(lane);
}
template <class F, class V>
LADNET_INLINE void store_end(F* to, V from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) store_to(to + i, from[i]);
}

// Writes past the caches to an address aligned to a vector; an ordinary store where there is no
// instruction for that.
LADNET_INLINE void store_streaming(float* to, VecF from) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, (__m512)from);
#elif defined(__AVX2__)
  _mm256_stream_ps(to, (__m256)from);
#elif defined(__SSE2__)
  _mm_stream_ps(to, (__m128)from);
#else
  store(to, from);
#endif
}
LADNET_INLINE void store_streaming(double* to, VecD from) {
#if defined(__AVX512F__)
  _mm512_stream_pd(to, (__m512d)from);
#elif defined(__AVX2__)
  _mm256_stream_pd(to, (__m256d)from);
#elif defined(__SSE2__)
  _mm_stream_pd(to, (__m128d)from);
#else
  store(to, from);
#endif
}

// Orders streamed stores before whatever another thread is told afterwards.
LADNET_INLINE void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace ladnet::ddl::LADNET_ISA
