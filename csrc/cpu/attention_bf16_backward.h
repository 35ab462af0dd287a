// Backward pass in bf16 products: BackwardRun for bf16 tensors.
//
// What the planner sees is BackwardRun<float>: gradients of queries are its tiles, and packed
// operands take half of the memory that is set aside for it.
#pragma once

#include "cpu/attention_bf16_slopes.h"

namespace ladnet::LADNET_ISA {
namespace {

template <class Format>
class BackwardPairs : PairTiles<Format> {
  using Base = PairTiles<Format>;
  using Base::head, Base::padded, Base::query_panels, Base::kKeys, Base::kQueries, Base::kStride,
      Base::kWide;
  using typename Base::Element, typename Base::Fp32, typename Base::Storage;

 public:
  static constexpr attention::BackwardKernels table() {
    attention::BackwardKernels kernels = Fp32::table();
    kernels.scratch_bytes = &scratch_bytes;
    kernels.widen_rows = &pack_pair_rows;
    kernels.pack_queries = &Base::pack_queries;
    kernels.pack_keys = &Base::pack_keys;
    kernels.run = &BackwardPairs::run;
    return kernels;
  }

 private:
  static int64_t scratch_bytes(int64_t d) {
    // Fp32's own functions finish the queries.
    return greater_of(Layout(d, nullptr).bytes, Fp32::scratch_bytes(d));
  }

  static void run(const BackwardHead& head, int64_t first, int64_t last, void* grad_queries,
                  double prior_gradient[2], void* scratch) {
    BackwardPairs work(head, static_cast<float*>(grad_queries), scratch);
    memset(grad_queries, 0,
           static_cast<size_t>(work.query_panels * kRows * work.padded) * sizeof(float));
    work.average_keys(work.scratch.mean_key);
    // Blocks of a run are of equal size.
    const int64_t most = (head.d > 128 ? kKeys / 2 : kKeys) / kWide;
    const int64_t blocks = (last - first + most - 1) / most;
    const int64_t tiles = blocks > 0 ? (last - first + blocks - 1) / blocks : 0;
    for (int64_t begin = first; begin < last; begin += tiles) {
      work.keys_block(begin, lesser(begin + tiles, last));
    }
    for (int i = 0; i < 2; ++i) prior_gradient[i] = work.by_w_b[i];
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
    float* grad_keys;    // tiles
    float* grad_values;  // tiles
    Element* probabilities;
    Element* slopes;
    Element* slope_rows;
    float* row_parts;
    float* row_sums;
    float* mean_key;
    float* stage;
  };

  BackwardPairs(const BackwardHead& h, float* grad_q, void* memory)
      : Base(h), scratch(h.d, static_cast<char*>(memory)), grad_queries(grad_q) {}

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
    const int64_t block = round_to((query_panels + blocks - 1) / blocks, Storage::kPanels);
    for (int64_t q = 0; q < query_panels; q += block) {
      const int64_t panels = lesser(block, query_panels - q), q0 = q * kRows;
      const int64_t pairs = (lesser(panels * kRows, head.length - q0) + 1) / 2;
      memset(scratch.row_parts, 0, static_cast<size_t>(panels * kRows) * sizeof(VecF));
      for (int64_t c = 0; c < last - first; ++c) {
        for (int64_t p = 0; p < panels; ++p) {
          const int64_t i = p * kRows, j = c * kWide, at = Storage::place(i, j);
          this->template slopes_tile<2>(
              q + p, first + c,
              {scratch.probabilities + at, scratch.slopes + at,
               scratch.slope_rows + i * kStride + j, scratch.row_parts + i * kLanes<float>},
              by_w_b);
        }
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
    Fp32::finish_keys(head, scratch, padded, k0, keys, key_tiles,
                      [&](auto width, float* tile, int64_t column, int64_t j0) {
                        this->template add_prior<decltype(width)::value>(tile, column, j0);
                      });
  }

  // Gradient of key tile r: the columns of `left` times rows of queries or of their gradients.
  template <int kVectors>
  void add_by_columns(float* tiles, const Element* left, int64_t r, int64_t column,
                      const attention::Operand& right, int64_t q0, int64_t pairs) {
    Accumulators<float, kVectors> tile;
    set_zero<float, kVectors>(tile);
    Storage::add_column_product(tile, left + Storage::place(0, r * kRows),
                                static_cast<const Element*>(right.data) + q0 * padded + 2 * column,
                                2 * padded, pairs);
    add_tile<float, kVectors>(tile, tiles + r * kRows * padded + kRows * column,
                              kVectors * kLanes<float>);
  }

  // Gradient of query panel `panel`: the rows of dS times rows of keys less the mean key.
  template <int kVectors>
  void add_by_rows(int64_t panel, int64_t p, int64_t column, int64_t k0, int64_t pairs) {
    Accumulators<float, kVectors> tile;
    set_zero<float, kVectors>(tile);
    add_product<Format, kStride, 2>(
        tile, scratch.slope_rows + p * kRows * kStride,
        static_cast<const Element*>(head.key_rows.data) + k0 * padded + 2 * column, 2 * padded,
        pairs);
    this->template subtract_mean<kVectors>(tile, scratch.row_sums + p * kRows,
                                           scratch.mean_key + column);
    add_tile<float, kVectors>(tile, grad_queries + panel * kRows * padded + kRows * column,
                              kVectors * kLanes<float>);
  }

  const Layout scratch;
  float* const grad_queries;
  double by_w_b[2] = {0, 0};
};

}  // namespace
}  // namespace ladnet::LADNET_ISA
