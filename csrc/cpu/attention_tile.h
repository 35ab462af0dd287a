// The register tile: kRows x (vectors * lanes) accumulators, and the one product that everything in
// attention is made of.
//
// The shape fills the registers without spilling: 12 x 2 accumulators of 32 registers, 6 x 2 of 16.
#pragma once

#include "cpu/attention_types.h"
#include "cpu/simd.h"

namespace ladnet::LADNET_ISA {
namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif

// Columns of a full tile; the last tile of a row may be one vector wide.
template <class Real>
constexpr int kColumns = 2 * kLanes<Real>;

constexpr int64_t round_to(int64_t a, int64_t b) {
  return (a + b - 1) / b * b;
}
LADNET_INLINE int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}
LADNET_INLINE int64_t greater_of(int64_t a, int64_t b) {
  return a > b ? a : b;
}

template <class Real, int kVectors>
using Accumulators = Vec<Real>[kRows][kVectors];

// How the operands of a product are stored, and how two of them multiply.
template <class R>
struct Plain {
  using Real = R;
  using Element = R;
  using Register = Vec<R>;
  static constexpr int kPack = 1;
  // Whether products are made by tile registers, in their own way: Format::add_tile_product.
  static constexpr bool kTileRegisters = false;
  // So many elements lie between two rows of probabilities beside those of a block: were rows a
  // power of two apart, they would share cache sets.
  static constexpr int kGap = 16;
  LADNET_INLINE Register load_columns(const Element* from) { return load(from); }
  LADNET_INLINE Register load_row(const Element* from) { return broadcast(*from); }
  LADNET_INLINE Vec<R> multiply(Register a, Register b, Vec<R> c) { return multiply_add(a, b, c); }
};

template <class Real, int kVectors>
LADNET_INLINE void set_zero(Accumulators<Real, kVectors>& tile) {
  LADNET_UNROLL
  for (int i = 0; i < kRows; ++i) {
    LADNET_UNROLL
    for (int h = 0; h < kVectors; ++h) tile[i][h] = broadcast(Real(0));
  }
}

template <class Real, int kVectors>
LADNET_INLINE void load_tile(Accumulators<Real, kVectors>& tile, const Real* from, int64_t stride) {
  LADNET_UNROLL
  for (int i = 0; i < kRows; ++i) {
    LADNET_UNROLL
    for (int h = 0; h < kVectors; ++h) {
      tile[i][h] = load(from + i * stride + h * kLanes<Real>);
    }
  }
}

template <class Real, int kVectors>
LADNET_INLINE void store_tile(const Accumulators<Real, kVectors>& tile, Real* to, int64_t stride) {
  LADNET_UNROLL
  for (int i = 0; i < kRows; ++i) {
    LADNET_UNROLL
    for (int h = 0; h < kVectors; ++h) {
      store(to + i * stride + h * kLanes<Real>, tile[i][h]);
    }
  }
}

// tile[i][j] += gain[j - i], for a table over the distance.
template <class Real, int kVectors>
LADNET_INLINE void add_gain(Accumulators<Real, kVectors>& tile, const Real* gain) {
  LADNET_UNROLL
  for (int i = 0; i < kRows; ++i) {
    LADNET_UNROLL
    for (int h = 0; h < kVectors; ++h) tile[i][h] += load(gain - i + h * kLanes<Real>);
  }
}

// Columns from `valid` on do not exist: their logits become -infinity.
template <class Real, int kVectors>
LADNET_INLINE void hide_padding(Accumulators<Real, kVectors>& tile, int64_t valid) {
  Real mask[kVectors * kLanes<Real>];
  for (int j = 0; j < kVectors * kLanes<Real>; ++j) mask[j] = j < valid ? Real(0) : -Real(INFINITY);
  LADNET_UNROLL
  for (int i = 0; i < kRows; ++i) {
    LADNET_UNROLL
    for (int h = 0; h < kVectors; ++h) tile[i][h] += load(mask + h * kLanes<Real>);
  }
}

// to += tile. Products over a block start from zero and are added up afterwards: a sum in two
// levels rounds less than one long chain.
template <class Real, int kVectors>
LADNET_INLINE void add_tile(const Accumulators<Real, kVectors>& tile, Real* to, int64_t stride) {
  LADNET_UNROLL
  for (int i = 0; i < kRows; ++i) {
    LADNET_UNROLL
    for (int h = 0; h < kVectors; ++h) {
      Real* at = to + i * stride + h * kLanes<Real>;
      store(at, load(at) + tile[i][h]);
    }
  }
}

// tile[i][j] += sum_k a[i][k] b[k][j] for its first kCount rows, where a[i][k] lies at
// a + i * kRowStep + k * kDepthStep and row k of b at b + k * b_stride (in elements; with pairs, k
// counts pairs). The steps of a are constants, so that every broadcast is an addressing mode.
template <class Format, int kRowStep, int kDepthStep, int kVectors, int kCount = kRows>
LADNET_INLINE void add_product(Accumulators<typename Format::Real, kVectors>& tile,
                               const typename Format::Element* a, const typename Format::Element* b,
                               int64_t b_stride, int64_t depth) {
  if constexpr (Format::kTileRegisters) {
    static_assert(kDepthStep == Format::kPack, "a tile register's rows lie along the depth");
    Format::template add_tile_product<kVectors>(tile, a, kRowStep, b, b_stride, depth);
  } else {
    constexpr int kStep = kLanes<typename Format::Real> * Format::kPack;
    for (int64_t k = 0; k < depth; ++k) {
      typename Format::Register columns[kVectors];
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) columns[h] = Format::load_columns(b + h * kStep);
      LADNET_UNROLL
      for (int i = 0; i < kCount; ++i) {
        const typename Format::Register row = Format::load_row(a + i * kRowStep);
        LADNET_UNROLL
        for (int h = 0; h < kVectors; ++h) {
          tile[i][h] = Format::multiply(row, columns[h], tile[i][h]);
        }
      }
      a += kDepthStep;
      b += b_stride;
    }
  }
}

// The same where only the first `rows` rows are wanted, in thirds of a tile: the last panel of a
// short bag is a good part of its work. Not of pairs: in long bags their loops lose more by the
// choice; and tile registers have one size.
template <class Format, int kRowStep, int kDepthStep, int kVectors>
LADNET_INLINE void add_product_of(int64_t rows, Accumulators<typename Format::Real, kVectors>& tile,
                                  const typename Format::Element* a,
                                  const typename Format::Element* b, int64_t b_stride,
                                  int64_t depth) {
  constexpr int kThird = kRows / 3;
  if (Format::kPack > 1 || __builtin_expect(rows > 2 * kThird, 1)) {
    add_product<Format, kRowStep, kDepthStep>(tile, a, b, b_stride, depth);
  } else if (rows > kThird) {
    add_product<Format, kRowStep, kDepthStep, kVectors, 2 * kThird>(tile, a, b, b_stride, depth);
  } else {
    add_product<Format, kRowStep, kDepthStep, kVectors, kThird>(tile, a, b, b_stride, depth);
  }
}

// The same for a packed panel of kRows rows: depth-major, but for tile registers row after row.
template <class Format, int kVectors>
LADNET_INLINE void add_panel_product_of(int64_t rows,
                                        Accumulators<typename Format::Real, kVectors>& tile,
                                        const typename Format::Element* a,
                                        const typename Format::Element* b, int64_t b_stride,
                                        int64_t depth) {
  constexpr int kPack = Format::kPack;
  if constexpr (Format::kTileRegisters) {
    Format::template add_tile_product<kVectors>(tile, a, depth * kPack, b, b_stride, depth);
  } else {
    add_product_of<Format, kPack, kPack * kRows>(rows, tile, a, b, b_stride, depth);
  }
}

// out[i][.] += sum_j gain[j - (i0 + i)] x[j][.] over the band's rows, for every table: a table over
// the distance is a Toeplitz matrix whose rows are one step apart, so the product reads it in
// place. A wide band is summed in blocks, as everything else is.
template <class Format, int kVectors, class... Tables>
LADNET_INLINE void add_band(typename Format::Real* out, int64_t radius, int64_t i0,
                            const typename Format::Element* x, int64_t x_stride, int64_t length,
                            const Tables*... gains) {
  using Real = typename Format::Real;
  using Element = typename Format::Element;
  constexpr int kPack = Format::kPack;
  constexpr int64_t kBlock = 256;
  const int64_t end = lesser(length, i0 + kRows + radius);
  for (int64_t j = greater_of(0, i0 - radius) / kPack * kPack; j < end; j += kBlock) {
    const int64_t depth = (lesser(kBlock, end - j) + kPack - 1) / kPack;
    Accumulators<Real, kVectors> tile;
    set_zero<Real, kVectors>(tile);
    (add_product<Format, -1, kPack, kVectors>(tile, static_cast<const Element*>(gains) + (j - i0),
                                              x + j / kPack * x_stride, x_stride, depth),
     ...);
    add_tile<Real, kVectors>(tile, out, kVectors * kLanes<Real>);
  }
}

// ---- Loops over the columns of a row of tiles ---------------------------------------------------

template <int kVectors>
struct Width {
  static constexpr int value = kVectors;
};

// Calls work(Width<2>, column) for each full tile of `columns` (a multiple of the lanes) and
// work(Width<1>, column) for a last half one. Tiles of a row are stored one after the other, so the
// tile at `column` begins kRows * column elements into the row.
template <class Real, class Work>
LADNET_INLINE void for_columns(int64_t columns, const Work& work) {
  int64_t column = 0;
  for (; column + kColumns<Real> <= columns; column += kColumns<Real>) work(Width<2>{}, column);
  if (column < columns) work(Width<1>{}, column);
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
