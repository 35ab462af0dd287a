// Forward pass in bf16 products with fp32 sums: how ForwardBlock stores what it multiplies.
//
// Dims of q and k are paired, and keys of P and v. The prior is split into two bf16 tables, the
// second holding what the first lost, so that it costs two short products and keeps 16 bits.
#pragma once

#include "cpu/attention_bf16_tile.h"
#include "cpu/attention_forward.h"

namespace ladnet::LADNET_ISA {
namespace {

// What ForwardFormat is for both ways of multiplying pairs.
template <class Format>
struct ForwardPairs {
  using Element = uint16_t;
  static constexpr int kBlock = 256;
  static constexpr bool kAddsPrior = false;

  // Multiplying q by the scale here would round it once more: to_logits does that.
  template <int kWidth>
  static void pack_panel(const ConstRows& stored, int64_t length, int64_t d, int64_t panel, double,
                         Element* to) {
    pack_pair_panel<kWidth>(stored, length, d, panel, to);
  }
  LADNET_INLINE VecF to_logits(VecF product, float factor) { return product * broadcast(factor); }
  LADNET_INLINE void store_probabilities(Element* to, VecF left, VecF right) {
    const __m512bh both = _mm512_cvtne2ps_pbh((__m512)right, (__m512)left);
    memcpy(to, &both, sizeof(both));
  }
  LADNET_INLINE void store_probabilities(Element* to, VecF left) {
    const __m256bh half = _mm512_cvtneps_pbh((__m512)left);
    memcpy(to, &half, sizeof(half));
  }
  // Exact: the factor is a power of two. (Below the normal range rows lose what rounding to
  // the sum would have lost.)
  static void rescale(Element* row, int64_t count, float factor) {
    for (int64_t j = 0; j < count; ++j) row[j] = float_to_bf16(bf16_to_float(row[j]) * factor);
  }
  static void pack_values(ConstRows v, int64_t, int64_t d, int64_t first, int64_t last,
                          void* values) {
    pack_pair_rows(v, d, first, last, values);
  }
  template <int kVectors>
  LADNET_INLINE void add_prior(float* out, const attention::Band& band, int64_t i0,
                               const Element* x, int64_t stride, int64_t length) {
    add_band<Format, kVectors>(out, band.radius, i0, x, stride, length, band.gain_low, band.gain);
  }
};

template <>
struct ForwardFormat<Bf16Pairs> : ForwardPairs<Bf16Pairs> {};

}  // namespace
}  // namespace ladnet::LADNET_ISA
