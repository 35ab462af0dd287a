// What the language gives a kernel: its indices, barriers, shuffles, votes and reductions.
#pragma once

#include <string.h>

#include <type_traits>

#include "block.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = cuda_on_cpu::kWarpSize;

// Default arguments that say where the call stands.
#define CUDA_ON_CPU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace cuda_on_cpu {

template <class T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "no such type is shuffled");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(value));
  return bits;
}

template <class T>
T from_bits(uint64_t bits) {
  T value;
  memcpy(static_cast<void*>(&value), &bits, sizeof(value));
  return value;
}

inline uint64_t ask(Collective kind, unsigned mask, uint64_t value, Site site, int source_lane = 0,
                    bool is_signed = false) {
  return Block::current().collective({kind, mask, value, source_lane, is_signed, site, 0});
}

template <class T>
T shuffle(unsigned mask, T value, int source_lane, Site site) {
  return from_bits<T>(ask(Collective::kShuffle, mask, to_bits(value), site, source_lane));
}

template <class T>
T reduce(Collective kind, unsigned mask, T value, Site site) {
  static_assert(sizeof(T) == 4 && std::is_integral_v<T>, "reductions are of 32-bit integers");
  // Widened with its sign, so that 64-bit comparisons hold.
  const uint64_t bits = static_cast<uint64_t>(static_cast<int64_t>(value));
  return static_cast<T>(ask(kind, mask, bits, site, 0, std::is_signed_v<T>));
}

// The lanes from which a shuffle of `width` lanes may read.
struct Segment {
  int lane, first, last;
  explicit Segment(int width)
      : lane(static_cast<int>(Block::current().lane())),
        first(lane & ~(width - 1)),
        last(lane | (width - 1)) {}
};

}  // namespace cuda_on_cpu

// ---- The block ----

inline void __syncthreads(CUDA_ON_CPU_SITE) {
  cuda_on_cpu::Block::current().barrier(0, {file, line});
}
inline int __syncthreads_count(int predicate, CUDA_ON_CPU_SITE) {
  return cuda_on_cpu::Block::current().barrier(predicate, {file, line});
}
inline int __syncthreads_or(int predicate, CUDA_ON_CPU_SITE) {
  return cuda_on_cpu::Block::current().barrier(predicate, {file, line}) != 0;
}
inline int __syncthreads_and(int predicate, CUDA_ON_CPU_SITE) {
  return cuda_on_cpu::Block::current().barrier(predicate == 0, {file, line}) == 0;
}

// ---- The warp ----

inline void __syncwarp(unsigned mask = ~0u, CUDA_ON_CPU_SITE) {
  cuda_on_cpu::ask(cuda_on_cpu::Collective::kSyncWarp, mask, 0, {file, line});
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, CUDA_ON_CPU_SITE) {
  const cuda_on_cpu::Segment segment(width);
  return cuda_on_cpu::shuffle(mask, value, segment.first | (source & (width - 1)), {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDA_ON_CPU_SITE) {
  const cuda_on_cpu::Segment segment(width);
  const int from = segment.lane - static_cast<int>(delta);
  return cuda_on_cpu::shuffle(mask, value, from < segment.first ? segment.lane : from,
                              {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDA_ON_CPU_SITE) {
  const cuda_on_cpu::Segment segment(width);
  const int from = segment.lane + static_cast<int>(delta);
  return cuda_on_cpu::shuffle(mask, value, from > segment.last ? segment.lane : from, {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, CUDA_ON_CPU_SITE) {
  const cuda_on_cpu::Segment segment(width);
  const int from = segment.lane ^ lanes;
  return cuda_on_cpu::shuffle(mask, value, from > segment.last ? segment.lane : from, {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_ON_CPU_SITE) {
  return static_cast<unsigned>(
      cuda_on_cpu::ask(cuda_on_cpu::Collective::kBallot, mask, predicate != 0, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, CUDA_ON_CPU_SITE) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDA_ON_CPU_SITE) {
  return __ballot_sync(mask, predicate == 0, file, line) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, CUDA_ON_CPU_SITE) {
  return static_cast<unsigned>(cuda_on_cpu::ask(cuda_on_cpu::Collective::kMatchAny, mask,
                                                cuda_on_cpu::to_bits(value), {file, line}));
}

#define CUDA_ON_CPU_REDUCE(name, kind)                                                    \
  template <class T>                                                                      \
  T name(unsigned mask, T value, CUDA_ON_CPU_SITE) {                                      \
    return cuda_on_cpu::reduce(cuda_on_cpu::Collective::kind, mask, value, {file, line}); \
  }
CUDA_ON_CPU_REDUCE(__reduce_add_sync, kReduceAdd)
CUDA_ON_CPU_REDUCE(__reduce_min_sync, kReduceMin)
CUDA_ON_CPU_REDUCE(__reduce_max_sync, kReduceMax)
CUDA_ON_CPU_REDUCE(__reduce_and_sync, kReduceAnd)
CUDA_ON_CPU_REDUCE(__reduce_or_sync, kReduceOr)
CUDA_ON_CPU_REDUCE(__reduce_xor_sync, kReduceXor)
#undef CUDA_ON_CPU_REDUCE
#undef CUDA_ON_CPU_SITE

[[noreturn]] inline void __trap() {
  cuda_on_cpu::Block::current().fail("__trap");
}
