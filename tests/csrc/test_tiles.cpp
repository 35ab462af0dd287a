// The emulated tile registers, by functions or by traps: their arithmetic against numbers worked
// out by hand, the faults that they stand for, and the one product that the kernels make of them,
// each operand in memory of exactly its size.
#include <cpuid.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "check.h"
#include "core/dtype.h"
#include "cpu/attention_amx.h"

namespace ladnet::LADNET_ISA {
void trap_tiles();
}

namespace {

using namespace ladnet;
using namespace ladnet::LADNET_ISA;

// Runs `work` in a process of its own, which has to be aborted.
template <class Work>
void check_aborts(const char* what, const Work& work) {
  const pid_t child = fork();
  CHECK(child >= 0, "%s", what);
  if (child == 0) {
    std::freopen("/dev/null", "w", stderr);
    work();
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child, "%s", what);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s: status %d", what, status);
}

void test_faults() {
  alignas(64) static char memory[16 * 64] = {};
  check_aborts("no configuration", [] { tiles::set_zero<0>(); });
  check_aborts("no configuration", [] { tiles::load<2>(memory, 64); });
  check_aborts("released", [] {
    {
      const TileSession session;
    }
    tiles::multiply<0, 2, 3>();
  });
  check_aborts("configured twice", [] {
    const TileSession session;
    const TileSession other;
  });
  check_aborts("a register that is left out", [] {
    const TileSession session;
    tiles::store<5>(memory, 64);
  });
  check_aborts("left and right registers exchanged", [] {
    const TileSession session;
    tiles::multiply<0, 3, 2>();
  });
  check_aborts("more rows than there are", [] { tiles::configure({1, 0, {}, {64}, {17}}); });
  check_aborts("rows of no bytes", [] { tiles::configure({1, 0, {}, {}, {1}}); });
  check_aborts("another palette", [] { tiles::configure({0, 0, {}, {64}, {16}}); });
  check_aborts("a product outside of a session", [] {
    Accumulators<float, 2> tile;
    set_zero<float, 2>(tile);
    static const uint16_t operand[2048] = {};
    AmxTiles::add_tile_product<2>(tile, operand, 32, operand, 64, 16);
  });
}

// (a0, a1) (b0, b1) of the first `pairs` pairs, added to `sum`; every row of a left register and
// every column of a right one has the same.
float product(float sum, const float (&left)[2][2], const float (&right)[2][2]) {
  alignas(64) uint16_t a[12][32] = {}, b[16][32] = {};
  alignas(64) float sums[12][16];
  for (auto& row : sums) {
    for (float& each : row) each = sum;
  }
  for (int k = 0; k < 2; ++k) {
    for (int half = 0; half < 2; ++half) {
      for (auto& row : a) row[2 * k + half] = float_to_bf16(left[k][half]);
      for (int n = 0; n < 16; ++n) b[k][2 * n + half] = float_to_bf16(right[k][half]);
    }
  }
  const TileSession session;
  tiles::load<0>(sums, 64);
  tiles::load<2>(a, 64);
  tiles::load<3>(b, 64);
  tiles::multiply<0, 2, 3>();
  tiles::store<0>(sums, 64);
  for (const auto& row : sums) {
    for (float each : row) CHECK(std::memcmp(&each, &sums[0][0], sizeof each) == 0, "%g", each);
  }
  return sums[0][0];
}

void check_equal(float actual, float expected) {
  CHECK(actual == expected, "%a, expected %a", actual, expected);
}

void test_arithmetic() {
  check_equal(product(0.5f, {{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}), 70.5f);
  const float infinity = std::numeric_limits<float>::infinity();
  check_equal(product(1, {{infinity, 0}, {0, 0}}, {{2, 0}, {0, 0}}), infinity);
  CHECK(std::isnan(product(1, {{infinity, 0}, {0, 0}}, {{0, 0}, {0, 0}})), "infinity times 0");
  // First elements are summed apart from second ones, and then both apart from what was there:
  // 2^24 + 1 would lose the 1 at once, and so would 2^24 + (1 + 1) not.
  check_equal(product(0x1p24f, {{1, 1}, {0, 0}}, {{1, 1}, {0, 0}}), 0x1p24f + 2);
  check_equal(product(0, {{0x1p24f, 0}, {1, 0}}, {{1, 0}, {1, 0}}), 0x1p24f);
  check_equal(product(0, {{0x1p24f, 0}, {0, 1}}, {{1, 0}, {0, 1}}), 0x1p24f);
  check_equal(product(0, {{0x1p24f, 1}, {0, 1}}, {{1, 1}, {0, 1}}), 0x1p24f + 2);
  // A product is not rounded before it is added, and so not flushed to 0 either.
  check_equal(product(0, {{1, 0}, {0x1p-70f, 0}}, {{0x1p-126f, 0}, {0x1p-57f, 0}}), 0x1.8p-126f);
  // Denormal numbers are 0: operands, sums of products, what was there, and results.
  check_equal(product(0, {{0x1p-127f, 0}, {0, 0}}, {{0x1p100f, 0}, {0, 0}}), 0);
  check_equal(product(0, {{0x1p-70f, 0}, {0x1p-70f, 0}}, {{0x1p-57f, 0}, {0x1p-57f, 0}}), 0);
  check_equal(product(0x1p-127f, {{1, 0}, {0, 0}}, {{0x1p-126f, 0}, {0, 0}}), 0x1p-126f);
  check_equal(product(-0x1p-126f, {{1.5f, 0}, {0, 0}}, {{0x1p-126f, 0}, {0, 0}}), 0);
}

// Of each depth: whole registers, a rest, both; rows that lie apart and overlapping ones.
template <int kVectors>
void test_product(int64_t pairs, int64_t row_step) {
  constexpr int64_t kColumns = 16 * kVectors;
  const int64_t first = row_step < 0 ? -row_step * (kRows - 1) : 0;
  const int64_t size = 2 * pairs + (row_step < 0 ? -row_step : row_step) * (kRows - 1);
  const auto numbers = [](int64_t count, unsigned seed) {
    std::vector<uint16_t> found;
    for (double x : random_normal(count, seed)) {
      found.push_back(float_to_bf16(static_cast<float>(x)));
    }
    return found;
  };
  const std::vector<uint16_t> a = numbers(size, 1), b = numbers(pairs * kColumns * 2, 2);
  Accumulators<float, kVectors> tile;
  for (auto& row : tile) {
    for (auto& each : row) each = broadcast(1.0f);
  }
  {
    const TileSession session;
    AmxTiles::add_tile_product<kVectors>(tile, a.data() + first, row_step, b.data(), kColumns * 2,
                                         pairs);
  }
  float actual[kRows][kColumns];
  store_tile<float, kVectors>(tile, actual[0], kColumns);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      double sum = 1, magnitude = 1;
      for (int64_t k = 0; k < 2 * pairs; ++k) {
        const double each = double(bf16_to_float(a[first + i * row_step + k])) *
                            bf16_to_float(b[k / 2 * kColumns * 2 + 2 * j + k % 2]);
        sum += each;
        magnitude += std::fabs(each);
      }
      CHECK(std::fabs(actual[i][j] - sum) <= 1e-6 * magnitude, "(%d, %d) of %d pairs: %g not %g",
            int(i), int(j), int(pairs), actual[i][j], sum);
    }
  }
}

}  // namespace

int main() {
  if (!__builtin_cpu_supports("avx512bf16")) return 77;
#ifdef LADNET_TRAP_TILES
  // With registers of its own a processor executes most of what the emulation has to see.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx >> 24 & 1) != 0) return 77;
  trap_tiles();
#endif
  test_faults();
  test_arithmetic();
  for (int64_t pairs : {0, 1, 7, 15, 16, 17, 32, 41}) {
    for (int64_t row_step : {int64_t(-1), 2 * pairs, 2 * pairs + 6}) {
      test_product<1>(pairs, row_step);
      test_product<2>(pairs, row_step);
    }
  }
}
