// What the losses need of vectors beyond cpu/simd.h: 16-bit storage, row ends, streaming stores.
#pragma once

#include <stdint.h>

#include "core/dtype.h"
#include "cpu/simd.h"

namespace ladnet::ddl::LADNET_ISA {

using namespace ::ladnet::LADNET_ISA;

// Whole vectors of any storage type. The loops over lanes become vector instructions.
template <class A, class F>
LADNET_INLINE Vec<A> load_row(const F* from) {
  A lane[kLanes<A>];
  for (int i = 0; i < kLanes<A>; ++i) lane[i] = load_as<A>(from[i]);
  return load(lane);
}
template <class F, class V>
LADNET_INLINE void store_row(F* to, V from) {
  for (int i = 0; i < int(sizeof(V) / sizeof(from[0])); ++i) store_to(to + i, from[i]);
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
