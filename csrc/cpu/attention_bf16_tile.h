// bf16 operands of products with fp32 sums: two neighbours along the depth share a 32-bit element.
#pragma once

#include "cpu/attention_pack.h"

namespace ladnet::LADNET_ISA {
namespace {

// The operands of add_product; see Plain.
struct Bf16Pairs {
  using Real = float;
  using Element = uint16_t;
  using Register = __m512i;
  static constexpr int kPack = 2;
  static constexpr bool kTileRegisters = false;
  static constexpr int kGap = 16;
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

// Two rows rounded to bf16, their elements side by side.
LADNET_INLINE __m512i pair_up(VecF even, VecF odd) {
  static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                          21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                          11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512bh both = _mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
  return _mm512_permutexvar_epi16(_mm512_loadu_si512(kOrder), (__m512i)both);
}

// The first and the second of every pair in fp32.
LADNET_INLINE VecF widen_even(__m512i pairs) {
  return (VecF)_mm512_slli_epi32(pairs, 16);
}
LADNET_INLINE VecF widen_odd(__m512i pairs) {
  return (VecF)_mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000));
}

// A panel of kWidth rows, depth-major: dims 2k and 2k + 1 of row i at 2 (k * kWidth + i). Moved as
// bits; zeros beyond `length` and beside an odd head size.
template <int kWidth>
void pack_pair_panel(const ConstRows& stored, int64_t length, int64_t d, int64_t panel,
                     uint16_t* to) {
  static constexpr uint16_t kZeros[kMaxHead] = {};
  uint16_t spare[kWidth * kMaxHead];
  const float* rows[kWidth];
  for (int i = 0; i < kWidth; ++i) {
    const int64_t t = panel * kWidth + i;
    const uint16_t* row = kZeros;
    if (t < length) {
      row = reinterpret_cast<const uint16_t*>(stored.data + t * stored.stride);
      if (d % 2 != 0) {
        uint16_t* padded = spare + i * kMaxHead;
        memcpy(padded, row, static_cast<size_t>(d) * sizeof(uint16_t));
        padded[d] = 0;
        row = padded;
      }
    }
    rows[i] = reinterpret_cast<const float*>(row);
  }
  transpose<float, kWidth, false>(rows, (d + 1) / 2, 1.0f, reinterpret_cast<float*>(to));
}

// Rows first .. last - 1 two by two, where first is even: dim c of rows t and t + 1 at
// t * padded + 2 c. Only a bag's last row may lack its partner, which then is zeros.
inline void pack_pair_rows(ConstRows rows, int64_t d, int64_t first, int64_t last, void* pairs) {
  const int64_t padded = round_to(d, kLanes<float>);
  for (int64_t t = first; t < last; t += 2) {
    uint16_t* to = static_cast<uint16_t*>(pairs) + t * padded;
    const auto* even = reinterpret_cast<const uint16_t*>(rows.data + t * rows.stride);
    const bool pair = t + 1 < last;
    const uint16_t* odd = pair ? even + rows.stride / 2 : even;
    const uint16_t keep = pair ? 0xffff : 0;
    for (int64_t c = 0; c < d; ++c) {
      to[2 * c] = even[c];
      to[2 * c + 1] = static_cast<uint16_t>(odd[c] & keep);
    }
    for (int64_t c = 2 * d; c < 2 * padded; ++c) to[c] = 0;
  }
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
