// Bits, order and logarithm of floats: what the element functions of the losses are made of.
//
// No standard library and no branch that a vectoriser could not turn into a blend. A translation
// unit that includes this file must be compiled without contraction of a * b + c into one rounding
// (-ffp-contract=off, --fmad=false): equal rows have df = 0 only if equal products round alike.
#pragma once

#include <math.h>
#include <stdint.h>

#include "core/dtype.h"

namespace ladnet::ddl {

// The integer that carries a float's bits, and where its fields lie.
template <class A>
struct FloatBits;

template <>
struct FloatBits<float> {
  using Int = int32_t;
  static constexpr int kMantissa = 23;
  static constexpr Int kBias = 127;
  static constexpr Int kMagnitude = 0x7fffffff;
  static constexpr Int kInfinity = 0x7f800000;
  static constexpr Int kSqrtHalf = 0x3f3504f3;
  // ln 2 = high + low; high has 12 trailing zeros, so that exponent * high is exact.
  static constexpr float kLn2High = 0x1.62ep-1f;
  static constexpr float kLn2Low = 0x1.0bfbe8p-15f;
  static constexpr int kLogTerms = 4;
  // A sum of squares in this range lost nothing to underflow and did not overflow.
  static constexpr float kSafeLow = 0x1p-80f;
  static constexpr float kSafeHigh = 0x1p100f;
  // 1 - cos of an angle of two units in the last place of 1.
  static constexpr float kParallel = 0x1p-45f;
};

template <>
struct FloatBits<double> {
  using Int = int64_t;
  static constexpr int kMantissa = 52;
  static constexpr Int kBias = 1023;
  static constexpr Int kMagnitude = 0x7fffffffffffffff;
  static constexpr Int kInfinity = 0x7ff0000000000000;
  static constexpr Int kSqrtHalf = 0x3fe6a09e667f3bcd;
  static constexpr double kLn2High = 0x1.62e42fefap-1;
  static constexpr double kLn2Low = 0x1.cf79abc9e3b3ap-40;
  static constexpr int kLogTerms = 11;
  static constexpr double kSafeLow = 0x1p-700;
  static constexpr double kSafeHigh = 0x1p900;
  static constexpr double kParallel = 0x1p-103;
};

template <class A>
using Key = typename FloatBits<A>::Int;

// A signed integer in the order of the floats. Both zeros share one key and every NaN has the
// largest, so that a NaN is always among the chosen and shows in the result.
template <class A>
LADNET_HOST_DEVICE Key<A> order_key(A x) {
  const Key<A> bits = bit_cast<Key<A>>(x == A(0) ? A(0) : x);
  const Key<A> key = bits < 0 ? bits ^ FloatBits<A>::kMagnitude : bits;
  return x == x ? key : FloatBits<A>::kMagnitude;
}

// The float that order_key was made from (for a NaN, some NaN).
template <class A>
LADNET_HOST_DEVICE A key_value(Key<A> key) {
  return bit_cast<A>(key < 0 ? key ^ FloatBits<A>::kMagnitude : key);
}

LADNET_HOST_DEVICE float inverse_root(float x) {
  return 1.0f / sqrtf(x);
}
LADNET_HOST_DEVICE double inverse_root(double x) {
  return 1.0 / sqrt(x);
}

// Natural logarithm to about two units in the last place; log(0) = -inf, NaN below zero.
//
// x = 2^e m with m in [sqrt(1/2), sqrt(2)); with s = (m - 1) / (m + 1),
// log m = 2 artanh s = 2 s (1 + s^2/3 + s^4/5 + ...), |s| < 0.172: a few terms of the series do.
template <class A>
LADNET_HOST_DEVICE A natural_log(A x) {
  using Bits = FloatBits<A>;
  const A smallest = bit_cast<A>(Key<A>(1) << Bits::kMantissa);
  const A lift = bit_cast<A>((Bits::kBias + Bits::kMantissa + 2) << Bits::kMantissa);
  const bool tiny = x < smallest;
  const Key<A> bits = bit_cast<Key<A>>(tiny ? x * lift : x) & Bits::kMagnitude;
  const Key<A> exponent = (bits - Bits::kSqrtHalf) >> Bits::kMantissa;
  const A m = bit_cast<A>(bits - exponent * (Key<A>(1) << Bits::kMantissa));
  const A e = A(exponent) - (tiny ? A(Bits::kMantissa + 2) : A(0));
  const A f = m - A(1);
  const A s = f / (A(2) + f);
  const A z = s * s;
  A series = A(0);
  for (int i = Bits::kLogTerms; i > 0; --i) {
    series = z * (series + A(1) / A(2 * i + 1));
  }
  const A two_s = s + s;
  const A value = e * Bits::kLn2High + (two_s + (two_s * series + e * Bits::kLn2Low));
  const A infinity = bit_cast<A>(Bits::kInfinity);
  const A at_zero = x == A(0) ? -infinity : key_value<A>(Bits::kMagnitude);
  const A positive = x < infinity ? value : infinity;
  return x > A(0) ? positive : at_zero;
}

}  // namespace ladnet::ddl
