// Reading rows as torch stores them and writing them back: widening, panels, rounding.
#pragma once

#include "cpu/attention_tile.h"
#include "cpu/transpose.h"

namespace ladnet::LADNET_ISA {
namespace {

using attention::ConstRows;
using attention::MutableRows;

constexpr int kMaxHead = 256;

template <class Real>
struct DtypeOf;
template <>
struct DtypeOf<float> {
  static constexpr Dtype value = Dtype::kFloat32;
};
template <>
struct DtypeOf<double> {
  static constexpr Dtype value = Dtype::kFloat64;
};

template <class Real, class Stored>
void widen(const char* from, int64_t d, Real* to) {
  const Stored* row = reinterpret_cast<const Stored*>(from);
  for (int64_t c = 0; c < d; ++c) to[c] = load_as<Real>(row[c]);
}

template <class Real, class Stored>
void narrow(const Real* from, int64_t d, char* to) {
  Stored* row = reinterpret_cast<Stored*>(to);
  for (int64_t c = 0; c < d; ++c) store_to(row + c, from[c]);
}

// Row t in the type to compute in: in place where it is stored so, else widened to `spare`.
template <class Real>
const Real* read_row(const ConstRows& rows, int64_t t, int64_t d, Real* spare) {
  const char* from = rows.data + t * rows.stride;
  if (rows.dtype == DtypeOf<Real>::value) return reinterpret_cast<const Real*>(from);
  if (rows.dtype == Dtype::kBFloat16) {
    widen<Real, BFloat16>(from, d, spare);
  } else {
    widen<Real, Float16>(from, d, spare);
  }
  return spare;
}

template <class Real>
void write_row(const Real* from, int64_t t, int64_t d, const MutableRows& rows) {
  char* to = rows.data + t * rows.stride;
  if (rows.dtype == DtypeOf<Real>::value) {
    memcpy(to, from, static_cast<size_t>(d) * sizeof(Real));
  } else if (rows.dtype == Dtype::kBFloat16) {
    narrow<Real, BFloat16>(from, d, to);
  } else {
    narrow<Real, Float16>(from, d, to);
  }
}

// Rows of one panel of tiles, each times its factor, as rows first .. first + rows - 1 of `to`.
template <class Real>
void write_tiles(const Real* tiles, int64_t padded, const Real* factors, int64_t first,
                 int64_t rows, int64_t d, Real* stage, const MutableRows& to) {
  const bool direct = to.dtype == DtypeOf<Real>::value && d == padded;
  for (int64_t i = 0; i < rows; ++i) {
    Real* row = direct ? reinterpret_cast<Real*>(to.data + (first + i) * to.stride) : stage;
    const Vec<Real> factor = broadcast(factors[i]);
    for_columns<Real>(padded, [&](auto width, int64_t column) {
      constexpr int kWidth = decltype(width)::value * kLanes<Real>;
      const Real* from = tiles + kRows * column + i * kWidth;
      for (int h = 0; h < kWidth; h += kLanes<Real>) {
        store(row + column + h, load(from + h) * factor);
      }
    });
    if (!direct) write_row(stage, first + i, d, to);
  }
}

// The rows of panel `panel`, kWidth rows a panel, transposed and multiplied by `factor`; zeros
// beyond `length`.
template <int kWidth, class Real>
void pack_panel(const ConstRows& stored, int64_t length, int64_t d, int64_t panel, Real factor,
                Real* to) {
  Real spare[kWidth * kMaxHead];
  static constexpr Real kZeros[kMaxHead] = {};
  const Real* rows[kWidth];
  for (int i = 0; i < kWidth; ++i) {
    const int64_t t = panel * kWidth + i;
    rows[i] = t < length ? read_row(stored, t, d, spare + i * kMaxHead) : kZeros;
  }
  transpose<Real, kWidth, true>(rows, d, factor, to);
}

// Rows first .. last - 1 as the right operand of a product, padded with zeros to whole vectors.
template <class Real>
void widen_rows(ConstRows rows, int64_t d, int64_t first, int64_t last, void* to) {
  const int64_t padded = round_to(d, kLanes<Real>);
  for (int64_t t = first; t < last; ++t) {
    Real* row = static_cast<Real*>(to) + t * padded;
    const Real* from = read_row(rows, t, d, row);
    if (from != row) memcpy(row, from, static_cast<size_t>(d) * sizeof(Real));
    for (int64_t c = d; c < padded; ++c) row[c] = Real(0);
  }
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
