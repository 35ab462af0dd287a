// The tile registers of AMX and their one product, TDPBF16PS.
//
// Which registers serve for what: 0 and 1 are sums, 2 is a left operand, 3 and 4 are right ones. A
// thread configures them before it uses them, which sets them to 0, and releases them afterwards,
// or every change of threads would save and restore 8 KB.
//
// Assembler and not the compilers' intrinsics: GCC's have the number of a register as text, so that
// it cannot be a template argument, and do not tell the compiler that a load reads memory (seen in
// GCC 12), which lets it drop what was stored for that alone.
//
// For tests, LADNET_EMULATE_TILES puts functions in the instructions' place, which
// AddressSanitizer can follow. (tiles_trapped.cpp has another way, with the instructions in place.)
#pragma once

#include "cpu/tile_shapes.h"

#ifdef LADNET_EMULATE_TILES
#include "cpu/tiles_emulated.h"
#define LADNET_TILES(function, instruction) emulated_tiles::function
#else
#define LADNET_TILES(function, instruction) asm volatile instruction
#endif

namespace ladnet::LADNET_ISA {
namespace {
namespace tiles {

inline void configure(const Shapes& shapes) {
  LADNET_TILES(configure(shapes), ("ldtilecfg %0" : : "m"(shapes)));
}

inline void release() {
  LADNET_TILES(release(), ("tilerelease"));
}

template <int kTile>
inline void set_zero() {
  LADNET_TILES(set_zero(kTile), ("tilezero %%tmm%c0" : : "i"(kTile)));
}

// Rows lie `stride` bytes apart.
template <int kTile>
inline void load(const void* from, int64_t stride) {
  LADNET_TILES(load(kTile, from, stride),
               ("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory"));
}

template <int kTile>
inline void store(void* to, int64_t stride) {
  LADNET_TILES(store(kTile, to, stride),
               ("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory"));
}

// Adds the product of two tiles: rows of pairs of bf16 times pairs of rows.
template <int kSum, int kLeft, int kRight>
inline void multiply() {
  LADNET_TILES(multiply(kSum, kLeft, kRight),
               ("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kLeft), "i"(kRight)));
}

}  // namespace tiles
}  // namespace
}  // namespace ladnet::LADNET_ISA

#undef LADNET_TILES
