// The launch between top-k and derivatives, where there are more bags than a block of the last
// launch judges by itself, or where every bag has a hinge of its own.
#include "cuda/block.cuh"
#include "cuda/ddl_judge.cuh"
#include "cuda/ddl_kernels.h"
#include "cuda/ddl_layout.cuh"
#include "cuda/launch.h"

namespace ladnet::ddl::gpu {
namespace {

using ladnet::gpu::block_scan;
using ladnet::gpu::Scan;

// d ranking / d(chosen ds^2), from d ranking / dE.
__device__ __forceinline__ float ranking_slope(const Judged& given, int64_t bag, double slope) {
  const int64_t length = bag_span(given.batch, bag).length;
  const int64_t count = ranking_count(length, given.options.topk_divisor, given.options.select);
  return count > 0 ? static_cast<float>(slope / static_cast<double>(count)) : 0.0f;
}

// Hinges between the i-th anomalous and the i-th normal bag.
__device__ __forceinline__ double rank_one_to_one(const Judged& given, const Classes& classes,
                                                  const Workspace& workspace) {
  const int64_t bags = given.batch.bags;
  const int64_t each = (bags + kJudgeThreads - 1) / kJudgeThreads;
  const int64_t begin = clamp(threadIdx.x * each, 0, bags);
  const int64_t end = clamp(begin + each, 0, bags);
  int64_t anomalous = 0;
  for (int64_t bag = begin; bag < end; ++bag) anomalous += given.labels[bag] ? 1 : 0;
  const Scan<int64_t> scan = block_scan<kJudgeThreads>(anomalous);
  int64_t next_anomalous = scan.before;
  int64_t next_normal = scan.total + begin - scan.before;
  for (int64_t bag = begin; bag < end; ++bag) {
    workspace.order[given.labels[bag] ? next_anomalous++ : next_normal++] = bag;
  }
  __syncthreads();

  const int64_t normal = bags - classes.anomalous;
  const int64_t pairs = classes.anomalous < normal ? classes.anomalous : normal;
  const double margin = given.options.margin;
  double loss = 0.0;
  for (int64_t i = threadIdx.x; i < pairs; i += kJudgeThreads) {
    const int64_t a = workspace.order[i];
    const int64_t n = workspace.order[classes.anomalous + i];
    const double e_a = workspace.energies[a];
    const double e_n = workspace.energies[n];
    const double slope = hinge_slope(margin, e_a, e_n) / static_cast<double>(pairs);
    loss += hinge(margin, e_a, e_n);
    workspace.slopes[a].ranking = ranking_slope(given, a, -slope);
    workspace.slopes[n].ranking = ranking_slope(given, n, slope);
  }
  loss = reduce<kJudgeThreads>(loss, Add{});
  return pairs > 0 ? loss / static_cast<double>(pairs) : 0.0;
}

// One block: the pieces are small, and each needs all bags.
template <bool kOneToOne>
__global__ void __launch_bounds__(kJudgeThreads, 1)
    judge_kernel(const Batch batch, const bool* __restrict__ labels, const Options options,
                 const int64_t chunk, const Workspace workspace, float* __restrict__ terms) {
  const Judged given{batch, labels, options, chunk};
  const int64_t bags = given.batch.bags;
  Classes own{};
  for (int64_t bag = threadIdx.x; bag < bags; bag += kJudgeThreads) {
    const Verdict verdict = verdict_of(given, bag, workspace);
    own.add(verdict);
    own.mil += cross_entropy_of(verdict);
    workspace.slopes[bag] = slopes_of(given, verdict, 0.0);
    if (kOneToOne) workspace.energies[bag] = verdict.energy;
  }
  const Classes classes = reduce_classes<kJudgeThreads>(own);
  double ranking;
  if constexpr (kOneToOne) {
    ranking = rank_one_to_one(given, classes, workspace);
  } else {
    const MeanHinge hinge = hinge_of_means(given, classes);
    ranking = hinge.loss;
    for (int64_t bag = threadIdx.x; bag < bags; bag += kJudgeThreads) {
      const double slope = given.labels[bag] ? hinge.anomalous : hinge.normal;
      workspace.slopes[bag].ranking = ranking_slope(given, bag, slope);
    }
  }
  if (threadIdx.x == 0) {
    terms[0] = static_cast<float>(classes.mil / static_cast<double>(bags));
    terms[1] = static_cast<float>(ranking);
  }
}

// The hinges of one bag with all bags of the other class: its slope and its share of the loss.
__global__ void __launch_bounds__(kPairThreads, 8)
    pairs_kernel(const Batch batch, const bool* __restrict__ labels, const Options options,
                 const int64_t chunk, const Workspace workspace, float* __restrict__ terms) {
  const Judged given{batch, labels, options, chunk};
  const int64_t bag = blockIdx.x;
  const int64_t bags = given.batch.bags;
  const double margin = given.options.margin;
  const Verdict own = verdict_of(given, bag, workspace);
  double mil = 0.0;
  double loss = 0.0;
  double active = 0.0;
  int64_t partners = 0;
  for (int64_t other = threadIdx.x; other < bags; other += kPairThreads) {
    if (bag == 0) mil += cross_entropy_of(verdict_of(given, other, workspace));
    if (given.labels[other] == own.anomalous) continue;
    const double energy = energy_of(given, other, bag_span(given.batch, other).length, workspace);
    const double e_a = own.anomalous ? own.energy : energy;
    const double e_n = own.anomalous ? energy : own.energy;
    loss += hinge(margin, e_a, e_n);
    active += hinge_slope(margin, e_a, e_n);
    ++partners;
  }
  loss = reduce<kPairThreads>(loss, Add{});
  active = reduce<kPairThreads>(active, Add{});
  partners = reduce<kPairThreads>(partners, Add{});
  if (bag == 0) {  // the same for the whole block
    mil = reduce<kPairThreads>(mil, Add{});
    if (threadIdx.x == 0) terms[0] = static_cast<float>(mil / static_cast<double>(bags));
  }
  if (threadIdx.x != 0) return;
  const double pairs = static_cast<double>(partners) * static_cast<double>(bags - partners);
  const bool counts = own.anomalous && partners > 0;  // every pair once
  workspace.pair_losses[bag] = counts ? loss / pairs : 0.0;
  const double slope = partners > 0 ? active / pairs : 0.0;
  workspace.slopes[bag] = slopes_of(given, own, own.anomalous ? -slope : slope);
}

}  // namespace

void judge_bags(const Judged& given, const Workspace& workspace, cudaStream_t stream,
                float* terms) {
  using ladnet::gpu::launch_checked;
  if (given.options.pairing == Pairing::kAllPairs) {
    launch_checked("pairs_kernel", pairs_kernel, dim3(static_cast<unsigned>(given.batch.bags)),
                   kPairThreads, stream, given.batch, given.labels, given.options, given.chunk,
                   workspace, terms);
    return;
  }
  const bool one_to_one = given.options.pairing == Pairing::kOneToOne;
  const auto kernel = one_to_one ? judge_kernel<true> : judge_kernel<false>;
  launch_checked("judge_kernel", kernel, dim3(1), kJudgeThreads, stream, given.batch, given.labels,
                 given.options, given.chunk, workspace, terms);
}

}  // namespace ladnet::ddl::gpu
