// From what was chosen in each bag to MIL, ranking, and their derivatives.
//
// Sums are in double: there are few of them, and hinges sit close to their kink.
#include "cuda/block.cuh"
#include "cuda/ddl_kernels.h"
#include "cuda/ddl_layout.cuh"
#include "cuda/launch.h"

namespace ladnet::ddl::gpu {
namespace {

using ladnet::gpu::Add;
using ladnet::gpu::block_scan;
using ladnet::gpu::reduce;
using ladnet::gpu::Scan;

constexpr int kJudgeThreads = 512;
constexpr int kPairThreads = 128;

// Sum of the chosen scores or ds^2 of a bag, over its chunks.
__device__ __forceinline__ double sum_of_bag(const Batch& batch, int64_t bag, int64_t count,
                                             int quantity, int64_t chunk,
                                             const Workspace& workspace) {
  const double* const sums =
      workspace.sums + quantity * workspace.slots + first_slot(batch, bag, chunk);
  double sum = sums[0];  // also of a bag without steps: 0
  for (int64_t i = 1; i < chunks_of(count, chunk); ++i) sum += sums[i];
  return sum;
}

// d ranking / d(chosen ds^2), from d ranking / dE.
__device__ __forceinline__ float ranking_slope(const Batch& batch, const Options& options,
                                               int64_t bag, double slope) {
  const int64_t length = bag_span(batch, bag).length;
  const int64_t count = ranking_count(length, options.topk_divisor, options.select);
  return count > 0 ? static_cast<float>(slope / static_cast<double>(count)) : 0.0f;
}

// What all bags have in common.
struct Classes {
  double mil;  // sum of the cross entropies
  int64_t anomalous;
  double e_anomalous;  // sums of the energies
  double e_normal;
};

// Cross entropy, energy and slopes (but for the ranking's) of every bag.
__device__ __forceinline__ Classes judge_each(const Batch& batch, const bool* labels,
                                              const Options& options, int64_t chunk,
                                              const Workspace& workspace) {
  const double N = static_cast<double>(batch.bags);
  Classes own{};
  for (int64_t bag = threadIdx.x; bag < batch.bags; bag += kJudgeThreads) {
    const int64_t length = bag_span(batch, bag).length;
    const bool anomalous = labels[bag];
    // An empty bag, which only checked calls refuse, has no score: 0 / 0 makes MIL NaN.
    const int64_t chosen = length > 0 ? mil_count(length, options.topk_divisor, anomalous) : 0;
    const double p =
        sum_of_bag(batch, bag, length, kScores, chunk, workspace) / static_cast<double>(chosen);
    const double y = anomalous ? 1.0 : 0.0;
    const int64_t steps = ranking_count(length, options.topk_divisor, options.select);
    double energy = 0.0;
    if (steps > 0) {
      energy = sum_of_bag(batch, bag, length - 1, kDynamics, chunk, workspace) /
               static_cast<double>(steps);
    }
    const double weight = length > 1 ? 1.0 / (static_cast<double>(length - 1) * N) : 0.0;
    workspace.energies[bag] = energy;
    workspace.slopes[bag] = {
        weight, static_cast<float>(weight),
        static_cast<float>(cross_entropy_slope(p, y) / (N * static_cast<double>(chosen))), 0.0f};
    own.mil += cross_entropy(p, y);
    own.anomalous += anomalous ? 1 : 0;
    (anomalous ? own.e_anomalous : own.e_normal) += energy;
  }
  return {reduce<kJudgeThreads>(own.mil, Add{}), reduce<kJudgeThreads>(own.anomalous, Add{}),
          reduce<kJudgeThreads>(own.e_anomalous, Add{}),
          reduce<kJudgeThreads>(own.e_normal, Add{})};
}

// Hinge between the means of the classes.
__device__ __forceinline__ double rank_means(const Batch& batch, const bool* labels,
                                             const Options& options, const Classes& classes,
                                             const Workspace& workspace) {
  const double anomalous = static_cast<double>(classes.anomalous);
  const double normal = static_cast<double>(batch.bags - classes.anomalous);
  const double e_anomalous = classes.e_anomalous / anomalous;
  const double e_normal = classes.e_normal / normal;
  const double slope = hinge_slope(options.margin, e_anomalous, e_normal);
  for (int64_t bag = threadIdx.x; bag < batch.bags; bag += kJudgeThreads) {
    const double own = labels[bag] ? -slope / anomalous : slope / normal;
    workspace.slopes[bag].ranking = ranking_slope(batch, options, bag, own);
  }
  return hinge(options.margin, e_anomalous, e_normal);
}

// Hinges between the i-th anomalous and the i-th normal bag.
__device__ __forceinline__ double rank_one_to_one(const Batch& batch, const bool* labels,
                                                  const Options& options, const Classes& classes,
                                                  const Workspace& workspace) {
  const int64_t each = (batch.bags + kJudgeThreads - 1) / kJudgeThreads;
  const int64_t begin = clamp(threadIdx.x * each, 0, batch.bags);
  const int64_t end = clamp(begin + each, 0, batch.bags);
  int64_t anomalous = 0;
  for (int64_t bag = begin; bag < end; ++bag) anomalous += labels[bag] ? 1 : 0;
  const Scan<int64_t> scan = block_scan<kJudgeThreads>(anomalous);
  int64_t next_anomalous = scan.before;
  int64_t next_normal = scan.total + begin - scan.before;
  for (int64_t bag = begin; bag < end; ++bag) {
    workspace.order[labels[bag] ? next_anomalous++ : next_normal++] = bag;
  }
  __syncthreads();

  const int64_t normal = batch.bags - classes.anomalous;
  const int64_t pairs = classes.anomalous < normal ? classes.anomalous : normal;
  double loss = 0.0;
  for (int64_t i = threadIdx.x; i < pairs; i += kJudgeThreads) {
    const int64_t a = workspace.order[i];
    const int64_t n = workspace.order[classes.anomalous + i];
    const double e_a = workspace.energies[a];
    const double e_n = workspace.energies[n];
    const double slope = hinge_slope(options.margin, e_a, e_n) / static_cast<double>(pairs);
    loss += hinge(options.margin, e_a, e_n);
    workspace.slopes[a].ranking = ranking_slope(batch, options, a, -slope);
    workspace.slopes[n].ranking = ranking_slope(batch, options, n, slope);
  }
  return reduce<kJudgeThreads>(loss, Add{}) / static_cast<double>(pairs);
}

// One block: the pieces are small, and each needs all bags.
__global__ void __launch_bounds__(kJudgeThreads)
    judge_kernel(const Batch batch, const bool* __restrict__ labels, const Options options,
                 const int64_t chunk, const Workspace workspace, float* __restrict__ terms) {
  const Classes classes = judge_each(batch, labels, options, chunk, workspace);
  const bool both = classes.anomalous > 0 && classes.anomalous < batch.bags;
  // The reductions are barriers, too, but without this one ptxas spills registers.
  __syncthreads();  // slopes and energies of other threads are complete
  double ranking = 0.0;
  if (both && options.pairing == Pairing::kBatchMean) {
    ranking = rank_means(batch, labels, options, classes, workspace);
  } else if (both && options.pairing == Pairing::kOneToOne) {
    ranking = rank_one_to_one(batch, labels, options, classes, workspace);
  }
  if (threadIdx.x == 0) {
    terms[0] = static_cast<float>(classes.mil / static_cast<double>(batch.bags));
    terms[1] = static_cast<float>(ranking);
  }
}

// The hinges of one bag with all bags of the other class: its slope and its share of the loss.
__global__ void __launch_bounds__(kPairThreads)
    pairs_kernel(const Batch batch, const bool* __restrict__ labels, const Options options,
                 const Workspace workspace) {
  const int64_t bag = blockIdx.x;
  const bool anomalous = labels[bag];
  const double energy = workspace.energies[bag];
  double loss = 0.0;
  double active = 0.0;
  int64_t partners = 0;
  for (int64_t other = threadIdx.x; other < batch.bags; other += kPairThreads) {
    if (labels[other] == anomalous) continue;
    const double e_a = anomalous ? energy : workspace.energies[other];
    const double e_n = anomalous ? workspace.energies[other] : energy;
    loss += hinge(options.margin, e_a, e_n);
    active += hinge_slope(options.margin, e_a, e_n);
    ++partners;
  }
  loss = reduce<kPairThreads>(loss, Add{});
  active = reduce<kPairThreads>(active, Add{});
  partners = reduce<kPairThreads>(partners, Add{});
  if (threadIdx.x != 0) return;
  const double pairs = static_cast<double>(partners) * static_cast<double>(batch.bags - partners);
  const bool counts = anomalous && partners > 0;  // every pair once
  workspace.pair_losses[bag] = counts ? loss / pairs : 0.0;
  const double slope = partners > 0 ? active / pairs : 0.0;
  workspace.slopes[bag].ranking = ranking_slope(batch, options, bag, anomalous ? -slope : slope);
}

}  // namespace

void judge_bags(const Batch& batch, const bool* labels, const Options& options, int64_t chunk,
                const Workspace& workspace, cudaStream_t stream, float* terms) {
  using ladnet::gpu::launch_checked;
  launch_checked("judge_kernel", judge_kernel, dim3(1), kJudgeThreads, stream, batch, labels,
                 options, chunk, workspace, terms);
  if (options.pairing != Pairing::kAllPairs) return;
  launch_checked("pairs_kernel", pairs_kernel, dim3(static_cast<unsigned>(batch.bags)),
                 kPairThreads, stream, batch, labels, options, workspace);
}

}  // namespace ladnet::ddl::gpu
