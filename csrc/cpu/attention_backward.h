// Backward pass: a run of keys of one bag and head against all of its queries.
//
// Probabilities are computed again from the saved log-sum-exp. With rows = queries and columns =
// keys no product needs a transposed operand: P and dS are left operands, by rows for dQ and by
// columns for dV and dK. delta = <dO, A> uses the saved A = softmax(S) V, since out - G V would
// lose digits.
#pragma once

#include "cpu/attention_forward.h"

namespace ladnet::LADNET_ISA {
namespace {

using attention::BackwardHead;

template <class Real>
class BackwardRun {
 protected:
  using Format = Plain<Real>;
  static constexpr int kWide = kColumns<Real>;
  static constexpr int kQueries = 192;
  static constexpr int kKeys = sizeof(Real) == 4 ? 192 : 96;
  static constexpr int kStride = kKeys + 16;

 public:
  static int64_t scratch_bytes(int64_t d) { return Layout(d, nullptr).bytes; }

  static void pack_keys(const BackwardHead& head, int64_t first, int64_t last) {
    for (int64_t panel = first; panel < last; ++panel) {
      const int64_t at = panel * head.d * kWide;
      pack_panel<kWide>(head.k, head.length, head.d, panel, Real(1),
                        static_cast<Real*>(head.keys) + at);
      pack_panel<kWide>(head.v, head.length, head.d, panel, Real(1),
                        static_cast<Real*>(head.values) + at);
    }
  }

  static void pack_queries(const BackwardHead& head, int64_t first, int64_t last) {
    for (int64_t panel = first; panel < last; ++panel) {
      pack_query_panel(head, panel);
      pack_sums(head, panel);
    }
  }

  static void pack_query_panel(const BackwardHead& head, int64_t panel) {
    const int64_t at = panel * head.d * kRows;
    pack_panel<kRows>(head.q, head.length, head.d, panel, static_cast<Real>(head.scale * kLog2E),
                      static_cast<Real*>(head.queries) + at);
    pack_panel<kRows>(head.grad_out, head.length, head.d, panel, Real(1),
                      static_cast<Real*>(head.grads) + at);
  }

  // lse and delta of the queries of a panel.
  static void pack_sums(const BackwardHead& head, int64_t panel) {
    Real spare[kMaxHead], other[kMaxHead];
    for (int64_t t = panel * kRows; t < (panel + 1) * kRows; ++t) {
      // Rows beyond the end get probability 2^-infinity.
      Real lse = Real(INFINITY), delta = 0;
      if (t < head.length) {
        lse = static_cast<const Real*>(head.lse)[t] * static_cast<Real>(kLog2E);
        delta = dot(read_row(head.grad_out, t, head.d, spare),
                    read_row(head.attended, t, head.d, other), head.d);
      }
      static_cast<Real*>(head.lse_log2)[t] = lse;
      static_cast<Real*>(head.delta)[t] = delta;
    }
  }

  static void run(const BackwardHead& head, int64_t first, int64_t last, void* grad_queries,
                  double prior_gradient[2], void* scratch) {
    BackwardRun work(head, static_cast<Real*>(grad_queries), scratch);
    memset(grad_queries, 0,
           static_cast<size_t>(work.query_panels * kRows * work.padded) * sizeof(Real));
    // Wide heads fill the cache with half the keys. Blocks of a run are of equal size.
    const int64_t most = (head.d > 128 ? kKeys / 2 : kKeys) / kWide;
    const int64_t blocks = (last - first + most - 1) / most;
    const int64_t tiles = blocks > 0 ? (last - first + blocks - 1) / blocks : 0;
    for (int64_t begin = first; begin < last; begin += tiles) {
      work.keys_block(begin, lesser(begin + tiles, last));
    }
    for (int i = 0; i < 2; ++i) prior_gradient[i] = work.by_w_b[i];
  }

  static void finish_queries(const BackwardHead& head, int64_t first, int64_t last,
                             const void* grad_queries, void* scratch) {
    const int64_t padded = round_to(head.d, kLanes<Real>);
    const Layout layout(head.d, static_cast<char*>(scratch));
    const Real scale = static_cast<Real>(head.scale);
    for (int64_t p = first; p < last; ++p) {
      const Real* tiles = static_cast<const Real*>(grad_queries) + p * kRows * padded;
      write_tiles(tiles, padded, scale, p * kRows, lesser(kRows, head.length - p * kRows), head.d,
                  layout.stage, head.grad_q);
    }
  }

  static constexpr attention::BackwardKernels table() {
    return {kRows,          kWide,          kLanes<Real>,
            sizeof(Real),   &scratch_bytes, &widen_rows<Real>,
            &pack_queries,  &pack_keys,     &BackwardRun::run,
            &finish_queries};
  }

 protected:
  struct Layout {
    Layout(int64_t d, char* base) {
      const int64_t padded = round_to(d, kLanes<Real>);
      const int64_t keys = round_to(kKeys + kRows, kRows);
      grad_keys = take(base, keys * padded);
      grad_values = take(base, keys * padded);
      // The products by columns read up to a tile beyond the last key of a block; those rows
      // of their results are dropped.
      probabilities = take(base, kQueries * kStride + kRows);
      slopes = take(base, kQueries * kStride + kRows);
      stage = take(base, kRows * padded);
    }
    Real* take(char* base, int64_t count) {
      Real* at = base == nullptr ? nullptr : reinterpret_cast<Real*>(base + bytes);
      bytes += round_to(count * static_cast<int64_t>(sizeof(Real)), 64);
      return at;
    }
    int64_t bytes = 0;
    Real* grad_keys;    // tiles
    Real* grad_values;  // tiles
    Real* probabilities;
    Real* slopes;  // dS / scale
    Real* stage;
  };

  BackwardRun(const BackwardHead& h, Real* grad_q, void* memory)
      : head(h),
        scratch(h.d, static_cast<char*>(memory)),
        padded(round_to(h.d, kLanes<Real>)),
        query_panels((h.length + kRows - 1) / kRows),
        grad_queries(grad_q) {}

  static Real dot(const Real* a, const Real* b, int64_t count) {
    Vec<Real> partial = broadcast(Real(0));
    int64_t c = 0;
    for (; c + kLanes<Real> <= count; c += kLanes<Real>) {
      partial = multiply_add(load(a + c), load(b + c), partial);
    }
    Real total = sum<Real>(partial);
    for (; c < count; ++c) total += a[c] * b[c];
    return total;
  }

  // Keys of panels first .. last - 1, few enough to stay in cache.
  void keys_block(int64_t first, int64_t last) {
    const int64_t k0 = first * kWide;
    const int64_t keys = lesser(head.length, last * kWide) - k0;
    const int64_t key_tiles = (keys + kRows - 1) / kRows;
    const size_t bytes = static_cast<size_t>(key_tiles * kRows * padded) * sizeof(Real);
    memset(scratch.grad_keys, 0, bytes);
    memset(scratch.grad_values, 0, bytes);
    // Blocks of equal size: a last one of a few rows would cost almost as much as a full one.
    constexpr int64_t kPanels = kQueries / kRows;
    const int64_t blocks = (query_panels + kPanels - 1) / kPanels;
    const int64_t block = (query_panels + blocks - 1) / blocks;
    for (int64_t q = 0; q < query_panels; q += block) {
      const int64_t panels = lesser(block, query_panels - q), q0 = q * kRows;
      const int64_t queries = lesser(panels * kRows, head.length - q0);
      for (int64_t c = 0; c < last - first; ++c) {
        for (int64_t p = 0; p < panels; ++p) {
          const int64_t at = p * kRows * kStride + c * kWide;
          slopes_tile(q + p, first + c, scratch.probabilities + at, scratch.slopes + at);
        }
      }
      for_columns<Real>(padded, [&](auto width, int64_t column) {
        constexpr int kVectors = decltype(width)::value;
        for (int64_t r = 0; r < key_tiles; ++r) {
          add_by_columns<kVectors>(scratch.grad_values, scratch.probabilities, r, column,
                                   head.grad_rows, q0, queries);
        }
        for (int64_t r = 0; r < key_tiles; ++r) {
          add_by_columns<kVectors>(scratch.grad_keys, scratch.slopes, r, column, head.query_rows,
                                   q0, queries);
        }
        for (int64_t p = 0; p < panels; ++p) {
          add_by_rows<kVectors>(q + p, p, column, k0, keys);
        }
      });
    }
    finish_keys(head, scratch, padded, k0, keys, key_tiles,
                [&](auto width, Real* tile, int64_t column, int64_t j0) {
                  add_prior<decltype(width)::value>(tile, column, j0);
                });
  }

  // P and dS / scale between the queries of `panel` and the keys of `key_tile`.
  void slopes_tile(int64_t panel, int64_t key_tile, Real* probabilities, Real* slopes) {
    constexpr int kVectors = 2;
    const int64_t at = panel * kRows * head.d, key_at = key_tile * head.d * kWide;
    const int64_t i0 = panel * kRows, j0 = key_tile * kWide;
    const bool near = is_near(i0, j0), logit = head.prior == Prior::kLogit;

    Accumulators<Real, kVectors> tile;
    set_zero<Real, kVectors>(tile);
    add_product<Format, 1, kRows>(tile, static_cast<const Real*>(head.queries) + at,
                                  static_cast<const Real*>(head.keys) + key_at, kWide, head.d);
    if (logit && near) {
      add_gain<Real, kVectors>(tile, static_cast<const Real*>(head.band.gain_log2) + (j0 - i0));
    }
    const Real* lse = static_cast<const Real*>(head.lse_log2) + i0;
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) {
        store(probabilities + i * kStride + h * kLanes<Real>, exp2(tile[i][h] - broadcast(lse[i])));
      }
    }

    set_zero<Real, kVectors>(tile);
    add_product<Format, 1, kRows>(tile, static_cast<const Real*>(head.grads) + at,
                                  static_cast<const Real*>(head.values) + key_at, kWide, head.d);
    const bool wanted = head.prior_gradient && near;
    if (wanted && !logit) {
      store_tile<Real, kVectors>(tile, slopes, kStride);
      add_prior_gradient<kVectors>(slopes, j0 - i0, by_w_b);
      load_tile<Real, kVectors>(tile, slopes, kStride);
    }
    const Real* delta = static_cast<const Real*>(head.delta) + i0;
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) {
        const int at_h = i * kStride + h * kLanes<Real>;
        store(slopes + at_h, load(probabilities + at_h) * (tile[i][h] - broadcast(delta[i])));
      }
    }
    if (__builtin_expect(head.length == 1, 0)) {
      // The softmax of one logit is constant, so dS is 0; by a product, so that a NaN stays.
      for (int h = 0; h < kWide; ++h) slopes[h] *= Real(0);
    }
    if (wanted && logit) {
      // Keys beyond the end have probabilities here. No product reads them, but this sum would.
      for (int i = 0; i < kRows && j0 + kWide > head.length; ++i) {
        for (int64_t j = head.length - j0; j < kWide; ++j) slopes[i * kStride + j] = 0;
      }
      add_prior_gradient<kVectors>(slopes, j0 - i0, by_w_b);
    }
  }

  // Whether the prior counts between the queries of the panel from i0 and the keys of a tile from
  // j0.
  bool is_near(int64_t i0, int64_t j0) const {
    return head.band.radius >= 0 && j0 - (i0 + kRows - 1) <= head.band.radius &&
           i0 - (j0 + kWide - 1) <= head.band.radius;
  }

  // sum over a tile of dG dG/dw and dG dG/db, where `grads` holds dG (additive: dP, logit: dS).
  template <int kVectors>
  __attribute__((noinline)) void add_prior_gradient(const Real* grads, int64_t distance,
                                                    double sums[2]) const {
    Vec<Real> by_w = broadcast(Real(0)), by_b = broadcast(Real(0));
    const Real* slope_w = static_cast<const Real*>(head.band.slope_w) + distance;
    const Real* slope_b = static_cast<const Real*>(head.band.slope_b) + distance;
    for (int i = 0; i < kRows; ++i) {
      for (int h = 0; h < kVectors * kLanes<Real>; h += kLanes<Real>) {
        const Vec<Real> grad = load(grads + i * kStride + h);
        by_w = multiply_add(load(slope_w - i + h), grad, by_w);
        by_b = multiply_add(load(slope_b - i + h), grad, by_b);
      }
    }
    sums[0] += sum<Real>(by_w);
    sums[1] += sum<Real>(by_b);
  }

  // Gradient of key tile r: the columns of `left` times rows of queries or of their gradients.
  template <int kVectors>
  void add_by_columns(Real* tiles, const Real* left, int64_t r, int64_t column,
                      const attention::Operand& right, int64_t q0, int64_t queries) {
    constexpr int kWidth = kVectors * kLanes<Real>;
    Real* out = tiles + r * kRows * padded + kRows * column;
    Accumulators<Real, kVectors> tile;
    set_zero<Real, kVectors>(tile);
    add_product<Format, 1, kStride>(
        tile, left + r * kRows, static_cast<const Real*>(right.data) + q0 * right.stride + column,
        right.stride, queries);
    add_tile<Real, kVectors>(tile, out, kWidth);
  }

  // Gradient of query panel `panel`: the rows of dS times rows of keys.
  template <int kVectors>
  void add_by_rows(int64_t panel, int64_t p, int64_t column, int64_t k0, int64_t keys) {
    constexpr int kWidth = kVectors * kLanes<Real>;
    Real* out = grad_queries + panel * kRows * padded + kRows * column;
    Accumulators<Real, kVectors> tile;
    set_zero<Real, kVectors>(tile);
    const attention::Operand& right = head.key_rows;
    add_product<Format, kStride, 1>(
        tile, scratch.slopes + p * kRows * kStride,
        static_cast<const Real*>(right.data) + k0 * right.stride + column, right.stride, keys);
    add_tile<Real, kVectors>(tile, out, kWidth);
  }

  // dV += G^T dO; G is symmetric.
  template <int kVectors>
  void add_prior(Real* out, int64_t column, int64_t j0) {
    const attention::Operand& right = head.grad_rows;
    add_band<Format, kVectors>(out, head.band.radius, j0,
                               static_cast<const Real*>(right.data) + column, right.stride,
                               head.length, head.band.gain);
  }

 public:
  // Adds the prior's part to the gradients of values of a block's keys, and writes the gradients of
  // both. `add_band_to(width, tile, column, j0)` does so for a narrow prior and rows from j0 on.
  template <class Scratch, class AddBandTo>
  static void finish_keys(const BackwardHead& head, const Scratch& scratch, int64_t padded,
                          int64_t k0, int64_t keys, int64_t key_tiles, AddBandTo add_band_to) {
    const bool wide = head.far.block > 0;
    if (head.prior == Prior::kAdditive && (wide || head.band.radius >= 0)) {
      // Bands of neighbouring tiles overlap: what one has read, the next finds in the cache.
      for_columns<Real>(padded, [&](auto width, int64_t column) {
        for (int64_t r = 0; r < key_tiles; ++r) {
          Real* tile = scratch.grad_values + r * kRows * padded + kRows * column;
          const int64_t j0 = k0 + r * kRows;
          if (wide) {
            add_far<Real, decltype(width)::value>(tile, head.far, j0, column, head.length, padded);
          } else {
            add_band_to(width, tile, column, j0);
          }
        }
      });
    }
    for (int64_t r = 0; r < key_tiles; ++r) {
      const int64_t j0 = k0 + r * kRows, rows = lesser(kRows, keys - r * kRows);
      write_tiles(scratch.grad_values + r * kRows * padded, padded, Real(1), j0, rows, head.d,
                  scratch.stage, head.grad_v);
      write_tiles(scratch.grad_keys + r * kRows * padded, padded, static_cast<Real>(head.scale), j0,
                  rows, head.d, scratch.stage, head.grad_k);
    }
  }

  // The first `rows` rows of a row of tiles, times `factor`, from row `first` on.
  static void write_tiles(const Real* tiles, int64_t padded, Real factor, int64_t first,
                          int64_t rows, int64_t d, Real* stage, const MutableRows& to) {
    for (int64_t i = 0; i < rows; ++i) {
      for_columns<Real>(padded, [&](auto width, int64_t column) {
        constexpr int kVectors = decltype(width)::value;
        const Real* from = tiles + kRows * column + i * kVectors * kLanes<Real>;
        for (int h = 0; h < kVectors * kLanes<Real>; h += kLanes<Real>) {
          store(stage + column + h, load(from + h) * broadcast(factor));
        }
      });
      write_row(stage, first + i, d, to);
    }
  }

 protected:
  const BackwardHead& head;
  const Layout scratch;
  const int64_t padded, query_panels;
  Real* const grad_queries;
  double by_w_b[2] = {0, 0};
};

}  // namespace
}  // namespace ladnet::LADNET_ISA
