// Conversions of bf16 and fp16, sizes that overflow, the reach of the prior, the list of bags, and
// memory that is kept for the next call.
#include <cstdint>
#include <limits>

#include "check.h"
#include "core/bags.h"
#include "core/dtype.h"
#include "core/size.h"
#include "cpu/attention_band.h"
#include "cpu/buffer.h"

namespace {

using namespace ladnet;

// The value of a small float format, spelled out.
double decode(uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = bits >> 15 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias)
                       : sign * std::ldexp(1.0 + fraction, exponent - bias);
}

// Every value survives a round trip, and every number between two goes to the nearer, ties to even.
template <class Widen, class Round>
void check_format(int exponent_bits, int mantissa_bits, Widen widen, Round round) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    const uint16_t bits = static_cast<uint16_t>(code);
    const double value = decode(bits, exponent_bits, mantissa_bits);
    const float wide = widen(bits);
    if (std::isnan(value)) {
      CHECK(std::isnan(wide) && std::isnan(widen(round(wide))), "bits %04x", code);
      continue;
    }
    CHECK(static_cast<double>(wide) == value && std::signbit(wide) == std::signbit(value),
          "bits %04x: %g for %g", code, double(wide), value);
    CHECK(round(wide) == bits, "bits %04x", code);
    const double next = decode(static_cast<uint16_t>(code + 1), exponent_bits, mantissa_bits);
    if (code >= 0x7fff || std::isinf(value) || std::isinf(next)) continue;
    const float middle = static_cast<float>((value + next) / 2);
    if (static_cast<double>(middle) != (value + next) / 2) continue;  // below fp32's subnormals
    const uint16_t even = static_cast<uint16_t>(code + (code & 1));
    CHECK(round(middle) == even, "tie above %04x", code);
    CHECK(round(std::nextafter(middle, 0.0f)) == bits, "below the tie above %04x", code);
    CHECK(round(std::nextafter(middle, INFINITY)) == code + 1, "above the tie above %04x", code);
  }
  CHECK(std::isinf(widen(round(3.4e38f))), "overflow");
}

void check_sizes() {
  CHECK(checked_product(int64_t{1} << 40, int64_t{1} << 22) == int64_t{1} << 62, "fits");
  for (int64_t other : {int64_t{1} << 23, int64_t{-1}}) {
    bool refused = false;
    try {
      checked_product(int64_t{1} << 40, other);
    } catch (const std::overflow_error&) {
      refused = true;
    }
    CHECK(refused, "product with %lld", static_cast<long long>(other));
  }
  CHECK(divide_up(7, 3) == 3 && round_up(7, 3) == 9 && round_up(9, 3) == 9, "rounding");
}

void check_band() {
  const double inf = std::numeric_limits<double>::infinity();
  const double cut = 24.0;
  for (double w : {0.5, -0.5, 1e-3, -1e-3, 1e-12, 0.0, 1e30, -0.00728, 0.1}) {
    for (double b : {0.0, 1.3, -1.3, 30.0, -30.0, -0.0237}) {
      int64_t farthest = -1;
      for (int64_t d = 0; d < 500; ++d) {
        if (std::fabs(w * double(d) * double(d) + b) <= cut) farthest = d;
      }
      const int64_t radius = attention::band_radius(w, b, 500, cut);
      // Where the prior would only come to life beyond the bag, the whole bag counts as band.
      const bool tight = radius <= farthest + 1 || radius == 499;
      CHECK(radius >= farthest && tight, "w %g b %g: %lld for %lld", w, b,
            static_cast<long long>(radius), static_cast<long long>(farthest));
    }
  }
  CHECK(attention::band_radius(1e-300, 0.0, 1 << 30, cut) == (1 << 30) - 1, "tiny w");
  CHECK(attention::band_radius(std::nan(""), 0.0, 9, cut) == 8, "NaN reaches everywhere");
  CHECK(attention::band_radius(1.0, inf, 9, cut) == 8, "infinity reaches everywhere");
  CHECK(attention::band_radius(-1e-12, 1.0, 1 << 20, cut) == (1 << 20) - 1, "long and flat");
}

void check_bags() {
  const int64_t lengths[] = {3, 0};
  CHECK(list_bags(2, 5, nullptr, nullptr, 0)[1].length == 5, "no lengths");
  CHECK(list_bags(2, 5, lengths, nullptr, 0)[1].length == 0, "lengths");
  const int64_t offsets[] = {0, 0, 5};
  const auto bags = list_bags(1, 5, nullptr, offsets, 3);
  CHECK(bags.size() == 2 && bags[1].first == 0 && bags[1].length == 5, "packed");
}

void check_spare_memory() {
  Spare spare;
  const auto taken = [&](int64_t bytes) {
    const int64_t wanted = bytes;
    std::byte* const memory = spare.take(&bytes);
    CHECK(memory == nullptr || bytes >= wanted, "too small");
    if (memory == nullptr) return int64_t{0};
    spare.keep(memory, bytes);
    return bytes;
  };
  CHECK(taken(1) == 0, "nothing is kept yet");
  for (int i = 0; i < Spare::kBlocks; ++i) spare.keep(Spare::allocate(64), 64);
  // A long bag behind short ones finds a place, and the short ones theirs.
  for (int64_t bytes : {4096, 1024}) spare.keep(Spare::allocate(bytes), bytes);
  CHECK(taken(2000) == 4096 && taken(1000) == 1024 && taken(64) == 64, "the smallest that fits");
  CHECK(taken(5000) == 0, "none is large enough");
  for (int i = 0; i < Spare::kBlocks; ++i) spare.keep(Spare::allocate(2048), 2048);
  spare.keep(Spare::allocate(512), 512);
  CHECK(taken(1) == 2048 && taken(4000) == 4096, "the largest stay");
  CHECK(!Spare::keeps(0) && !Spare::keeps(Spare::kMost + 1), "what is not kept");
}

}  // namespace

int main() {
  require_instruction_set();
  check_format(8, 7, ladnet::bf16_to_float, ladnet::float_to_bf16);
  check_format(5, 10, ladnet::half_to_float, ladnet::float_to_half);
  check_sizes();
  check_band();
  check_bags();
  check_spare_memory();
}
