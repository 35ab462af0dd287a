// Backward pass of a short bag: P and dS of all pairs are stored, and then each gradient is a
// product of its own.
//
// Where whole rows of logits are at hand, so are their maximum, their sum and delta, which is
// sum_j P_ij dP_ij: nothing is read that the forward pass has left, and it need not leave anything.
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
  // Rows that become slopes together: what waits for the sum of one is worth several.
  static constexpr int kGroup = kRows / 3;

 public:
  static int64_t matrix_bytes(int64_t length) {
    const int64_t blocks = (length + kKeys - 1) / kKeys;
    // Products by columns read up to a tile beyond the last key.
    return (blocks * block_elements(length) + kRows) * static_cast<int64_t>(sizeof(Real));
  }

  static void fill_matrices(const BackwardHead& head, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) Base::pack_query_panel(head, p);
    const BackwardShort work(head, nullptr);
    double (*const sums)[2] = head.panel_gradients;
    for (int64_t p = first; p < last; ++p) sums[p][0] = sums[p][1] = 0;
    for (int64_t c = 0; c * kWide < head.length; ++c) {
      for (int64_t p = first; p < last; ++p) {
        if (head.length - c * kWide > kLanes<Real>) {
          work.template logits_tile<2>(p, c, sums[p]);
        } else {
          work.template logits_tile<1>(p, c, sums[p]);
        }
      }
    }
    for (int64_t p = first; p < last; ++p) {
      const int64_t rows = lesser(kRows, head.length - p * kRows);
      for (int64_t i = 0; i < rows; i += kGroup) work.slopes_rows(p, i);
      if (head.prior_gradient && head.prior == Prior::kLogit)
        work.sum_logit_prior(p, rows, sums[p]);
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
    kernels.recomputes_sums = true;
    return kernels;
  }

 private:
  BackwardShort(const BackwardHead& h, void* memory) : Base(h, nullptr, memory) {}

  static int64_t block_elements(int64_t length) {
    return (length + kRows - 1) / kRows * kRows * kStride;
  }

  Real* probabilities_at(int64_t panel, int64_t key) const {
    return static_cast<Real*>(head.probabilities) + place(panel, key);
  }
  Real* slopes_at(int64_t panel, int64_t key) const {
    return static_cast<Real*>(head.slopes) + place(panel, key);
  }
  int64_t place(int64_t panel, int64_t key) const {
    return key / kKeys * block_elements(head.length) + panel * kRows * kStride + key % kKeys;
  }

  // Logits in base 2 and dP between the queries of `panel` and the keys of `key_tile`, or the first
  // half of them; the additive prior's part of the gradients of w and b, whose dG is dP.
  template <int kVectors>
  void logits_tile(int64_t panel, int64_t key_tile, double sums[2]) const {
    const int64_t at = panel * kRows * head.d, key_at = key_tile * head.d * kWide;
    const int64_t i0 = panel * kRows, j0 = key_tile * kWide, rows = head.length - i0;
    const bool near = Base::is_near(i0, j0);
    Accumulators<Real, kVectors> tile;
    set_zero<Real, kVectors>(tile);
    add_product_of<Format, 1, kRows>(rows, tile, static_cast<const Real*>(head.queries) + at,
                                     static_cast<const Real*>(head.keys) + key_at, kWide, head.d);
    if (near && head.prior == Prior::kLogit) {
      add_gain<Real, kVectors>(tile, static_cast<const Real*>(head.band.gain_log2) + (j0 - i0));
    }
    if (__builtin_expect(j0 + kVectors * kLanes<Real> > head.length, 0)) {
      hide_padding<Real, kVectors>(tile, head.length - j0);
    }
    store_tile<Real, kVectors>(tile, probabilities_at(panel, j0), kStride);

    set_zero<Real, kVectors>(tile);
    add_product_of<Format, 1, kRows>(rows, tile, static_cast<const Real*>(head.grads) + at,
                                     static_cast<const Real*>(head.values) + key_at, kWide, head.d);
    Real* slopes = slopes_at(panel, j0);
    store_tile<Real, kVectors>(tile, slopes, kStride);
    if (near && head.prior_gradient && head.prior == Prior::kAdditive) {
      Base::template add_prior_gradient<kVectors>(slopes, j0 - i0, sums);
    }
  }

  // Rows i .. i + kGroup - 1 of `panel`: logits become P, dP becomes dS / scale. To P the additive
  // prior is added, since the product of P + G with dO is all of dV.
  void slopes_rows(int64_t panel, int64_t i) const {
    const int64_t i0 = panel * kRows;
    Vec<Real> most[kGroup], sums[kGroup], products[kGroup];
    for (Vec<Real>& each : most) each = broadcast(-Real(INFINITY));
    for_rows(panel, i, [&](int row, int64_t, Real* logits, Real*) {
      most[row] = maximum(load(logits), most[row]);
    });
    for (int row = 0; row < kGroup; ++row) {
      most[row] = broadcast(largest<Real>(most[row]));
      sums[row] = products[row] = broadcast(Real(0));
    }
    for_rows(panel, i, [&](int row, int64_t, Real* probabilities, Real* slopes) {
      const Vec<Real> share = exp2(load(probabilities) - most[row]);
      store(probabilities, share);
      sums[row] += share;
      products[row] = multiply_add(share, load(slopes), products[row]);
    });
    Vec<Real> factor[kGroup], delta[kGroup];
    for (int row = 0; row < kGroup; ++row) {
      const Real inverse = 1 / sum<Real>(sums[row]);
      factor[row] = broadcast(inverse);
      delta[row] = broadcast(sum<Real>(products[row]) * inverse);
    }
    for_rows(panel, i, [&](int row, int64_t j, Real* probabilities, Real* slopes) {
      const Vec<Real> share = load(probabilities) * factor[row];
      store(slopes, share * (load(slopes) - delta[row]));
      const bool added = head.prior == Prior::kAdditive && Base::is_near(i0, j);
      const Real* gain = static_cast<const Real*>(head.band.gain);
      store(probabilities, added ? share + load(gain + (j - i0 - i - row)) : share);
    });
  }

  // Calls work(row, j, probabilities, slopes) for each vector of kGroup rows of `panel` from i on.
  template <class Work>
  void for_rows(int64_t panel, int64_t i, const Work& work) const {
    for (int64_t block = 0; block < head.length; block += kKeys) {
      const int64_t at = place(panel, block) + i * kStride;
      Real* probabilities = static_cast<Real*>(head.probabilities) + at;
      Real* slopes = static_cast<Real*>(head.slopes) + at;
      const int64_t keys = lesser(kKeys, head.length - block);
      for (int64_t j = 0; j < keys; j += kLanes<Real>) {
        LADNET_UNROLL
        for (int row = 0; row < kGroup; ++row) {
          work(row, block + j, probabilities + row * kStride + j, slopes + row * kStride + j);
        }
      }
    }
  }

  // The logit prior's part of the gradients of w and b, whose dG is dS. Rows beyond the end hold
  // what the products have left, and keys beyond it 0 times what may be infinite.
  void sum_logit_prior(int64_t panel, int64_t rows, double sums[2]) const {
    const int64_t end = round_to(head.length, kLanes<Real>);
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = i < rows ? head.length : 0; j < end; ++j) {
        slopes_at(panel, j)[i * kStride] = 0;
      }
    }
    for (int64_t j0 = 0; j0 < head.length; j0 += kLanes<Real>) {
      if (!Base::is_near(panel * kRows, j0)) continue;
      Base::template add_prior_gradient<1>(slopes_at(panel, j0), j0 - panel * kRows, sums);
    }
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
                      add_product_of<Format, 1, kStride>(head.length - panel * kRows, tile, from,
                                                         rows, right.stride, depth);
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
                      add_product_of<Format, kStride, 1>(head.length - panel * kRows, tile, from,
                                                         rows, right.stride, depth);
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
