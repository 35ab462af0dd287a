// Exact top-k of every bag's scores and dynamics, the lowest index first among equals.
//
// A radix select: the k-th largest key is found digit by digit, each from a histogram of that digit
// over the keys which agree with the digits before. A block does that for a bag of up to `chunk`
// snippets in one kernel. A longer bag is cut into chunks, one block per chunk, and each step that
// needs the results of all blocks is a kernel: count, pick, count, pick .., sum.
#include <limits.h>

#include "cuda/block.cuh"
#include "cuda/ddl_kernels.h"
#include "cuda/ddl_layout.cuh"
#include "cuda/launch.h"

namespace ladnet::ddl::gpu {
namespace {

using ladnet::gpu::Add;
using ladnet::gpu::block_scan;
using ladnet::gpu::kWarp;
using ladnet::gpu::lane_of_warp;
using ladnet::gpu::reduce;
using ladnet::gpu::Scan;
using ladnet::gpu::warp_scan;

constexpr int kThreads = 512;
constexpr int kPasses = 32 / kDigitBits;

// How many to choose; see core/ddl_elements.h.
struct Counts {
  int64_t topk_divisor;
  Select select;
};

// A bag's scores or its ds^2, of which the k largest are wanted.
struct Task {
  const float* scores;
  int64_t count;
  int64_t k;
  bool dynamics;

  __device__ __forceinline__ Task(const Batch& batch, const bool* labels, const Counts& counts,
                                  int64_t bag, int quantity) {
    const Span span = bag_span(batch, bag);
    scores = static_cast<const float*>(batch.scores) + span.begin;
    dynamics = quantity == kDynamics;
    count = clamp(dynamics ? span.length - 1 : span.length, 0, span.length);
    k = dynamics ? ranking_count(span.length, counts.topk_divisor, counts.select)
                 : mil_count(span.length, counts.topk_divisor, labels[bag]);
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
__device__ __forceinline__ void count_digits(const Task& task, int64_t begin, int64_t end, int pass,
                                             uint32_t prefix, uint32_t* histogram) {
  const int shift = 32 - kDigitBits * (pass + 1);
  const uint32_t known = pass == 0 ? 0u : ~0u << (shift + kDigitBits);
  for (int digit = threadIdx.x; digit < kDigits; digit += kThreads) histogram[digit] = 0;
  __syncthreads();
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const uint32_t key = task.key(i);
    if (((key ^ prefix) & known) == 0) {
      atomicAdd(&histogram[(key >> shift) & (kDigits - 1)], 1u);
    }
  }
  __syncthreads();
}

// The digit of the wanted-th largest key, and how many keys have a higher and the same one.
struct Pick {
  uint32_t digit;
  int64_t above;
  int64_t same;
};

__device__ __forceinline__ Pick pick_digit(const uint32_t* histogram, int64_t wanted) {
  constexpr int kPerLane = kDigits / kWarp;
  __shared__ Pick pick;
  if (threadIdx.x < kWarp) {
    // Lane 0 has the highest digits.
    const int top = kDigits - 1 - lane_of_warp() * kPerLane;
    int64_t own = 0;
    for (int i = 0; i < kPerLane; ++i) own += histogram[top - i];
    int64_t above = warp_scan(own) - own;
    for (int i = 0; i < kPerLane; ++i) {
      const int64_t same = histogram[top - i];
      if (above < wanted && wanted <= above + same) {
        pick = {static_cast<uint32_t>(top - i), above, same};
      }
      above += same;
    }
  }
  __syncthreads();
  return pick;  // stays until the next digit has been counted, which takes barriers
}

// Index of the n-th key equal to `key` among begin .. end - 1, n from 1.
__device__ __forceinline__ int64_t find_tie(const Task& task, int64_t begin, int64_t end,
                                            uint32_t key, int64_t n) {
  __shared__ int64_t found;
  for (int64_t start = begin; start < end; start += kThreads) {
    const int64_t i = start + threadIdx.x;
    const int64_t tie = i < end && task.key(i) == key ? 1 : 0;
    const Scan<int64_t> scan = block_scan<kThreads>(tie);
    if (tie == 1 && scan.before + 1 == n) found = i;
    if (scan.total >= n) break;  // the same for all threads
    n -= scan.total;
  }
  __syncthreads();
  return found;
}

// Sum of the chosen values among begin .. end - 1, in thread 0.
__device__ __forceinline__ double sum_chosen(const Task& task, int64_t begin, int64_t end,
                                             Cut<float> cut) {
  double sum = 0.0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const float value = task.value(i);
    if (is_chosen(cut.threshold, cut.last_tie, order_key(value), i)) {
      sum += static_cast<double>(value);
    }
  }
  return reduce<kThreads>(sum, Add{});
}

// ---- Bags of at most one chunk: one block per bag ----------------------------------------------

__global__ void __launch_bounds__(kThreads)
    select_kernel(const Batch batch, const bool* __restrict__ labels, const Counts counts,
                  const int64_t chunk, const Workspace workspace) {
  __shared__ uint32_t histogram[kDigits];
  const int64_t bag = blockIdx.x;
  const int quantity = blockIdx.y;
  const Task task(batch, labels, counts, bag, quantity);
  if (task.count > chunk) return;

  Cut<float> cut = task.k == 0 ? choose_none() : choose_all(task.count);
  if (task.k > 0 && task.k < task.count) {
    uint32_t prefix = 0;
    int64_t wanted = task.k;
    int64_t same = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
      count_digits(task, 0, task.count, pass, prefix, histogram);
      const Pick pick = pick_digit(histogram, wanted);
      prefix |= pick.digit << (32 - kDigitBits * (pass + 1));
      wanted -= pick.above;
      same = pick.same;
    }
    cut.threshold = signed_key(prefix);
    if (same > wanted) cut.last_tie = find_tie(task, 0, task.count, prefix, wanted);
  }
  const double sum = sum_chosen(task, 0, task.count, cut);
  if (threadIdx.x == 0) {
    workspace.selections[bag * kQuantities + quantity].cut = cut;
    workspace.sums[quantity * workspace.slots + first_slot(batch, bag, chunk)] = sum;
  }
}

// ---- Longer bags: one block per chunk ----------------------------------------------------------

// A chunk of a bag that is split; `used` is false for slots without one.
struct Chunk {
  int64_t bag;
  int64_t index;
  int64_t begin;
  int64_t end;
  bool used;
};

__device__ __forceinline__ Chunk chunk_of(const Batch& batch, int64_t slot, int64_t size,
                                          int quantity) {
  Chunk chunk;
  chunk.bag = bag_of_slot(batch, slot, size);
  chunk.index = slot - first_slot(batch, chunk.bag, size);
  const Span span = bag_span(batch, chunk.bag);
  const int64_t count = quantity == kDynamics ? span.length - 1 : span.length;
  chunk.begin = chunk.index * size;
  chunk.end = clamp(chunk.begin + size, 0, count);
  chunk.used = count > size && chunk.begin < count;
  return chunk;
}

__global__ void __launch_bounds__(kThreads)
    count_kernel(const Batch batch, const bool* __restrict__ labels, const Counts counts,
                 const int64_t size, const int pass, const Workspace workspace) {
  __shared__ uint32_t histogram[kDigits];
  const int64_t slot = blockIdx.x;
  const int quantity = blockIdx.y;
  const Chunk chunk = chunk_of(batch, slot, size, quantity);
  if (!chunk.used) return;
  const Task task(batch, labels, counts, chunk.bag, quantity);
  if (task.k == task.count) return;
  const uint32_t prefix =
      pass == 0 ? 0u : workspace.selections[chunk.bag * kQuantities + quantity].prefix;
  count_digits(task, chunk.begin, chunk.end, pass, prefix, histogram);
  uint32_t* const out = workspace.histograms + (quantity * workspace.slots + slot) * kDigits;
  for (int digit = threadIdx.x; digit < kDigits; digit += kThreads) out[digit] = histogram[digit];
}

__global__ void __launch_bounds__(kThreads)
    pick_kernel(const Batch batch, const bool* __restrict__ labels, const Counts counts,
                const int64_t size, const int pass, const Workspace workspace) {
  __shared__ uint32_t histogram[kDigits];
  const int64_t bag = blockIdx.x;
  const int quantity = blockIdx.y;
  const Task task(batch, labels, counts, bag, quantity);
  if (task.count <= size) return;
  const int64_t chunks = chunks_of(task.count, size);
  Selection& selection = workspace.selections[bag * kQuantities + quantity];
  if (task.k == task.count) {
    if (threadIdx.x == 0) selection = {choose_all(task.count), 0, 0, chunks};
    return;
  }

  const uint32_t* const counted =
      workspace.histograms + (quantity * workspace.slots + first_slot(batch, bag, size)) * kDigits;
  for (int digit = threadIdx.x; digit < kDigits; digit += kThreads) {
    uint32_t sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += counted[chunk * kDigits + digit];
    histogram[digit] = sum;
  }
  const int64_t wanted = pass == 0 ? task.k : selection.wanted;
  const uint32_t prefix = pass == 0 ? 0u : selection.prefix;
  __syncthreads();
  const Pick pick = pick_digit(histogram, wanted);
  if (threadIdx.x != 0) return;

  selection.prefix = prefix | pick.digit << (32 - kDigitBits * (pass + 1));
  selection.wanted = wanted - pick.above;
  if (pass + 1 < kPasses) return;
  selection.cut = {signed_key(selection.prefix), task.count};
  selection.tie_chunk = chunks;
  if (pick.same == selection.wanted) return;
  // Not every tie fits: in which chunk lies the last that does?
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t ties = counted[chunk * kDigits + pick.digit];
    if (selection.wanted <= ties) {
      selection.tie_chunk = chunk;
      return;
    }
    selection.wanted -= ties;
  }
}

__global__ void __launch_bounds__(kThreads)
    sum_kernel(const Batch batch, const bool* __restrict__ labels, const Counts counts,
               const int64_t size, const Workspace workspace) {
  const int64_t slot = blockIdx.x;
  const int quantity = blockIdx.y;
  const Chunk chunk = chunk_of(batch, slot, size, quantity);
  if (!chunk.used) return;
  const Task task(batch, labels, counts, chunk.bag, quantity);
  Selection& selection = workspace.selections[chunk.bag * kQuantities + quantity];
  const int64_t tie_chunk = selection.tie_chunk;
  Cut<float> cut{selection.cut.threshold, chunk.index < tie_chunk ? task.count : -1};
  if (chunk.index == tie_chunk) {
    cut.last_tie = find_tie(task, chunk.begin, chunk.end, selection.prefix, selection.wanted);
    // Blocks of other chunks do not look at it.
    if (threadIdx.x == 0) selection.cut.last_tie = cut.last_tie;
  }
  const double sum = sum_chosen(task, chunk.begin, chunk.end, cut);
  if (threadIdx.x == 0) workspace.sums[quantity * workspace.slots + slot] = sum;
}

}  // namespace

void select_largest(const Batch& batch, const bool* labels, const Options& options, int64_t chunk,
                    bool split, const Workspace& workspace, cudaStream_t stream) {
  using ladnet::gpu::launch_checked;
  const Counts counts{options.topk_divisor, options.select};
  const dim3 bags(static_cast<unsigned>(batch.bags), kQuantities);
  const dim3 chunks(static_cast<unsigned>(workspace.slots), kQuantities);
  launch_checked("select_kernel", select_kernel, bags, kThreads, stream, batch, labels, counts,
                 chunk, workspace);
  if (!split) return;
  for (int pass = 0; pass < kPasses; ++pass) {
    launch_checked("count_kernel", count_kernel, chunks, kThreads, stream, batch, labels, counts,
                   chunk, pass, workspace);
    launch_checked("pick_kernel", pick_kernel, bags, kThreads, stream, batch, labels, counts, chunk,
                   pass, workspace);
  }
  launch_checked("sum_kernel", sum_kernel, chunks, kThreads, stream, batch, labels, counts, chunk,
                 workspace);
}

}  // namespace ladnet::ddl::gpu
