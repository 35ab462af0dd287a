// Forward pass in bf16 products with fp32 sums, for processors that multiply pairs of bf16.
//
// Two neighbours along the depth share a 32-bit element: dims of q and k, keys of P and v. The
// prior is split into two bf16 tables, the second holding what the first lost, so that it costs two
// short products and keeps 16 bits.
#include "cpu/attention_forward.h"

namespace ladnet::LADNET_ISA {
namespace {

struct Bf16Pairs {
  using Real = float;
  using Element = uint16_t;
  using Register = __m512i;
  static constexpr int kPack = 2;
  LADNET_INLINE Register load_columns(const Element* from) { return _mm512_loadu_si512(from); }
  LADNET_INLINE Register load_row(const Element* from) {
    int32_t pair;
    memcpy(&pair, from, sizeof(pair));
    return _mm512_set1_epi32(pair);
  }
  LADNET_INLINE VecF multiply(Register a, Register b, VecF c) {
    return (VecF)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
  }
};

template <>
struct ForwardFormat<Bf16Pairs> {
  using Element = uint16_t;
  static constexpr int kBlock = 256;
  static constexpr bool kAddsPrior = false;

  // Pairs are moved as bits. Multiplying q by the scale here would round it once more: to_logits
  // does that.
  template <int kWidth>
  static void pack_panel(const ConstRows& stored, int64_t length, int64_t d, int64_t panel, double,
                         Element* to) {
    static constexpr Element kZeros[kMaxHead] = {};
    Element spare[kWidth * kMaxHead];
    const float* rows[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      const int64_t t = panel * kWidth + i;
      const auto* row = reinterpret_cast<const Element*>(stored.data + t * stored.stride);
      if (t >= length) {
        row = kZeros;
      } else if (d % 2 != 0) {
        Element* padded = spare + i * kMaxHead;
        memcpy(padded, row, static_cast<size_t>(d) * sizeof(Element));
        padded[d] = 0;
        row = padded;
      }
      rows[i] = reinterpret_cast<const float*>(row);
    }
    transpose<float, kWidth, false>(rows, (d + 1) / 2, 1.0f, reinterpret_cast<float*>(to));
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
  static void pack_values(ConstRows v, int64_t length, int64_t d, int64_t first, int64_t last,
                          void* values) {
    const int64_t padded = round_to(d, kLanes<float>);
    for (int64_t t = first; t < last; t += 2) {
      Element* to = static_cast<Element*>(values) + t * padded;
      const auto* even = reinterpret_cast<const Element*>(v.data + t * v.stride);
      const bool pair = t + 1 < length;
      const Element* odd = pair ? even + v.stride / 2 : even;
      const Element keep = pair ? 0xffff : 0;
      for (int64_t c = 0; c < d; ++c) {
        to[2 * c] = even[c];
        to[2 * c + 1] = static_cast<Element>(odd[c] & keep);
      }
      for (int64_t c = 2 * d; c < 2 * padded; ++c) to[c] = 0;
    }
  }
  template <int kVectors>
  LADNET_INLINE void add_prior(float* out, const attention::Band& band, int64_t i0,
                               const Element* x, int64_t stride, int64_t length) {
    add_band<Bf16Pairs, kVectors>(out, band.radius, i0, x, stride, length, band.gain_low,
                                  band.gain);
  }
};

}  // namespace

extern const attention::ForwardKernels attention_forward_bf16;
const attention::ForwardKernels attention_forward_bf16 = ForwardBlock<Bf16Pairs>::table();

}  // namespace ladnet::LADNET_ISA
