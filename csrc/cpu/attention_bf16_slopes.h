// What the backward passes in bf16 products share: P and dS of one tile, and sums over a bag.
//
// S = Q K^T and dP = dO V^T multiply what was given, so their products are exact. P and dS are
// computed in fp32 and rounded to bf16 as operands of P^T dO, dS^T Q and dS K; sums are fp32. dS is
// stored twice, in pairs of queries and in pairs of keys, because each product pairs its own depth.
// The additive prior stays fp32: G^T dO widens dO.
//
// Each row of dS adds up to 0, so that what keys have in common does not reach dQ. Rounded rows do
// not, nor does a row whose delta is a little off. So dQ is taken as dS (K - m), m the bag's mean
// key: dS K less the row's sum times m. Where m is large, that error would be larger than dQ.
#pragma once

#include "cpu/attention_backward.h"
#include "cpu/attention_bf16_tile.h"

namespace ladnet::LADNET_ISA {
namespace {

// Blocks of P and dS, and where their rows lie.
template <class Format>
struct PairBlocks {
  using Element = uint16_t;
  static constexpr int kWide = kColumns<float>;
  static constexpr int kQueries = 192;
  static constexpr int kKeys = 192;
  static constexpr int kStride = kKeys + Format::kGap;
  static_assert(kKeys % kRows == 0 && kKeys % kWide == 0);

  // Rows of all queries of a bag, for a block of its keys.
  static int64_t block_elements(int64_t length) {
    return (length + kRows - 1) / kRows * kRows * kStride;
  }
};

// What a format needs beyond products: how queries are packed, and how P and dS are stored where
// their columns are a left operand.
template <class Format>
struct BackwardFormat;

// In pairs of queries: within a block (i, j) lies at i / 2 * 2 * kStride + 2 j + i % 2.
template <>
struct BackwardFormat<Bf16Pairs> : PairBlocks<Bf16Pairs> {
  // Blocks of queries are a multiple of so many panels, if there are as many.
  static constexpr int kPanels = 1;

  static void pack_panel(const ConstRows& stored, int64_t length, int64_t d, int64_t panel,
                         Element* to) {
    pack_pair_panel<kRows>(stored, length, d, panel, to);
  }

  // Of the even query i and of key j in their block, and in a short bag with all its blocks.
  static int64_t place(int64_t i, int64_t j) { return i * kStride + 2 * j; }
  static int64_t place_in_bag(int64_t length, int64_t i, int64_t j) {
    return j / kKeys * block_elements(length) + place(i, j % kKeys);
  }
  // Products by columns read up to a tile beyond the last key.
  static int64_t bag_elements(int64_t length) {
    return (length + kKeys - 1) / kKeys * block_elements(length) + round_to(2 * kRows, 32);
  }

  // A tile rounded to bf16.
  template <int kVectors>
  LADNET_INLINE void store_columns(const Accumulators<float, kVectors>& tile, Element* to) {
    LADNET_UNROLL
    for (int i = 0; i < kRows; i += 2) {
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) {
        const __m512i pairs = pair_up(tile[i][h], tile[i + 1][h]);
        memcpy(to + i * kStride + 2 * h * kLanes<float>, &pairs, sizeof(pairs));
      }
    }
  }

  // tile += kRows columns, from a place on, times rows of queries.
  template <int kVectors>
  LADNET_INLINE void add_column_product(Accumulators<float, kVectors>& tile, const Element* a,
                                        const Element* b, int64_t b_stride, int64_t pairs) {
    add_product<Bf16Pairs, 2, 2 * kStride>(tile, a, b, b_stride, pairs);
  }
};

template <class Format>
class PairTiles {
 protected:
  using Storage = BackwardFormat<Format>;
  using Element = typename Storage::Element;
  using Fp32 = BackwardRun<float>;
  static constexpr int kWide = Storage::kWide;
  static constexpr int kQueries = Storage::kQueries;
  static constexpr int kKeys = Storage::kKeys;
  static constexpr int kStride = Storage::kStride;

  // Where P and dS / scale of a tile go.
  struct Places {
    Element* probabilities;  // as Storage stores columns
    Element* slopes;         // dS / scale, likewise
    Element* slope_rows;     // the same by rows: query i and key j of the tile at i * kStride + j
    float* row_parts;        // one vector per query; the sum of its slope_rows is added
  };

  explicit PairTiles(const BackwardHead& h)
      : head(h),
        depth(round_to(h.d, 2)),
        padded(round_to(h.d, kLanes<float>)),
        query_panels((h.length + kRows - 1) / kRows),
        factor(static_cast<float>(h.scale * kLog2E)) {}

  static void pack_keys(const BackwardHead& head, int64_t first, int64_t last) {
    const int64_t size = round_to(head.d, 2) * kWide;
    for (int64_t panel = first; panel < last; ++panel) {
      pack_pair_panel<kWide>(head.k, head.length, head.d, panel,
                             static_cast<Element*>(head.keys) + panel * size);
      pack_pair_panel<kWide>(head.v, head.length, head.d, panel,
                             static_cast<Element*>(head.values) + panel * size);
    }
  }

  static void pack_queries(const BackwardHead& head, int64_t first, int64_t last) {
    const int64_t size = round_to(head.d, 2) * kRows;
    for (int64_t panel = first; panel < last; ++panel) {
      Storage::pack_panel(head.q, head.length, head.d, panel,
                          static_cast<Element*>(head.queries) + panel * size);
      Storage::pack_panel(head.grad_out, head.length, head.d, panel,
                          static_cast<Element*>(head.grads) + panel * size);
      Fp32::pack_sums(head, panel);
    }
  }

  // P and dS / scale between the queries of `panel` and the keys of `key_tile`, or the first half
  // of them. Adds to `sums`, the gradients of w and b.
  template <int kVectors>
  void slopes_tile(int64_t panel, int64_t key_tile, const Places& to, double sums[2]) const {
    constexpr int kWidth = kVectors * kLanes<float>;
    const int64_t at = panel * kRows * depth, key_at = key_tile * depth * kWide;
    const int64_t i0 = panel * kRows, j0 = key_tile * kWide;
    const bool near = head.band.radius >= 0 && j0 - (i0 + kRows - 1) <= head.band.radius &&
                      i0 - (j0 + kWidth - 1) <= head.band.radius;
    const bool logit = head.prior == Prior::kLogit;
    const bool edge = i0 + kRows > head.length || j0 + kWidth > head.length;
    alignas(64) float probabilities[kRows * kWidth], other[kRows * kWidth];

    Accumulators<float, kVectors> tile;
    set_zero<float, kVectors>(tile);
    add_panel_product_of<Format>(kRows, tile, static_cast<const Element*>(head.queries) + at,
                                 static_cast<const Element*>(head.keys) + key_at, 2 * kWide,
                                 depth / 2);
    const float* lse = static_cast<const float*>(head.lse_log2) + i0;
    if (logit && near) {
      const float* gain = static_cast<const float*>(head.band.gain_log2) + (j0 - i0);
      LADNET_UNROLL
      for (int i = 0; i < kRows; ++i) {
        LADNET_UNROLL
        for (int h = 0; h < kVectors; ++h) {
          const VecF prior = load(gain - i + h * kLanes<float>);
          tile[i][h] = multiply_add(tile[i][h], broadcast(factor), prior) - broadcast(lse[i]);
        }
      }
    } else {
      LADNET_UNROLL
      for (int i = 0; i < kRows; ++i) {
        LADNET_UNROLL
        for (int h = 0; h < kVectors; ++h) {
          tile[i][h] = multiply_add(tile[i][h], broadcast(factor), broadcast(-lse[i]));
        }
      }
    }
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) tile[i][h] = exp2(tile[i][h]);
    }
    store_tile<float, kVectors>(tile, probabilities, kWidth);
    if (__builtin_expect(edge, 0)) {
      clear_padding<kVectors>(probabilities, i0, j0);
      load_tile<float, kVectors>(tile, probabilities, kWidth);
    }
    Storage::template store_columns<kVectors>(tile, to.probabilities);

    set_zero<float, kVectors>(tile);
    add_panel_product_of<Format>(kRows, tile, static_cast<const Element*>(head.grads) + at,
                                 static_cast<const Element*>(head.values) + key_at, 2 * kWide,
                                 depth / 2);
    const bool wanted = head.prior_gradient && near;
    if (wanted && !logit) {
      store_tile<float, kVectors>(tile, other, kWidth);
      add_prior_gradient<kVectors>(other, j0 - i0, sums);
      load_tile<float, kVectors>(tile, other, kWidth);
    }
    const float* delta = static_cast<const float*>(head.delta) + i0;
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) {
        const VecF P = load(probabilities + i * kWidth + h * kLanes<float>);
        tile[i][h] = P * (tile[i][h] - broadcast(delta[i]));
      }
    }
    if (edge || (wanted && logit)) {
      store_tile<float, kVectors>(tile, other, kWidth);
      if (edge) clear_padding<kVectors>(other, i0, j0);
      // The softmax of one logit is constant, so dS is 0; by a product, so that a NaN stays.
      if (head.length == 1) other[0] *= 0.0f;
      if (wanted && logit) add_prior_gradient<kVectors>(other, j0 - i0, sums);
      load_tile<float, kVectors>(tile, other, kWidth);
    }
    Storage::template store_columns<kVectors>(tile, to.slopes);
    float* part = to.row_parts;
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i, part += kLanes<float>) {
      // Beside half a tile zeros, which nobody reads.
      const VecF right = kVectors == 2 ? tile[i][kVectors - 1] : broadcast(0.0f);
      const __m512bh row = _mm512_cvtne2ps_pbh((__m512)right, (__m512)tile[i][0]);
      memcpy(to.slope_rows + i * kStride, &row, sizeof(row));
      store(part, load(part) + (widen_even((__m512i)row) + widen_odd((__m512i)row)));
    }
  }

  // A pair may reach one query or key beyond the end, where 0 times infinity would be NaN; the sums
  // of rows and those for w and b read all keys of a tile.
  template <int kVectors>
  __attribute__((noinline)) void clear_padding(float* tile, int64_t i0, int64_t j0) const {
    constexpr int kWidth = kVectors * kLanes<float>;
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kWidth; ++j) {
        if (i0 + i >= head.length || j0 + j >= head.length) tile[i * kWidth + j] = 0;
      }
    }
  }

  // sum over a tile of dG dG/dw and dG dG/db, where `grads` holds dG (additive: dP, logit: dS).
  template <int kVectors>
  __attribute__((noinline)) void add_prior_gradient(const float* grads, int64_t distance,
                                                    double sums[2]) const {
    constexpr int kWidth = kVectors * kLanes<float>;
    VecF by_w = broadcast(0.0f), by_b = broadcast(0.0f);
    const float* slope_w = static_cast<const float*>(head.band.slope_w) + distance;
    const float* slope_b = static_cast<const float*>(head.band.slope_b) + distance;
    for (int i = 0; i < kRows; ++i) {
      for (int h = 0; h < kWidth; h += kLanes<float>) {
        const VecF grad = load(grads + i * kWidth + h);
        by_w = multiply_add(load(slope_w - i + h), grad, by_w);
        by_b = multiply_add(load(slope_b - i + h), grad, by_b);
      }
    }
    sums[0] += sum<float>(by_w);
    sums[1] += sum<float>(by_b);
  }

  // The bag's mean key, of `padded` elements.
  void average_keys(float* mean) const {
    const auto* rows = static_cast<const Element*>(head.key_rows.data);
    const VecF share = broadcast(1.0f / static_cast<float>(head.length));
    for (int64_t c = 0; c < padded; c += kLanes<float>) {
      VecF total = broadcast(0.0f);
      for (int64_t t = 0; t < head.length; t += 2) {
        const __m512i both = _mm512_loadu_si512(rows + t * padded + 2 * c);
        total += widen_even(both) + widen_odd(both);
      }
      store(mean + c, total * share);
    }
  }

  // tile -= row_sums (x) m, m at `mean`.
  template <int kVectors>
  LADNET_INLINE void subtract_mean(Accumulators<float, kVectors>& tile, const float* row_sums,
                                   const float* mean) {
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) {
        tile[i][h] =
            multiply_add(broadcast(-row_sums[i]), load(mean + h * kLanes<float>), tile[i][h]);
      }
    }
  }

  // dV += G^T dO; G is symmetric. As add_band, with G in fp32 and pairs of dO widened, which takes
  // as many instructions as two products in bf16 and loses nothing.
  template <int kVectors>
  void add_prior(float* out, int64_t column, int64_t j0) const {
    constexpr int64_t kBlock = 256;
    const int64_t end = lesser(head.length, j0 + kRows + head.band.radius);
    for (int64_t i = greater_of(0, j0 - head.band.radius) / 2 * 2; i < end; i += kBlock) {
      const float* gain = static_cast<const float*>(head.band.gain) + (i - j0);
      const Element* pairs =
          static_cast<const Element*>(head.grad_rows.data) + i * padded + 2 * column;
      Accumulators<float, kVectors> tile;
      set_zero<float, kVectors>(tile);
      for (int64_t n = lesser(kBlock, end - i); n > 0; n -= 2) {
        VecF even[kVectors], odd[kVectors];
        LADNET_UNROLL
        for (int h = 0; h < kVectors; ++h) {
          const __m512i both = _mm512_loadu_si512(pairs + 2 * h * kLanes<float>);
          even[h] = widen_even(both);
          odd[h] = widen_odd(both);
        }
        LADNET_UNROLL
        for (int row = 0; row < kRows; ++row) {
          LADNET_UNROLL
          for (int h = 0; h < kVectors; ++h) {
            tile[row][h] = multiply_add(broadcast(gain[-row]), even[h], tile[row][h]);
            tile[row][h] = multiply_add(broadcast(gain[1 - row]), odd[h], tile[row][h]);
          }
        }
        gain += 2;
        pairs += 2 * padded;
      }
      add_tile<float, kVectors>(tile, out, kVectors * kLanes<float>);
    }
  }

  const BackwardHead& head;
  const int64_t depth, padded, query_panels;
  const float factor;
};

}  // namespace
}  // namespace ladnet::LADNET_ISA
