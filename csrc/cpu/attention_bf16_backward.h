// Backward pass in bf16 products with fp32 sums: BackwardRun for bf16 tensors.
//
// S = Q K^T and dP = dO V^T multiply what was given, so their products are exact. P and dS are
// computed in fp32 and rounded to bf16 as operands of P^T dO, dS^T Q and dS K; sums are fp32, as
// are the gradients until the end. dS is stored twice, in pairs of queries and in pairs of keys,
// because each product pairs its own depth. The additive prior stays fp32: G^T dO widens dO.
//
// Each row of dS adds up to 0, so that what keys have in common does not reach dQ. Rounded rows do
// not, nor does a row whose delta is a little off. So dQ is taken as dS (K - m), m the bag's mean
// key: dS K less the row's sum times m. Where m is large, that error would be larger than dQ.
//
// What the planner sees is BackwardRun<float>: gradients of queries are its tiles, and packed
// operands take half of the memory that is set aside for it.
#pragma once

#include "cpu/attention_backward.h"
#include "cpu/attention_bf16_tile.h"

namespace ladnet::LADNET_ISA {
namespace {

class BackwardPairs {
  using Element = uint16_t;
  using Fp32 = BackwardRun<float>;
  static constexpr int kWide = kColumns<float>;
  static constexpr int kQueries = 192;
  static constexpr int kKeys = 192;
  // Rows are not a power of two apart: they would share cache sets.
  static constexpr int kStride = kKeys + 16;

 public:
  static constexpr attention::BackwardKernels table() {
    attention::BackwardKernels kernels = Fp32::table();
    kernels.scratch_bytes = &scratch_bytes;
    kernels.widen_rows = &pack_pair_rows;
    kernels.pack_queries = &pack_queries;
    kernels.pack_keys = &pack_keys;
    kernels.run = &BackwardPairs::run;
    return kernels;
  }

 private:
  static int64_t scratch_bytes(int64_t d) {
    // Fp32's own functions finish the queries.
    return greater_of(Layout(d, nullptr).bytes, Fp32::scratch_bytes(d));
  }

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
      pack_pair_panel<kRows>(head.q, head.length, head.d, panel,
                             static_cast<Element*>(head.queries) + panel * size);
      pack_pair_panel<kRows>(head.grad_out, head.length, head.d, panel,
                             static_cast<Element*>(head.grads) + panel * size);
      Fp32::pack_sums(head, panel);
    }
  }

  static void run(const BackwardHead& head, int64_t first, int64_t last, void* grad_queries,
                  double prior_gradient[2], void* scratch) {
    BackwardPairs work(head, static_cast<float*>(grad_queries), scratch);
    memset(grad_queries, 0,
           static_cast<size_t>(work.query_panels * kRows * work.padded) * sizeof(float));
    work.average_keys();
    // Blocks of a run are of equal size.
    const int64_t most = (head.d > 128 ? kKeys / 2 : kKeys) / kWide;
    const int64_t blocks = (last - first + most - 1) / most;
    const int64_t tiles = blocks > 0 ? (last - first + blocks - 1) / blocks : 0;
    for (int64_t begin = first; begin < last; begin += tiles) {
      work.keys_block(begin, lesser(begin + tiles, last));
    }
    prior_gradient[0] = work.grad_w;
    prior_gradient[1] = work.grad_b;
  }

  struct Layout {
    Layout(int64_t d, char* base) {
      const int64_t padded = round_to(d, kLanes<float>);
      const int64_t keys = round_to(kKeys + kRows, kRows);
      grad_keys = take<float>(base, keys * padded);
      grad_values = take<float>(base, keys * padded);
      // Products by columns read up to a tile beyond the last key of a block; those rows of their
      // results are dropped.
      probabilities = take<Element>(base, kQueries * kStride + 2 * kRows);
      slopes = take<Element>(base, kQueries * kStride + 2 * kRows);
      slope_rows = take<Element>(base, kQueries * kStride);
      row_parts = take<float>(base, kQueries * kLanes<float>);
      row_sums = take<float>(base, kQueries);
      mean_key = take<float>(base, padded);
      stage = take<float>(base, kRows * padded);
    }
    template <class T>
    T* take(char* base, int64_t count) {
      T* at = base == nullptr ? nullptr : reinterpret_cast<T*>(base + bytes);
      bytes += round_to(count * static_cast<int64_t>(sizeof(T)), 64);
      return at;
    }
    int64_t bytes = 0;
    float* grad_keys;        // tiles
    float* grad_values;      // tiles
    Element* probabilities;  // pairs of queries: (i, j) at i / 2 * 2 * kStride + 2 j + i % 2
    Element* slopes;         // dS / scale, likewise
    Element* slope_rows;     // the same by rows: (i, j) at i * kStride + j
    float* row_parts;        // sums of slope_rows, one vector per query
    float* row_sums;
    float* mean_key;
    float* stage;
  };

  BackwardPairs(const BackwardHead& h, float* grad_q, void* memory)
      : head(h),
        scratch(h.d, static_cast<char*>(memory)),
        depth(round_to(h.d, 2)),
        padded(round_to(h.d, kLanes<float>)),
        query_panels((h.length + kRows - 1) / kRows),
        factor(static_cast<float>(h.scale * kLog2E)),
        grad_queries(grad_q) {}

  // Keys of panels first .. last - 1, few enough to stay in cache.
  void keys_block(int64_t first, int64_t last) {
    const int64_t k0 = first * kWide;
    const int64_t keys = lesser(head.length, last * kWide) - k0;
    const int64_t key_tiles = (keys + kRows - 1) / kRows;
    const size_t bytes = static_cast<size_t>(key_tiles * kRows * padded) * sizeof(float);
    memset(scratch.grad_keys, 0, bytes);
    memset(scratch.grad_values, 0, bytes);
    // Blocks of equal size: a last one of a few rows would cost almost as much as a full one.
    constexpr int64_t kPanels = kQueries / kRows;
    const int64_t blocks = (query_panels + kPanels - 1) / kPanels;
    const int64_t block = (query_panels + blocks - 1) / blocks;
    for (int64_t q = 0; q < query_panels; q += block) {
      const int64_t panels = lesser(block, query_panels - q), q0 = q * kRows;
      const int64_t pairs = (lesser(panels * kRows, head.length - q0) + 1) / 2;
      memset(scratch.row_parts, 0, static_cast<size_t>(panels * kRows) * sizeof(VecF));
      for (int64_t c = 0; c < last - first; ++c) {
        for (int64_t p = 0; p < panels; ++p) slopes_tile(q, p, first, c);
      }
      for (int64_t i = 0; i < panels * kRows; ++i) {
        scratch.row_sums[i] = sum<float>(load(scratch.row_parts + i * kLanes<float>));
      }
      for_columns<float>(padded, [&](auto width, int64_t column) {
        constexpr int kVectors = decltype(width)::value;
        for (int64_t r = 0; r < key_tiles; ++r) {
          add_by_columns<kVectors>(scratch.grad_values, scratch.probabilities, r, column,
                                   head.grad_rows, q0, pairs);
        }
        for (int64_t r = 0; r < key_tiles; ++r) {
          add_by_columns<kVectors>(scratch.grad_keys, scratch.slopes, r, column, head.query_rows,
                                   q0, pairs);
        }
        for (int64_t p = 0; p < panels; ++p) {
          add_by_rows<kVectors>(q + p, p, column, k0, (keys + 1) / 2);
        }
      });
    }
    finish_keys(k0, keys, key_tiles);
  }

  // P and dS / scale of one tile: panel p of the query block at panel q, tile c of the key block
  // at tile `first`.
  void slopes_tile(int64_t q, int64_t p, int64_t first, int64_t c) {
    const int64_t panel = q + p, at = panel * kRows * depth, key_at = (first + c) * depth * kWide;
    const int64_t i0 = panel * kRows, j0 = (first + c) * kWide;
    const bool near = head.band.radius >= 0 && j0 - (i0 + kRows - 1) <= head.band.radius &&
                      i0 - (j0 + kWide - 1) <= head.band.radius;
    const bool logit = head.prior == Prior::kLogit;
    const bool edge = i0 + kRows > head.length || j0 + kWide > head.length;
    const int64_t to = p * kRows * kStride + c * kWide;            // by rows
    const int64_t to_pairs = p * kRows * kStride + 2 * c * kWide;  // by pairs of queries
    alignas(64) float probabilities[kRows * kWide], other[kRows * kWide];

    Accumulators<float, 2> tile;
    set_zero<float, 2>(tile);
    add_product<Bf16Pairs, 2, 2 * kRows>(tile, static_cast<const Element*>(head.queries) + at,
                                         static_cast<const Element*>(head.keys) + key_at, 2 * kWide,
                                         depth / 2);
    const float* lse = static_cast<const float*>(head.lse_log2) + i0;
    if (logit && near) {
      const float* gain = static_cast<const float*>(head.band.gain_log2) + (j0 - i0);
      LADNET_UNROLL
      for (int i = 0; i < kRows; ++i) {
        LADNET_UNROLL
        for (int h = 0; h < 2; ++h) {
          const VecF prior = load(gain - i + h * kLanes<float>);
          tile[i][h] = multiply_add(tile[i][h], broadcast(factor), prior) - broadcast(lse[i]);
        }
      }
    } else {
      LADNET_UNROLL
      for (int i = 0; i < kRows; ++i) {
        LADNET_UNROLL
        for (int h = 0; h < 2; ++h) {
          tile[i][h] = multiply_add(tile[i][h], broadcast(factor), broadcast(-lse[i]));
        }
      }
    }
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < 2; ++h) tile[i][h] = exp2(tile[i][h]);
    }
    store_tile<float, 2>(tile, probabilities, kWide);
    if (__builtin_expect(edge, 0)) {
      clear_padding(probabilities, i0, j0);
      load_tile<float, 2>(tile, probabilities, kWide);
    }
    store_pairs(tile, scratch.probabilities + to_pairs);

    set_zero<float, 2>(tile);
    add_product<Bf16Pairs, 2, 2 * kRows>(tile, static_cast<const Element*>(head.grads) + at,
                                         static_cast<const Element*>(head.values) + key_at,
                                         2 * kWide, depth / 2);
    const bool wanted = head.prior_gradient && near;
    if (wanted && !logit) {
      store_tile<float, 2>(tile, other, kWide);
      add_prior_gradient(other, j0 - i0);
      load_tile<float, 2>(tile, other, kWide);
    }
    const float* delta = static_cast<const float*>(head.delta) + i0;
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < 2; ++h) {
        const VecF P = load(probabilities + i * kWide + h * kLanes<float>);
        tile[i][h] = P * (tile[i][h] - broadcast(delta[i]));
      }
    }
    if (edge || (wanted && logit)) {
      store_tile<float, 2>(tile, other, kWide);
      if (edge) clear_padding(other, i0, j0);
      // The softmax of one logit is constant, so dS is 0; by a product, so that a NaN stays.
      if (head.length == 1) other[0] *= 0.0f;
      if (wanted && logit) add_prior_gradient(other, j0 - i0);
      load_tile<float, 2>(tile, other, kWide);
    }
    store_pairs(tile, scratch.slopes + to_pairs);
    float* part = scratch.row_parts + p * kRows * kLanes<float>;
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i, part += kLanes<float>) {
      const __m512bh row = _mm512_cvtne2ps_pbh((__m512)tile[i][1], (__m512)tile[i][0]);
      memcpy(scratch.slope_rows + to + i * kStride, &row, sizeof(row));
      store(part, load(part) + (widen_even((__m512i)row) + widen_odd((__m512i)row)));
    }
  }

  // A tile rounded to bf16, the elements of two rows side by side.
  LADNET_INLINE void store_pairs(const Accumulators<float, 2>& tile, Element* to) {
    const __m512i order = interleaved();
    LADNET_UNROLL
    for (int i = 0; i < kRows; i += 2) {
      LADNET_UNROLL
      for (int h = 0; h < 2; ++h) {
        const __m512bh both = _mm512_cvtne2ps_pbh((__m512)tile[i + 1][h], (__m512)tile[i][h]);
        const __m512i pairs = _mm512_permutexvar_epi16(order, (__m512i)both);
        memcpy(to + i * kStride + 2 * h * kLanes<float>, &pairs, sizeof(pairs));
      }
    }
  }
  // 0, 16, 1, 17, ... 15, 31.
  LADNET_INLINE __m512i interleaved() {
    static constexpr Element kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                           21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                           11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_loadu_si512(kOrder);
  }

  // A pair may reach one query or key beyond the end, where 0 times infinity would be NaN; the sums
  // of rows and those for w and b read all keys of a tile.
  __attribute__((noinline)) void clear_padding(float* tile, int64_t i0, int64_t j0) const {
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kWide; ++j) {
        if (i0 + i >= head.length || j0 + j >= head.length) tile[i * kWide + j] = 0;
      }
    }
  }

  // sum over a tile of dG dG/dw and dG dG/db, where `grads` holds dG (additive: dP, logit: dS).
  __attribute__((noinline)) void add_prior_gradient(const float* grads, int64_t distance) {
    VecF by_w = broadcast(0.0f), by_b = broadcast(0.0f);
    const float* slope_w = static_cast<const float*>(head.band.slope_w) + distance;
    const float* slope_b = static_cast<const float*>(head.band.slope_b) + distance;
    for (int i = 0; i < kRows; ++i) {
      for (int h = 0; h < kWide; h += kLanes<float>) {
        const VecF grad = load(grads + i * kWide + h);
        by_w = multiply_add(load(slope_w - i + h), grad, by_w);
        by_b = multiply_add(load(slope_b - i + h), grad, by_b);
      }
    }
    grad_w += sum<float>(by_w);
    grad_b += sum<float>(by_b);
  }

  // Gradient of key tile r: the columns of `left` times rows of queries or of their gradients.
  template <int kVectors>
  void add_by_columns(float* tiles, const Element* left, int64_t r, int64_t column,
                      const attention::Operand& right, int64_t q0, int64_t pairs) {
    Accumulators<float, kVectors> tile;
    set_zero<float, kVectors>(tile);
    add_product<Bf16Pairs, 2, 2 * kStride>(
        tile, left + 2 * r * kRows,
        static_cast<const Element*>(right.data) + q0 * padded + 2 * column, 2 * padded, pairs);
    add_tile<float, kVectors>(tile, tiles + r * kRows * padded + kRows * column,
                              kVectors * kLanes<float>);
  }

  void average_keys() const {
    const auto* rows = static_cast<const Element*>(head.key_rows.data);
    const VecF share = broadcast(1.0f / static_cast<float>(head.length));
    for (int64_t c = 0; c < padded; c += kLanes<float>) {
      VecF total = broadcast(0.0f);
      for (int64_t t = 0; t < head.length; t += 2) {
        const __m512i both = _mm512_loadu_si512(rows + t * padded + 2 * c);
        total += widen_even(both) + widen_odd(both);
      }
      store(scratch.mean_key + c, total * share);
    }
  }

  // Gradient of query panel `panel`: the rows of dS times rows of keys less the mean key.
  template <int kVectors>
  void add_by_rows(int64_t panel, int64_t p, int64_t column, int64_t k0, int64_t pairs) {
    Accumulators<float, kVectors> tile;
    set_zero<float, kVectors>(tile);
    add_product<Bf16Pairs, kStride, 2>(
        tile, scratch.slope_rows + p * kRows * kStride,
        static_cast<const Element*>(head.key_rows.data) + k0 * padded + 2 * column, 2 * padded,
        pairs);
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const VecF row_sum = broadcast(-scratch.row_sums[p * kRows + i]);
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) {
        const VecF mean = load(scratch.mean_key + column + h * kLanes<float>);
        tile[i][h] = multiply_add(row_sum, mean, tile[i][h]);
      }
    }
    add_tile<float, kVectors>(tile, grad_queries + panel * kRows * padded + kRows * column,
                              kVectors * kLanes<float>);
  }

  void finish_keys(int64_t k0, int64_t keys, int64_t key_tiles) {
    if (head.prior == Prior::kAdditive && head.band.radius >= 0) {
      // Bands of neighbouring tiles overlap: what one has read, the next finds in the cache.
      for_columns<float>(padded, [&](auto width, int64_t column) {
        for (int64_t r = 0; r < key_tiles; ++r) {
          float* tile = scratch.grad_values + r * kRows * padded + kRows * column;
          add_prior<decltype(width)::value>(tile, column, k0 + r * kRows);
        }
      });
    }
    for (int64_t r = 0; r < key_tiles; ++r) {
      const int64_t j0 = k0 + r * kRows, rows = lesser(kRows, keys - r * kRows);
      Fp32::write_tiles(scratch.grad_values + r * kRows * padded, padded, 1.0f, j0, rows, head.d,
                        scratch.stage, head.grad_v);
      Fp32::write_tiles(scratch.grad_keys + r * kRows * padded, padded,
                        static_cast<float>(head.scale), j0, rows, head.d, scratch.stage,
                        head.grad_k);
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
  const Layout scratch;
  const int64_t depth, padded, query_panels;
  const float factor;
  float* const grad_queries;
  double grad_w = 0, grad_b = 0;
};

}  // namespace
}  // namespace ladnet::LADNET_ISA
