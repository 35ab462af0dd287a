// A number of the oracles: its value in double, and how far arithmetic of the tested type may be
// off. Written with it, a naive loop says what a result is and how exactly it can be known.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "check.h"

// `variance` is that of the error, in units of the tested type's epsilon: every operation adds the
// square of its result. Roundings count as independent of each other, so their squares add; what
// they have in common, and other orders of summation, are left to the factor of check_rounded.
struct Rounded {
  double value = 0;
  double variance = 0;

  Rounded() = default;
  Rounded(double exact) : value(exact) {}  // NOLINT: numbers mix with constants
  Rounded(double rounded, double carried) : value(rounded), variance(carried + rounded * rounded) {}
};

inline double square(double x) {
  return x * x;
}

inline Rounded operator+(const Rounded& a, const Rounded& b) {
  return {a.value + b.value, a.variance + b.variance};
}
inline Rounded operator-(const Rounded& a, const Rounded& b) {
  return {a.value - b.value, a.variance + b.variance};
}
inline Rounded operator*(const Rounded& a, const Rounded& b) {
  return {a.value * b.value, a.variance * square(b.value) + b.variance * square(a.value)};
}
inline Rounded operator/(const Rounded& a, const Rounded& b) {
  const double ratio = a.value / b.value;
  return {ratio, (a.variance + b.variance * square(ratio)) / square(b.value)};
}
inline Rounded& operator+=(Rounded& a, const Rounded& b) {
  return a = a + b;
}

// f(x), given f and its derivative at x.
inline Rounded function_of(const Rounded& x, double f, double slope) {
  return {f, x.variance * square(slope)};
}
inline Rounded sqrt(const Rounded& x) {
  const double root = std::sqrt(x.value);
  return function_of(x, root, 0.5 / root);
}
inline Rounded log(const Rounded& x) {
  return function_of(x, std::log(x.value), 1.0 / x.value);
}

// `allowed` standard deviations of the error; `stored`: the epsilon and the smallest step of the
// type that the result was rounded to at last, where that is coarser.
struct Storage {
  double epsilon = 0;
  double step = 0;
};
inline void check_rounded(const char* name, int64_t at, double actual, const Rounded& exact,
                          double epsilon, double allowed, const Storage& stored = {}) {
  const double error = std::fabs(actual - exact.value);
  const double band = allowed * epsilon * std::sqrt(exact.variance) +
                      stored.epsilon * std::fabs(exact.value) + stored.step;
  CHECK(error <= band, "%s[%lld] is %.9g, not %.9g: off by %g, allowed %g", name,
        static_cast<long long>(at), actual, exact.value, error, band);
}
