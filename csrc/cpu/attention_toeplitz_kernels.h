// The wide prior's product in blocks: moments of rows, sums over blocks, and the way back to rows.
// See attention_toeplitz.h.
#pragma once

#include "cpu/attention_pack.h"

namespace ladnet::LADNET_ISA {
namespace {

using attention::FarPrior;
using attention::kRank;
using attention::ToeplitzTask;

template <class Real>
class ToeplitzBlock {
  using Format = Plain<Real>;
  static constexpr int kRunRows = 64;  // that are summed before they are added to the others
  static_assert(kRank % kRows == 0);

 public:
  // Of one block of V, and of dO.
  static void gather_moments(const ToeplitzTask& task, int64_t block) {
    gather(task, task.rows, static_cast<Real*>(task.moments), block);
    if (task.other_moments != nullptr) {
      gather(task, task.others, static_cast<Real*>(task.other_moments), block);
    }
  }

  // One block of the results. With dO, results are those of G dO, and `sums` receives this block's
  // share of <dO, dG/dw V> and <dO, dG/db V>.
  static void combine(const ToeplitzTask& task, int64_t block, double sums[2]) {
    const int64_t padded = round_to(task.d, kLanes<Real>);
    const int64_t size = kRank * padded;
    const bool backward = task.other_moments != nullptr;
    Real* results = static_cast<Real*>(task.results) + block * size;
    sums[0] = sums[1] = 0.0;
    if (!backward) return add_up(task, block, task.moments, task.gain, results, padded);
    add_up(task, block, task.other_moments, task.gain, results, padded);
    const Real* other = static_cast<const Real*>(task.other_moments) + block * size;
    Real values[kRank * kMaxHead];
    const void* const slopes[2] = {task.slope_w, task.slope_b};
    for (int n = 0; n < 2; ++n) {
      add_up(task, block, task.moments, slopes[n], values, padded);
      for (int64_t i = 0; i < size; ++i) sums[n] += double(values[i]) * double(other[i]);
    }
    if (task.diagonal_b != 0.0) sums[1] -= task.diagonal_b * diagonal(task, block);
  }

  static constexpr attention::ToeplitzKernels table() {
    return {kLanes<Real>, &gather_moments, &combine};
  }

 private:
  static void gather(const ToeplitzTask& task, const ConstRows& rows, Real* moments,
                     int64_t block) {
    const int64_t padded = round_to(task.d, kLanes<Real>);
    const int64_t first = block * task.block, last = lesser(task.length, first + task.block);
    Real* to = moments + block * kRank * padded;
    Real spare[kMaxHead], run[kRank * kMaxHead];
    const size_t bytes = static_cast<size_t>(kRank * padded) * sizeof(Real);
    memset(to, 0, bytes);
    for (int64_t begin = first; begin < last; begin += kRunRows) {
      memset(run, 0, bytes);
      for (int64_t t = begin; t < lesser(last, begin + kRunRows); ++t) {
        const Real* row = read_row(rows, t, task.d, spare);
        const Real* basis = static_cast<const Real*>(task.basis) + (t - first) * kRank;
        for (int p = 0; p < kRank; ++p) {
          Real* sum = run + p * padded;
          for (int64_t c = 0; c < task.d; ++c) sum[c] += basis[p] * row[c];
        }
      }
      for (int64_t i = 0; i < kRank * padded; ++i) to[i] += run[i];
    }
  }

  // results = sum over the blocks in reach of a table's matrix times the moments of the block.
  static void add_up(const ToeplitzTask& task, int64_t block, const void* moments,
                     const void* table, Real* results, int64_t padded) {
    const int64_t first = greater_of(0, block - task.reach);
    const int64_t last = lesser(task.blocks, block + task.reach + 1);
    for_columns<Real>(padded, [&](auto width, int64_t column) {
      constexpr int kVectors = decltype(width)::value;
      for (int half = 0; half < kRank; half += kRows) {
        Accumulators<Real, kVectors> tile;
        set_zero<Real, kVectors>(tile);
        for (int64_t other = first; other < last; ++other) {
          const Real* matrix =
              static_cast<const Real*>(table) + (other - block + task.reach) * kRank * kRank;
          add_product<Format, 1, kRank>(
              tile, matrix + half,
              static_cast<const Real*>(moments) + other * kRank * padded + column, padded, kRank);
        }
        store_tile<Real, kVectors>(tile, results + half * padded + column, padded);
      }
    });
  }

  static double diagonal(const ToeplitzTask& task, int64_t block) {
    Real spare[kMaxHead], other[kMaxHead];
    const int64_t first = block * task.block, last = lesser(task.length, first + task.block);
    double total = 0.0;
    for (int64_t t = first; t < last; ++t) {
      const Real* a = read_row(task.rows, t, task.d, spare);
      const Real* b = read_row(task.others, t, task.d, other);
      for (int64_t c = 0; c < task.d; ++c) total += double(a[c]) * double(b[c]);
    }
    return total;
  }
};

// Adds the prior's product to the tile of rows i0 .. i0 + kRows - 1 at `column`.
template <class Real, int kVectors>
LADNET_INLINE void add_far(Real* out, const FarPrior& far, int64_t i0, int64_t column,
                           int64_t length, int64_t padded) {
  const int64_t last = lesser(kRows, length - i0);
  for (int64_t i = 0; i < last; ++i) {
    const int64_t block = (i0 + i) / far.block, x = (i0 + i) % far.block;
    const Real* basis = static_cast<const Real*>(far.basis) + x * kRank;
    const Real* from = static_cast<const Real*>(far.results) + block * kRank * padded + column;
    Vec<Real> sum[kVectors];
    for (int h = 0; h < kVectors; ++h) sum[h] = broadcast(Real(0));
    for (int p = 0; p < kRank; ++p, from += padded) {
      for (int h = 0; h < kVectors; ++h) {
        sum[h] = multiply_add(broadcast(basis[p]), load(from + h * kLanes<Real>), sum[h]);
      }
    }
    for (int h = 0; h < kVectors; ++h, out += kLanes<Real>) store(out, load(out) + sum[h]);
  }
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
