// Packed products C = L R of fp32 matrices, from the register tile that attention uses too.
//
// L lies in left panels of kRows rows and R in right panels of kWide columns, both depth-major:
// element (i, k) of a left panel at k * kRows + i, element (k, j) of a right one at k * kWide + j.
// Panels are filled up with zeros. Every sum over the depth is cut into runs of kDepth that start
// from zero, which keeps rounding errors small, and whose order depends on nothing but the depth.
#pragma once

#include "cpu/attention_tile.h"
#include "cpu/transpose.h"

namespace ladnet::LADNET_ISA {
namespace {

constexpr int64_t kWide = kColumns<float>;
constexpr int64_t kDepth = 256;  // a right panel of this depth stays in the first-level cache

LADNET_INLINE int64_t panels_of(int64_t size, int64_t width) {
  return (size + width - 1) / width;
}

// kRows x kWide elements of C: overwritten, or added to.
LADNET_INLINE void product_tile(const float* left, const float* right, int64_t depth, bool add,
                                float* to, int64_t stride) {
  Accumulators<float, 2> tile;
  set_zero<float, 2>(tile);
  add_product<Plain<float>, 1, kRows, 2>(tile, left, right, kWide, depth);
  if (add) {
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < 2; ++h) {
        float* at = to + i * stride + h * kLanes<float>;
        store(at, load(at) + tile[i][h]);
      }
    }
  } else {
    store_tile<float, 2>(tile, to, stride);
  }
}

// C (left_panels * kRows rows, right_panels * kWide columns) = L R.
void product(const float* left, int64_t left_panels, const float* right, int64_t right_panels,
             int64_t depth, float* to, int64_t stride) {
  for (int64_t k = 0; k < depth; k += kDepth) {
    const int64_t run = lesser(kDepth, depth - k);
    for (int64_t j = 0; j < right_panels; ++j) {
      for (int64_t i = 0; i < left_panels; ++i) {
        product_tile(left + (i * depth + k) * kRows, right + (j * depth + k) * kWide, run, k > 0,
                     to + i * kRows * stride + j * kWide, stride);
      }
    }
  }
}

// ---- Panels -------------------------------------------------------------------------------------

// One panel of the transpose of `count` rows: element (k, i) from rows[i][k].
template <int64_t kWidth>
LADNET_INLINE void pack_transposed(const float* const* rows, int64_t count, int64_t depth,
                                   float* to) {
  const float* row[kWidth];
  for (int64_t i = 0; i < kWidth; ++i) row[i] = rows[i < count ? i : 0];
  transpose<float, kWidth, false>(row, depth, 1.0f, to);
  if (count == kWidth) return;
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t i = count; i < kWidth; ++i) to[k * kWidth + i] = 0.0f;
  }
}

// One panel of columns `column` .. of `depth` rows that have `columns`: element (k, j) from
// rows[k][column + j].
template <int64_t kWidth>
LADNET_INLINE void pack_columns(const float* const* rows, int64_t depth, int64_t column,
                                int64_t columns, float* to) {
  const int64_t count = lesser(kWidth, columns - column);
  if (count == kWidth) {
    for (int64_t k = 0; k < depth; ++k) {
      memcpy(to + k * kWidth, rows[k] + column, kWidth * sizeof(float));
    }
    return;
  }
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t j = 0; j < kWidth; ++j) {
      to[k * kWidth + j] = j < count ? rows[k][column + j] : 0.0f;
    }
  }
}

void pack_weight(const float* const* rows, int64_t outputs, int64_t inputs, int64_t first,
                 int64_t last, float* to) {
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t row = panel * kWide;
    pack_transposed<kWide>(rows + row, lesser(kWide, outputs - row), inputs,
                           to + panel * inputs * kWide);
  }
}

void pack_weight_backward(const float* const* rows, int64_t outputs, int64_t inputs, int64_t first,
                          int64_t last, float* to) {
  for (int64_t panel = first; panel < last; ++panel) {
    pack_columns<kWide>(rows, outputs, panel * kWide, inputs, to + panel * outputs * kWide);
  }
}

void pack_left(const float* const* rows, int64_t count, int64_t depth, float* to) {
  for (int64_t row = 0; row < count; row += kRows) {
    pack_transposed<kRows>(rows + row, lesser(kRows, count - row), depth, to + row * depth);
  }
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
