// Arithmetic on sizes that throws where it would overflow.
#pragma once

#include <stdint.h>

#include <stdexcept>

namespace ladnet {

// a * b for sizes, or std::overflow_error: a wrapped size would make a buffer too small.
inline int64_t checked_product(int64_t a, int64_t b) {
  if (a < 0 || b < 0 || (b != 0 && a > INT64_MAX / b)) {
    throw std::overflow_error("a buffer of the kernel would have more than 2^63 bytes");
  }
  return a * b;
}

template <class... Rest>
int64_t checked_product(int64_t a, int64_t b, Rest... rest) {
  return checked_product(checked_product(a, b), rest...);
}

inline int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

inline int64_t round_up(int64_t a, int64_t b) {
  return divide_up(a, b) * b;
}

}  // namespace ladnet
