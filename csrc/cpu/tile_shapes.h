// How the tile registers of AMX are configured.
#pragma once

#include <stdint.h>

namespace ladnet::LADNET_ISA {
namespace {
namespace tiles {

// The shape of every register, as the processor reads it; 0 for those that are not used.
struct alignas(64) Shapes {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(Shapes) == 64, "what LDTILECFG reads");

}  // namespace tiles
}  // namespace
}  // namespace ladnet::LADNET_ISA
