// A test is a main() that calls CHECK; the first failure ends it with the place and the reason.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <vector>

#include "cpu/dispatch.h"

#define CHECK(condition, ...)                                              \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::fprintf(stderr, __VA_ARGS__);                                   \
      std::fprintf(stderr, "\n");                                          \
      std::exit(1);                                                        \
    }                                                                      \
  } while (0)

// The loops of an oracle, which are not what the sanitizers are for and would take most of the
// time.
#if defined(__GNUC__)
#define ORACLE __attribute__((no_sanitize("address"), no_sanitize("undefined")))
#else
#define ORACLE
#endif

// Ends the test as skipped where LADNET_CPU asks for what this processor or build lacks.
inline void require_instruction_set() {
  try {
    std::printf("instruction set: %s\n", ladnet::name_of(ladnet::instruction_set()).c_str());
  } catch (const std::runtime_error& error) {
    std::printf("skipped: %s\n", error.what());
    std::exit(77);
  }
}

inline std::vector<double> random_normal(int64_t count, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) value = normal(engine);
  return values;
}
