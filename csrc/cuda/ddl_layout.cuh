// Where bags, snippets and chunks lie, as the kernels see it.
//
// Snippets are numbered through the whole batch, padding included: snippet t of bag b is b T + t in
// padded batches and cu_seqlens[b] + t in packed ones; arrays with one value per snippet are
// indexed by that number. Values of lengths and cu_seqlens are not trusted but clamped into the
// arrays: checking them on the host would mean waiting for the device.
#pragma once

#include <stdint.h>

#include "core/ddl_batch.h"
#include "cuda/block.cuh"

namespace ladnet::ddl::gpu {

using ladnet::gpu::Add;
using ladnet::gpu::reduce;

LADNET_HOST_DEVICE int64_t clamp(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : (x > high ? high : x);
}

// Snippets begin .. begin + length - 1.
struct Span {
  int64_t begin;
  int64_t length;
};

__device__ __forceinline__ int64_t bag_begin(const Batch& batch, int64_t bag) {
  return batch.cu_seqlens != nullptr ? clamp(batch.cu_seqlens[bag], 0, batch.T) : bag * batch.T;
}

__device__ __forceinline__ Span bag_span(const Batch& batch, int64_t bag) {
  const int64_t begin = bag_begin(batch, bag);
  if (batch.cu_seqlens != nullptr) {
    return {begin, clamp(batch.cu_seqlens[bag + 1], begin, batch.T) - begin};
  }
  return {begin, batch.lengths != nullptr ? clamp(batch.lengths[bag], 0, batch.T) : batch.T};
}

// The last of the bags low .. high for which position(bag) <= wanted, or low. `position` rises.
template <class Position>
__device__ __forceinline__ int64_t last_at_most(int64_t wanted, int64_t low, int64_t high,
                                                const Position& position) {
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (position(middle) <= wanted) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// The bag of a snippet, if it is known to be one of low .. high.
__device__ __forceinline__ int64_t bag_between(const Batch& batch, int64_t snippet, int64_t low,
                                               int64_t high) {
  return last_at_most(snippet, low, high, [&](int64_t bag) { return bag_begin(batch, bag); });
}

// The same, found by all threads of a block together: each looks at another bag, so that there is
// one load on the way where a search of one thread has one per bit of the number of bags.
template <int kThreads>
__device__ __forceinline__ int64_t bag_of_block(const Batch& batch, int64_t snippet, int64_t low) {
  if (batch.cu_seqlens == nullptr) return snippet / batch.T;
  int64_t high = batch.bags - 1;
  while (low < high) {
    const int64_t step = (high - low + kThreads - 1) / kThreads;
    const int64_t probe = low + (threadIdx.x + 1) * step;
    const int passed = probe <= high && bag_begin(batch, probe) <= snippet ? 1 : 0;
    low += reduce<kThreads>(passed, Add{}) * step;
    high = clamp(low + step - 1, low, high);
  }
  return low;
}

// The bags of a block's first and last snippet. Called by all threads.
struct Bags {
  int64_t first;
  int64_t last;
};

template <int kThreads>
__device__ __forceinline__ Bags bags_of_block(const Batch& batch, int64_t first, int64_t last) {
  const int64_t end = batch.snippets() - 1;
  const int64_t bag = bag_of_block<kThreads>(batch, clamp(first, 0, end), 0);
  return {bag, bag_of_block<kThreads>(batch, clamp(last, 0, end), bag)};
}

// A snippet that walks through the batch.
struct Cursor {
  int64_t snippet;  // may leave the batch at both ends
  int64_t bag;
  int64_t t;  // in its bag
  int64_t length;

  // `bags` are those of the block, which the snippet belongs to, or lies before or behind.
  __device__ __forceinline__ Cursor(const Batch& batch, int64_t snippet_, const Bags& bags)
      : snippet(snippet_) {
    bag = bag_between(batch, snippet, bags.first, bags.last);
    enter(batch);
  }

  // Not padding, not outside the batch.
  __device__ __forceinline__ bool inside() const { return t >= 0 && t < length; }
  // Whether the bag has a step from the snippet before to this one.
  __device__ __forceinline__ bool has_step() const { return t > 0 && t < length; }

  __device__ __forceinline__ void advance(const Batch& batch) {
    ++snippet;
    ++t;
    if (t < length) return;
    while (bag + 1 < batch.bags && bag_begin(batch, bag + 1) <= snippet) {
      ++bag;
      enter(batch);
    }
  }

 private:
  __device__ __forceinline__ void enter(const Batch& batch) {
    const Span span = bag_span(batch, bag);
    t = snippet - span.begin;
    length = span.length;
  }
};

// ---- Chunks of bags that are split over blocks -------------------------------------------------
//
// Every chunk has a slot. Slots of a bag follow each other; packed bags leave some unused, so that
// a slot is found from cu_seqlens alone: floor(begin / chunk) + bag never runs into the next bag's.

LADNET_HOST_DEVICE int64_t chunks_of(int64_t count, int64_t chunk) {
  return (count + chunk - 1) / chunk;
}

LADNET_HOST_DEVICE int64_t count_slots(const Batch& batch, int64_t chunk) {
  return batch.cu_seqlens != nullptr ? batch.T / chunk + batch.bags
                                     : batch.bags * chunks_of(batch.T, chunk);
}

__device__ __forceinline__ int64_t first_slot(const Batch& batch, int64_t bag, int64_t chunk) {
  return batch.cu_seqlens != nullptr ? bag_begin(batch, bag) / chunk + bag
                                     : bag * chunks_of(batch.T, chunk);
}

__device__ __forceinline__ int64_t bag_of_slot(const Batch& batch, int64_t slot, int64_t chunk) {
  if (batch.cu_seqlens == nullptr) return slot / chunks_of(batch.T, chunk);
  return last_at_most(slot, 0, batch.bags - 1,
                      [&](int64_t bag) { return first_slot(batch, bag, chunk); });
}

}  // namespace ladnet::ddl::gpu
