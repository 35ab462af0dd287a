// Exact top-k of every bag's scores and dynamics, the lowest index first among equals.
//
// A radix select: the k-th largest key is found digit by digit, each from a histogram of that digit
// over the keys which agree with the digits before. One block does that for a bag of up to a chunk
// of snippets (`select_bag`). A longer bag is cut into chunks, one block per chunk, and what needs
// the counts of all chunks begins a launch: `select_chunk` picks the digit that the last launch has
// counted, and counts the next one; after the last digit it adds up what is chosen.
#pragma once

#include <limits.h>

#include "cuda/block.cuh"
#include "cuda/ddl_layout.cuh"
#include "cuda/ddl_workspace.h"

namespace ladnet::ddl::gpu {

using ladnet::gpu::block_scan;
using ladnet::gpu::kWarp;
using ladnet::gpu::lane_of_warp;
using ladnet::gpu::Scan;
using ladnet::gpu::warp_scan;

// How many to choose; see core/ddl_elements.h.
struct Counts {
  const bool* labels;
  int64_t topk_divisor;
  Select select;
};

// A bag's scores or its ds^2, of which the k largest are wanted.
struct Task {
  const float* scores;
  int64_t count;
  int64_t k;
  bool dynamics;

  __device__ __forceinline__ Task(const Batch& batch, const Counts& counts, int64_t bag,
                                  int quantity) {
    const Span span = bag_span(batch, bag);
    scores = static_cast<const float*>(batch.scores) + span.begin;
    dynamics = quantity == kDynamics;
    count = clamp(dynamics ? span.length - 1 : span.length, 0, span.length);
    k = dynamics ? ranking_count(span.length, counts.topk_divisor, counts.select)
                 : mil_count(span.length, counts.topk_divisor, counts.labels[bag]);
    k = clamp(k, 0, count);
  }

  __device__ __forceinline__ float value(int64_t i) const {
    if (!dynamics) return scores[i];
    const float ds = scores[i] - scores[i + 1];
    return ds * ds;
  }

  // Unsigned numbers in the order of the values.
  __device__ __forceinline__ uint32_t key(int64_t i) const {
    return static_cast<uint32_t>(order_key(value(i))) ^ 0x80000000u;
  }
};

__device__ __forceinline__ int32_t signed_key(uint32_t key) {
  return static_cast<int32_t>(key ^ 0x80000000u);
}

// What needs no search.
__device__ __forceinline__ Cut<float> choose_none() {
  return {INT_MAX, -1};
}
__device__ __forceinline__ Cut<float> choose_all(int64_t count) {
  return {INT_MIN, count};
}

// Counts one digit of the keys begin .. end - 1 that start with the digits of `prefix`.
template <int kThreads>
__device__ __forceinline__ void count_digits(const Task& task, int64_t begin, int64_t end, int pass,
                                             uint32_t prefix, uint32_t* histogram) {
  const int shift = 32 - kDigitBits * (pass + 1);
  const uint32_t known = pass == 0 ? 0u : ~0u << (shift + kDigitBits);
#pragma unroll
  for (int i = 0; i < kDigits / kThreads; ++i) histogram[i * kThreads + threadIdx.x] = 0;
  __syncthreads();
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const uint32_t key = task.key(i);
    if (((key ^ prefix) & known) == 0) {
      atomicAdd(&histogram[(key >> shift) & (kDigits - 1)], 1u);
    }
  }
  __syncthreads();
}

// The search with one digit more: that of the wanted-th largest key.
__device__ __forceinline__ Search pick_digit(const uint32_t* histogram, int pass, Search search) {
  constexpr int kPerLane = kDigits / kWarp;
  __shared__ Search picked;
  if (threadIdx.x < kWarp) {
    // Lane 0 has the highest digits.
    const int top = kDigits - 1 - lane_of_warp() * kPerLane;
    uint32_t own = 0;
    for (int i = 0; i < kPerLane; ++i) own += histogram[top - i];
    uint32_t above = warp_scan(own) - own;
#pragma unroll 1
    for (int i = 0; i < kPerLane; ++i) {
      const uint32_t same = histogram[top - i];
      if (above < search.wanted && search.wanted <= above + same) {
        const uint32_t digit = static_cast<uint32_t>(top - i);
        picked = {search.prefix | digit << (32 - kDigitBits * (pass + 1)), search.wanted - above,
                  same};
      }
      above += same;
    }
  }
  __syncthreads();
  return picked;  // stays until the next digit has been counted, which takes barriers
}

// Index of the n-th key equal to `key` among begin .. end - 1, n from 1.
template <int kThreads>
__device__ __forceinline__ int64_t find_tie(const Task& task, int64_t begin, int64_t end,
                                            uint32_t key, uint32_t n) {
  __shared__ int64_t found;
  for (int64_t start = begin; start < end; start += kThreads) {
    const int64_t i = start + threadIdx.x;
    const uint32_t tie = i < end && task.key(i) == key ? 1 : 0;
    const Scan<uint32_t> scan = block_scan<kThreads>(tie);
    if (tie == 1 && scan.before + 1 == n) found = i;
    if (scan.total >= n) break;  // the same for all threads
    n -= scan.total;
  }
  __syncthreads();
  return found;
}

// Sum of the chosen values among begin .. end - 1, in every thread.
template <int kThreads>
__device__ __forceinline__ double sum_chosen(const Task& task, int64_t begin, int64_t end,
                                             Cut<float> cut) {
  double sum = 0.0;
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const float value = task.value(i);
    if (is_chosen(cut.threshold, cut.last_tie, order_key(value), i)) {
      sum += static_cast<double>(value);
    }
  }
  return reduce<kThreads>(sum, Add{});
}

// ---- Bags of at most one chunk: one block per bag ----------------------------------------------

template <int kThreads>
__device__ __forceinline__ void select_bag(const Batch& batch, const Counts& counts,
                                           const Workspace& workspace, int64_t chunk, int64_t bag,
                                           int quantity, uint32_t* histogram) {
  const Task task(batch, counts, bag, quantity);
  if (task.count > chunk) return;
  Cut<float> cut = task.k == 0 ? choose_none() : choose_all(task.count);
  if (task.k > 0 && task.k < task.count) {
    Search search{0, static_cast<uint32_t>(task.k), static_cast<uint32_t>(task.count)};
    // All keys with the prefix are chosen: which digits follow does not matter any more.
    for (int pass = 0; pass < kPasses && search.same > search.wanted; ++pass) {
      count_digits<kThreads>(task, 0, task.count, pass, search.prefix, histogram);
      search = pick_digit(histogram, pass, search);
    }
    cut.threshold = signed_key(search.prefix);
    if (search.same > search.wanted) {
      cut.last_tie = find_tie<kThreads>(task, 0, task.count, search.prefix, search.wanted);
    }
  }
  const double sum = sum_chosen<kThreads>(task, 0, task.count, cut);
  if (threadIdx.x == 0) {
    workspace.selections[bag * kQuantities + quantity].cut = cut;
    workspace.sums[quantity * workspace.slots + first_slot(batch, bag, chunk)] = sum;
  }
}

// ---- Longer bags: one block per chunk, kPasses + 1 rounds --------------------------------------

// Where the chunks of a bag have counted a digit.
__device__ __forceinline__ uint32_t* histograms_of(const Workspace& workspace, int pass,
                                                   int quantity, int64_t slot) {
  const int64_t array = (pass % 2) * kQuantities + quantity;
  return workspace.histograms + (array * workspace.slots + slot) * kDigits;
}

// Picks the digit of a pass from the histograms of all chunks of a bag.
template <int kThreads>
__device__ __forceinline__ Search pick_counted(const uint32_t* counted, int64_t chunks, int pass,
                                               Search search, uint32_t* histogram) {
#pragma unroll
  for (int i = 0; i < kDigits / kThreads; ++i) {
    const int digit = i * kThreads + static_cast<int>(threadIdx.x);
    uint32_t sum = 0;
#pragma unroll 8
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += counted[chunk * kDigits + digit];
    histogram[digit] = sum;
  }
  __syncthreads();
  return pick_digit(histogram, pass, search);
}

// last_tie of one chunk, where not all of the bag's keys equal to the k-th largest are chosen. The
// block that finds the last chosen one writes it down for the launches to come.
template <int kThreads>
__device__ __forceinline__ int64_t last_tie_of_chunk(const Task& task, const uint32_t* counted,
                                                     int64_t index, int64_t begin, int64_t end,
                                                     const Search& search, Selection& selection) {
  const uint32_t digit = search.prefix % kDigits;
  uint32_t before = 0;
  for (int64_t chunk = threadIdx.x; chunk < index; chunk += kThreads) {
    before += counted[chunk * kDigits + digit];
  }
  before = reduce<kThreads>(before, Add{});
  if (before >= search.wanted) return -1;
  const uint32_t left = search.wanted - before;
  if (left > counted[index * kDigits + digit]) return task.count;
  const int64_t last = find_tie<kThreads>(task, begin, end, search.prefix, left);
  if (threadIdx.x == 0) selection.cut.last_tie = last;
  return last;
}

// One round of one chunk. Blocks read what the round before has written, and write elsewhere.
template <int kThreads>
__device__ __forceinline__ void select_chunk(const Batch& batch, const Counts& counts,
                                             const Workspace& workspace, int64_t size, int round,
                                             int64_t slot, int quantity, uint32_t* histogram) {
  const int64_t bag = bag_of_slot(batch, slot, size);
  const int64_t first = first_slot(batch, bag, size);
  const int64_t index = slot - first;
  const Task task(batch, counts, bag, quantity);
  const int64_t begin = index * size;
  const int64_t end = clamp(begin + size, 0, task.count);
  if (task.count <= size || begin >= task.count) return;
  Selection& selection = workspace.selections[bag * kQuantities + quantity];
  const bool tells = index == 0 && threadIdx.x == 0;

  Cut<float> cut = choose_all(task.count);
  if (task.k < task.count) {
    Search search{0, static_cast<uint32_t>(task.k), static_cast<uint32_t>(task.count)};
    if (round > 0) {
      const int pass = round - 1;
      if (pass > 0) search = selection.searches[(pass - 1) % 2];
      const uint32_t* const counted = histograms_of(workspace, pass, quantity, first);
      search =
          pick_counted<kThreads>(counted, chunks_of(task.count, size), pass, search, histogram);
      if (tells) selection.searches[pass % 2] = search;
    }
    if (round < kPasses) {
      count_digits<kThreads>(task, begin, end, round, search.prefix, histogram);
      uint32_t* const out = histograms_of(workspace, round, quantity, slot);
#pragma unroll
      for (int i = 0; i < kDigits / kThreads; ++i) {
        out[i * kThreads + threadIdx.x] = histogram[i * kThreads + threadIdx.x];
      }
      return;
    }
    cut.threshold = signed_key(search.prefix);
    const bool all_ties = search.same == search.wanted;
    if (tells) selection.cut.threshold = cut.threshold;
    if (tells && all_ties) selection.cut.last_tie = cut.last_tie;
    if (!all_ties) {
      cut.last_tie =
          last_tie_of_chunk<kThreads>(task, histograms_of(workspace, kPasses - 1, quantity, first),
                                      index, begin, end, search, selection);
    }
  } else if (round < kPasses) {
    return;
  } else if (tells) {
    selection.cut = cut;
  }
  const double sum = sum_chosen<kThreads>(task, begin, end, cut);
  if (threadIdx.x == 0) workspace.sums[quantity * workspace.slots + slot] = sum;
}

}  // namespace ladnet::ddl::gpu
