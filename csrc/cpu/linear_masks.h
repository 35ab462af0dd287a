// What dropout keeps, drawn from the Mersenne Twister as PyTorch draws it, many words at a time.
#pragma once

#include "cpu/linear_types.h"
#include "cpu/simd.h"

namespace ladnet::LADNET_ISA {
namespace {

using linear::kTwisterWords;
using linear::Twister;

// A turn of MT19937: all words anew (Matsumoto and Nishimura, 1998).
void turn(uint32_t* words) {
  constexpr int kMiddle = 397;
  const auto next = [](uint32_t high, uint32_t low, uint32_t far) {
    const uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ (y >> 1) ^ ((0u - (y & 1u)) & 0x9908b0dfu);
  };
  int i = 0;
  for (; i < kTwisterWords - kMiddle; ++i) {
    words[i] = next(words[i], words[i + 1], words[i + kMiddle]);
  }
  for (; i < kTwisterWords - 1; ++i) {
    words[i] = next(words[i], words[i + 1], words[i + kMiddle - kTwisterWords]);
  }
  words[i] = next(words[i], words[0], words[kMiddle - 1]);
}

LADNET_INLINE uint32_t tempered(uint32_t y) {
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

// keeps[i] = 1 where the i-th number of [0, 1) is below a threshold, given in units of 2^-53. A
// number takes two words, the high one first, and has their low 53 bits.
void draw_keeps(Twister& twister, uint64_t threshold, int64_t count, uint8_t* keeps) {
  constexpr uint64_t kMask = (uint64_t{1} << 53) - 1;
  uint32_t words[1 + kTwisterWords];
  int held = 0;  // 1: words[0] is the high half of a number whose low half is not drawn yet
  while (count > 0) {
    if (twister.used == kTwisterWords) {
      turn(twister.words);
      twister.used = 0;
    }
    const int64_t wanted = 2 * count - held;
    const int fresh = int(lesser(wanted, int64_t(kTwisterWords - twister.used)));
    const uint32_t* const from = twister.words + twister.used;
    for (int i = 0; i < fresh; ++i) words[held + i] = tempered(from[i]);
    twister.used += fresh;
    const int pairs = (held + fresh) / 2;
    for (int i = 0; i < pairs; ++i) {
      const uint64_t number = (uint64_t{words[2 * i]} << 32 | words[2 * i + 1]) & kMask;
      keeps[i] = number < threshold;
    }
    keeps += pairs;
    count -= pairs;
    held = (held + fresh) % 2;
    if (held == 1) words[0] = words[2 * pairs];
  }
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
