// Backward pass of a short bag: P and dS of all pairs are stored, and then each gradient is a
// product of its own.
//
// Rows of P and dS are cut into blocks of kKeys keys, so that a row is a constant number of
// elements behind the one above. Products are summed in the same blocks, however many threads
// share the rows of a bag.
#pragma once

#include "cpu/attention_backward.h"

namespace ladnet::LADNET_ISA {
namespace {

using attention::Gradient;

template <class Real>
class BackwardShort : BackwardRun<Real> {
  using Base = BackwardRun<Real>;
  using Base::head, Base::padded, Base::scratch, Base::kKeys, Base::kQueries, Base::kStride,
      Base::kWide;
  using typename Base::Format;
  static_assert(kKeys % kRows == 0 && kKeys % kWide == 0);

 public:
  static int64_t matrix_bytes(int64_t length) {
    const int64_t blocks = (length + kKeys - 1) / kKeys;
    // Products by columns read up to a tile beyond the last key.
    return (blocks * block_elements(length) + kRows) * static_cast<int64_t>(sizeof(Real));
  }

  static void fill_matrices(const BackwardHead& head, int64_t first, int64_t last) {
    Base::pack_queries(head, first, last);
    BackwardShort work(head, nullptr);
    double (*const sums)[2] = head.panel_gradients;
    for (int64_t p = first; p < last; ++p) sums[p][0] = sums[p][1] = 0;
    for (int64_t c = 0; c * kWide < head.length; ++c) {
      const int64_t block = c * kWide / kKeys, column = c * kWide % kKeys;
      for (int64_t p = first; p < last; ++p) {
        const int64_t at = block * block_elements(head.length) + p * kRows * kStride + column;
        Real* probabilities = static_cast<Real*>(head.probabilities) + at;
        Real* slopes = static_cast<Real*>(head.slopes) + at;
        if (head.length - c * kWide > kLanes<Real>) {
          work.template slopes_tile<2, true>(p, c, probabilities, slopes, sums[p]);
        } else {
          work.template slopes_tile<1, true>(p, c, probabilities, slopes, sums[p]);
        }
      }
    }
  }

  static void multiply(const BackwardHead& head, Gradient gradient, int64_t first, int64_t last,
                       void* memory) {
    BackwardShort work(head, memory);
    const Real scale = static_cast<Real>(head.scale);
    switch (gradient) {
      case Gradient::kValues:
        return work.by_columns(head.probabilities, head.grad_rows, first, last, 1, head.grad_v);
      case Gradient::kKeys:
        return work.by_columns(head.slopes, head.query_rows, first, last, scale, head.grad_k);
      case Gradient::kQueries:
        return work.by_rows(first, last, scale, head.grad_q);
    }
  }

  static constexpr attention::BackwardKernels table() {
    attention::BackwardKernels kernels = Base::table();
    kernels.matrix_bytes = &matrix_bytes;
    kernels.fill_matrices = &fill_matrices;
    kernels.multiply = &multiply;
    return kernels;
  }

 private:
  BackwardShort(const BackwardHead& h, void* memory) : Base(h, nullptr, memory) {}

  static int64_t block_elements(int64_t length) {
    return (length + kRows - 1) / kRows * kRows * kStride;
  }

  // Gradients of the keys of panels first .. last - 1: columns of `left` times rows of `right`.
  void by_columns(const void* left, const attention::Operand& right, int64_t first, int64_t last,
                  Real factor, const MutableRows& to) {
    constexpr int64_t kPanels = kKeys / kRows;
    multiply_panels(first, last, head.length, kQueries, factor, right, to,
                    [&](auto& tile, int64_t panel, int64_t q0, const Real* rows, int64_t depth) {
                      const Real* from = static_cast<const Real*>(left) +
                                         panel / kPanels * block_elements(head.length) +
                                         q0 * kStride + panel % kPanels * kRows;
                      add_product<Format, 1, kStride>(tile, from, rows, right.stride, depth);
                    });
  }

  // Gradients of the queries of panels first .. last - 1: rows of dS times rows of keys.
  void by_rows(int64_t first, int64_t last, Real factor, const MutableRows& to) {
    const attention::Operand& right = head.key_rows;
    multiply_panels(first, last, head.length, kKeys, factor, right, to,
                    [&](auto& tile, int64_t panel, int64_t k0, const Real* rows, int64_t depth) {
                      const Real* from = static_cast<const Real*>(head.slopes) +
                                         k0 / kKeys * block_elements(head.length) +
                                         panel * kRows * kStride;
                      add_product<Format, kStride, 1>(tile, from, rows, right.stride, depth);
                    });
  }

  // Products in blocks of the depth, each of them from zero.
  template <class Product>
  void multiply_panels(int64_t first, int64_t last, int64_t depth, int64_t block, Real factor,
                       const attention::Operand& right, const MutableRows& to,
                       const Product& product) {
    for_columns<Real>(padded, [&](auto width, int64_t column) {
      constexpr int kVectors = decltype(width)::value;
      for (int64_t at = 0; at < depth; at += block) {
        const Real* rows = static_cast<const Real*>(right.data) + at * right.stride + column;
        for (int64_t panel = first; panel < last; ++panel) {
          Accumulators<Real, kVectors> tile;
          set_zero<Real, kVectors>(tile);
          product(tile, panel, at, rows, lesser(block, depth - at));
          Real* out = scratch.grad_keys + (panel - first) * kRows * padded + kRows * column;
          if (at == 0) {
            store_tile<Real, kVectors>(tile, out, kVectors * kLanes<Real>);
          } else {
            add_tile<Real, kVectors>(tile, out, kVectors * kLanes<Real>);
          }
        }
      }
    });
    Real factors[kRows];
    for (Real& each : factors) each = factor;
    for (int64_t panel = first; panel < last; ++panel) {
      ::ladnet::LADNET_ISA::write_tiles(
          scratch.grad_keys + (panel - first) * kRows * padded, padded, factors, panel * kRows,
          lesser(kRows, depth - panel * kRows), head.d, scratch.stage, to);
    }
  }
};

}  // namespace
}  // namespace ladnet::LADNET_ISA
