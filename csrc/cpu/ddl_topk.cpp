// A radix select with digits of one bit: the k-th largest key is built from its top bit down, each
// bit kept if at least k keys reach the candidate. Counting is one compare and one subtraction per
// vector, without a scatter or a dependence between neighbours, so that even 32 passes are faster
// than a histogram. Most bags need a few: the search ends when exactly k keys reach the candidate.
#include "cpu/ddl_topk.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/size.h"
#include "cpu/parallel.h"

namespace ladnet::ddl {
namespace {

// Keys a thread takes at a time. Fixed, for the sums' sake; a count of them fits any key's type.
constexpr int64_t kChunk = 1 << 14;

// Adds part(begin, end) over the chunks of [0, count), in order.
template <class T, class Part>
T sum_of_chunks(int64_t count, int threads, const Part& part) {
  const int64_t chunks = divide_up(count, kChunk);
  T sum = 0;
  if (threads <= 1 || chunks <= 1) {
    for (int64_t begin = 0; begin < count; begin += kChunk) {
      sum += part(begin, std::min(begin + kChunk, count));
    }
    return sum;
  }
  std::vector<T> parts(size_t(chunks), 0);
  parallel_for(chunks, threads, [&](int64_t chunk, int) {
    parts[size_t(chunk)] = part(chunk * kChunk, std::min((chunk + 1) * kChunk, count));
  });
  for (const T& each : parts) sum += each;
  return sum;
}

// Index of the n-th key equal to `value`, n from 1.
template <class K>
int64_t find_nth(const K* keys, int64_t count, K value, int64_t n) {
  for (int64_t i = 0; i < count; ++i) {
    if (keys[i] == value && --n == 0) return i;
  }
  return count;
}

template <class A>
Cut<A> cut_for(const Key<A>* keys, int64_t count, int64_t k, int threads,
               const ScoreKernels<A>& kernels) {
  using K = Key<A>;
  using Unsigned = std::make_unsigned_t<K>;
  constexpr K kMost = std::numeric_limits<K>::max();
  constexpr Unsigned kSign = Unsigned(1) << (sizeof(K) * 8 - 1);
  if (k == 0) return {kMost, -1};
  if (k == count) return {std::numeric_limits<K>::min(), count};

  const auto count_from = [&](K threshold) {
    return sum_of_chunks<int64_t>(count, threads, [&](int64_t begin, int64_t end) {
      return kernels.count_at_least(keys + begin, end - begin, threshold);
    });
  };
  K low;
  K high;
  kernels.key_range(keys, count, &low, &high);
  if (k == 1) return {high, find_nth(keys, count, high, 1)};
  if (low == high) return {high, k - 1};

  // With the sign flipped the keys' order is that of unsigned numbers. Above the highest bit in
  // which the smallest and the largest differ, all agree.
  const Unsigned differing = Unsigned(low) ^ Unsigned(high);
  Unsigned bit = kSign;
  while ((differing & bit) == 0) bit >>= 1;
  Unsigned kth = (Unsigned(high) ^ kSign) & ~(bit | (bit - 1));
  for (; bit != 0; bit >>= 1) {
    const K candidate = K((kth | bit) ^ kSign);
    const int64_t reached = count_from(candidate);
    if (reached == k) return {candidate, count};
    if (reached > k) kth |= bit;
  }
  const K threshold = K(kth ^ kSign);
  const int64_t above = threshold == kMost ? 0 : count_from(threshold + 1);
  return {threshold, find_nth(keys, count, threshold, k - above)};
}

}  // namespace

template <class A>
Chosen<A> choose_largest(const Key<A>* keys, int64_t count, int64_t k, int threads,
                         const ScoreKernels<A>& kernels) {
  const Cut<A> cut = cut_for(keys, count, k, threads, kernels);
  if (k == 0) return {cut, 0.0};
  const double sum = sum_of_chunks<double>(count, threads, [&](int64_t begin, int64_t end) {
    return kernels.sum_chosen(keys + begin, end - begin, begin, cut);
  });
  return {cut, sum};
}

template Chosen<float> choose_largest(const Key<float>*, int64_t, int64_t, int,
                                      const ScoreKernels<float>&);
template Chosen<double> choose_largest(const Key<double>*, int64_t, int64_t, int,
                                       const ScoreKernels<double>&);

}  // namespace ladnet::ddl
