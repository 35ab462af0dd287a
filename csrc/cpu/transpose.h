// Transposes of a few rows into panels, in squares of a vector's size.
#pragma once

#include "cpu/attention_tile.h"

namespace ladnet::LADNET_ISA {
namespace {

// A 16-byte square of 4 x 4 or 2 x 2 units.
template <class Unit>
struct Square;
template <>
struct Square<float> {
  typedef float Row __attribute__((vector_size(16)));
  static constexpr int kSize = 4;
};
template <>
struct Square<double> {
  typedef double Row __attribute__((vector_size(16)));
  static constexpr int kSize = 2;
};

// GCC has had this builtin since version 12; where it is missing units move one by one.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define LADNET_HAVE_SHUFFLE 1
#endif
#endif

#ifdef LADNET_HAVE_SHUFFLE
LADNET_INLINE void transpose_square(Square<float>::Row (&r)[4]) {
  const auto a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const auto b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const auto c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const auto d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}
LADNET_INLINE void transpose_square(Square<double>::Row (&r)[2]) {
  const auto a = __builtin_shufflevector(r[0], r[1], 0, 2);
  r[1] = __builtin_shufflevector(r[0], r[1], 1, 3);
  r[0] = a;
}

// Rows i .. i + kSize - 1 of `transpose`, units k .. k + kSize - 1 of each.
template <class Unit, int kWidth, bool kScaled>
LADNET_INLINE void move_square(const Unit* const* rows, int i, int64_t k, Unit factor, Unit* to) {
  constexpr int kSize = Square<Unit>::kSize;
  typename Square<Unit>::Row square[kSize];
  for (int j = 0; j < kSize; ++j) {
    memcpy(&square[j], rows[i + j] + k, sizeof(square[j]));
    if (kScaled) square[j] = square[j] * factor;
  }
  transpose_square(square);
  for (int j = 0; j < kSize; ++j) {
    memcpy(to + (k + j) * kWidth + i, &square[j], sizeof(square[j]));
  }
}
#endif

// to[k * kWidth + i] = rows[i][k] * factor for kWidth rows of `depth` units. Without kScaled units
// are moved as bits.
template <class Unit, int kWidth, bool kScaled>
void transpose(const Unit* const* rows, int64_t depth, Unit factor, Unit* to) {
  const auto move_one = [&](int i, int64_t k) {
    Unit unit;
    memcpy(&unit, rows[i] + k, sizeof(unit));
    to[k * kWidth + i] = kScaled ? unit * factor : unit;
  };
  int64_t k = 0;
#ifdef LADNET_HAVE_SHUFFLE
  constexpr int kSize = Square<Unit>::kSize;
  // A cache line of each row at a time: rows of matrices often lie a power of two apart, and then
  // more of them share a set of the cache than it has ways.
  constexpr int kLine = 64 / static_cast<int>(sizeof(Unit));
  const auto move_columns = [&](auto columns) {
    constexpr int kCount = decltype(columns)::value;
    for (; k + kCount <= depth; k += kCount) {
      int i = 0;
      for (; i + kSize <= kWidth; i += kSize) {
        for (int c = 0; c < kCount; c += kSize) {
          move_square<Unit, kWidth, kScaled>(rows, i, k + c, factor, to);
        }
      }
      for (; i < kWidth; ++i) {
        for (int c = 0; c < kCount; ++c) move_one(i, k + c);
      }
    }
  };
  move_columns(Width<kLine>{});
  move_columns(Width<kSize>{});
#endif
  for (; k < depth; ++k) {
    for (int i = 0; i < kWidth; ++i) move_one(i, k);
  }
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
