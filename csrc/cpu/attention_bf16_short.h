// Backward pass of a short bag in bf16 products: BackwardShort for bf16 tensors.
//
// P and dS of all pairs are stored, dS in both ways, and then each gradient is a product of its
// own. As there, rows are cut into blocks of kKeys keys, and products are summed in these blocks,
// however many threads share the rows of a bag.
#pragma once

#include "cpu/attention_bf16_backward.h"
#include "cpu/attention_short.h"

namespace ladnet::LADNET_ISA {
namespace {

template <class Format>
class ShortPairs : PairTiles<Format> {
  using Base = PairTiles<Format>;
  using Base::head, Base::padded, Base::kKeys, Base::kQueries, Base::kStride, Base::kWide;
  using typename Base::Element, typename Base::Places, typename Base::Storage;
  static_assert(kStride * sizeof(Element) >= sizeof(VecF));

 public:
  static constexpr attention::BackwardKernels table() {
    attention::BackwardKernels kernels = BackwardPairs<Format>::table();
    kernels.matrix_bytes = &matrix_bytes;
    kernels.fill_matrices = &fill_matrices;
    kernels.multiply = &multiply;
    return kernels;
  }

 private:
  // The planner sets aside twice the same: for P and the sums of the rows of dS, and for dS in both
  // ways.
  static int64_t matrix_bytes(int64_t length) {
    return 2 * Storage::bag_elements(length) * static_cast<int64_t>(sizeof(Element));
  }

  static void fill_matrices(const BackwardHead& head, int64_t first, int64_t last) {
    Base::pack_queries(head, first, last);
    const ShortPairs work(head, nullptr);
    memset(work.row_parts + first * kRows * kLanes<float>, 0,
           static_cast<size_t>((last - first) * kRows) * sizeof(VecF));
    double (*const sums)[2] = head.panel_gradients;
    for (int64_t p = first; p < last; ++p) sums[p][0] = sums[p][1] = 0;
    for (int64_t c = 0; c * kWide < head.length; ++c) {
      const int64_t block = c * kWide / kKeys, column = c * kWide % kKeys;
      for (int64_t p = first; p < last; ++p) {
        const int64_t at = Storage::place_in_bag(head.length, p * kRows, c * kWide);
        const int64_t row_at = block * Storage::block_elements(head.length) + p * kRows * kStride;
        const Places to = {work.probabilities + at, work.slopes + at,
                           work.slope_rows + row_at + column,
                           work.row_parts + p * kRows * kLanes<float>};
        if (head.length - c * kWide > kLanes<float>) {
          work.template slopes_tile<2>(p, c, to, sums[p]);
        } else {
          work.template slopes_tile<1>(p, c, to, sums[p]);
        }
      }
    }
  }

  static void multiply(const BackwardHead& head, Gradient gradient, int64_t first, int64_t last,
                       void* memory) {
    const ShortPairs work(head, memory);
    const float scale = static_cast<float>(head.scale);
    switch (gradient) {
      case Gradient::kValues:
        return work.template by_columns<true>(work.probabilities, head.grad_rows, first, last, 1.0f,
                                              head.grad_v);
      case Gradient::kKeys:
        return work.template by_columns<false>(work.slopes, head.query_rows, first, last, scale,
                                               head.grad_k);
      case Gradient::kQueries:
        return work.by_rows(first, last, scale, head.grad_q);
    }
  }

  ShortPairs(const BackwardHead& h, void* memory)
      : Base(h),
        probabilities(static_cast<Element*>(h.probabilities)),
        row_parts(reinterpret_cast<float*>(probabilities + Storage::bag_elements(h.length))),
        slopes(static_cast<Element*>(h.slopes)),
        slope_rows(slopes + Storage::bag_elements(h.length)),
        tiles(static_cast<float*>(memory)) {}

  // Behind the tiles; only for multiply.
  float* stage() const { return tiles + kMostPanels * kRows * padded; }
  float* mean_key() const { return stage() + kRows * padded; }

  // Gradients of the keys of panels first .. last - 1: columns of `left` times rows of `right`.
  template <bool kValues>
  void by_columns(const Element* left, const attention::Operand& right, int64_t first, int64_t last,
                  float factor, const MutableRows& to) const {
    const bool prior = kValues && head.prior == Prior::kAdditive && head.band.radius >= 0;
    multiply_panels(
        first, last, kQueries, factor, right, to,
        [&](auto& tile, int64_t panel, int64_t q0, const Element* rows, int64_t pairs) {
          const Element* from = left + Storage::place_in_bag(head.length, q0, panel * kRows);
          Storage::add_column_product(tile, from, rows, 2 * padded, pairs);
        },
        [&](auto width, int64_t panel, int64_t column, float* out) {
          if (prior) {
            this->template add_prior<decltype(width)::value>(out, column, panel * kRows);
          }
        });
  }

  // Gradients of the queries of panels first .. last - 1: rows of dS times rows of keys less the
  // mean key.
  void by_rows(int64_t first, int64_t last, float factor, const MutableRows& to) const {
    this->average_keys(mean_key());
    multiply_panels(
        first, last, kKeys, factor, head.key_rows, to,
        [&](auto& tile, int64_t panel, int64_t k0, const Element* rows, int64_t pairs) {
          const Element* from = slope_rows + k0 / kKeys * Storage::block_elements(head.length) +
                                panel * kRows * kStride;
          add_product<Format, kStride, 2>(tile, from, rows, 2 * padded, pairs);
        },
        [&](auto width, int64_t panel, int64_t column, float* out) {
          constexpr int kVectors = decltype(width)::value;
          float sums[kRows];
          for (int i = 0; i < kRows; ++i) {
            sums[i] = sum<float>(load(row_parts + (panel * kRows + i) * kLanes<float>));
          }
          Accumulators<float, kVectors> tile;
          load_tile<float, kVectors>(tile, out, kVectors * kLanes<float>);
          this->template subtract_mean<kVectors>(tile, sums, mean_key() + column);
          store_tile<float, kVectors>(tile, out, kVectors * kLanes<float>);
        });
  }

  // Products in blocks of the depth, each of them from zero; then `finish` for each tile.
  template <class Product, class Finish>
  void multiply_panels(int64_t first, int64_t last, int64_t block, float factor,
                       const attention::Operand& right, const MutableRows& to,
                       const Product& product, const Finish& finish) const {
    float factors[kRows];
    for (float& each : factors) each = factor;
    for (; first < last; first += kMostPanels) {
      const int64_t end = lesser(first + kMostPanels, last);
      const auto out = [&](int64_t panel) { return tiles + (panel - first) * kRows * padded; };
      for_columns<float>(padded, [&](auto width, int64_t column) {
        constexpr int kVectors = decltype(width)::value;
        constexpr int kWidth = kVectors * kLanes<float>;
        for (int64_t at = 0; at < head.length; at += block) {
          const Element* rows = static_cast<const Element*>(right.data) + at * padded + 2 * column;
          for (int64_t panel = first; panel < end; ++panel) {
            Accumulators<float, kVectors> tile;
            set_zero<float, kVectors>(tile);
            product(tile, panel, at, rows, (lesser(block, head.length - at) + 1) / 2);
            if (at == 0) {
              store_tile<float, kVectors>(tile, out(panel) + kRows * column, kWidth);
            } else {
              add_tile<float, kVectors>(tile, out(panel) + kRows * column, kWidth);
            }
          }
        }
        for (int64_t panel = first; panel < end; ++panel) {
          finish(width, panel, column, out(panel) + kRows * column);
        }
      });
      for (int64_t panel = first; panel < end; ++panel) {
        write_tiles(out(panel), padded, factors, panel * kRows,
                    lesser(kRows, head.length - panel * kRows), head.d, stage(), to);
      }
    }
  }

  // Of BackwardPairs' scratch memory, which has room for the tiles of kKeys keys twice.
  static constexpr int64_t kMostPanels = kKeys / kRows;

  Element* const probabilities;
  float* const row_parts;
  Element* const slopes;
  Element* const slope_rows;
  float* const tiles;
};

}  // namespace
}  // namespace ladnet::LADNET_ISA
