// The tile registers of AMX in software, for tests on processors without them; see tiles.h.
//
// What a processor answers with a fault ends the process with a message: registers that were not
// configured, shapes that do not fit each other. Likewise registers that are configured twice
// without a release in between, which a processor allows and the kernels never do.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/simd.h"
#include "cpu/tile_shapes.h"

namespace ladnet::LADNET_ISA {
namespace {
namespace emulated_tiles {

using tiles::Shapes;

constexpr int kRegisters = 8, kMostRows = 16, kMostBytes = 64;

struct Register {
  int rows, row_bytes;
  alignas(kMostBytes) char data[kMostRows][kMostBytes];
};

struct State {
  bool configured;
  Register registers[kRegisters];
};
thread_local State state;

inline void require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "emulated tiles: %s\n", what);
  abort();
}

inline Register& configured(int tile) {
  require(state.configured, "used without a configuration");
  require(tile >= 0 && tile < kRegisters, "there is no such register");
  Register& found = state.registers[tile];
  require(found.rows > 0, "used a register that the configuration leaves out");
  return found;
}

inline void configure(const Shapes& shapes) {
  require(!state.configured, "configured twice without a release");
  require(reinterpret_cast<uintptr_t>(&shapes) % alignof(Shapes) == 0, "misaligned shapes");
  require(shapes.palette == 1 && shapes.start_row == 0, "palette and first row must be 1 and 0");
  for (uint8_t byte : shapes.reserved) require(byte == 0, "reserved bytes must be 0");
  memset(&state, 0, sizeof(state));
  for (int i = 0; i < 16; ++i) {
    const int rows = shapes.rows[i], row_bytes = shapes.row_bytes[i];
    require(i < kRegisters || (rows == 0 && row_bytes == 0), "there are 8 registers");
    require(rows <= kMostRows && row_bytes <= kMostBytes, "16 rows of 64 bytes at most");
    require((rows == 0) == (row_bytes == 0), "rows without bytes, or bytes without rows");
    if (i < kRegisters) {
      state.registers[i].rows = rows;
      state.registers[i].row_bytes = row_bytes;
    }
  }
  state.configured = true;
}

inline void release() {
  memset(&state, 0, sizeof(state));
}

inline void set_zero(int number) {
  Register& tile = configured(number);
  memset(tile.data, 0, sizeof(tile.data));
}

inline void load(int number, const void* from, int64_t stride) {
  Register& tile = configured(number);
  memset(tile.data, 0, sizeof(tile.data));
  for (int i = 0; i < tile.rows; ++i) {
    memcpy(tile.data[i], static_cast<const char*>(from) + i * stride,
           static_cast<size_t>(tile.row_bytes));
  }
}

inline void store(int number, void* to, int64_t stride) {
  const Register& tile = configured(number);
  for (int i = 0; i < tile.rows; ++i) {
    memcpy(static_cast<char*>(to) + i * stride, tile.data[i], static_cast<size_t>(tile.row_bytes));
  }
}

// Denormal numbers are 0, as operands and as results; the sign stays.
LADNET_INLINE VecF flush(VecF x) {
  const VecI32 bits = (VecI32)x;
  const VecI32 is_normal = (bits & 0x7f800000) != 0;
  return (VecF)(bits & (is_normal | static_cast<int32_t>(0x80000000)));
}

// As Intel's manual defines TDPBF16PS: the first elements of all pairs are summed from 0 by fused
// multiply-adds, the second ones likewise; then both sums are added, and that to what was there.
// All rounds to the nearest, to even in doubt, which the process does as well.
inline void multiply(int sum_number, int left_number, int right_number) {
  require(sum_number != left_number && sum_number != right_number && left_number != right_number,
          "one register twice in a product");
  Register& sum = configured(sum_number);
  const Register &left = configured(left_number), &right = configured(right_number);
  require(left.row_bytes % 4 == 0 && right.row_bytes % 4 == 0, "tiles of incomplete pairs");
  require(sum.rows == left.rows, "sums and left tile differ in rows");
  require(sum.row_bytes == right.row_bytes, "sums and right tile differ in columns");
  require(left.row_bytes / 4 == right.rows, "left and right tile differ in depth");
  for (int i = 0; i < sum.rows; ++i) {
    VecF even = broadcast(0.0f), odd = broadcast(0.0f);
    for (int k = 0; k < right.rows; ++k) {
      uint32_t pair;
      memcpy(&pair, left.data[i] + 4 * k, sizeof(pair));
      const uint32_t halves[2] = {pair << 16, pair & 0xffff0000};
      float a[2];
      memcpy(a, halves, sizeof(a));
      VecI32 pairs;
      memcpy(&pairs, right.data[k], sizeof(pairs));
      const VecI32 high = static_cast<int32_t>(0xffff0000) - (VecI32){};
      even = flush(multiply_add(flush(broadcast(a[0])), flush((VecF)(pairs << 16)), even));
      odd = flush(multiply_add(flush(broadcast(a[1])), flush((VecF)(pairs & high)), odd));
    }
    VecF before;
    memcpy(&before, sum.data[i], sizeof(before));
    const VecF after = flush(flush(before) + flush(even + odd));
    memcpy(sum.data[i], &after, static_cast<size_t>(sum.row_bytes));
  }
}

}  // namespace emulated_tiles
}  // namespace
}  // namespace ladnet::LADNET_ISA
