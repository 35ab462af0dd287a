// From what was chosen in a bag to its cross entropy, its energy and the derivatives of the terms.
//
// Sums are in double: there are few of them, and hinges sit close to their kink.
#pragma once

#include "cuda/ddl_layout.cuh"
#include "cuda/ddl_workspace.h"

namespace ladnet::ddl::gpu {

// What all kernels that judge bags take.
struct Judged {
  Batch batch;
  const bool* labels;
  Options options;
  int64_t chunk;
};

// What was chosen in one bag.
struct Verdict {
  bool anomalous;
  int64_t length;
  int64_t chosen;  // scores
  double p;        // their mean
  double energy;   // mean of the chosen ds^2
};

// Sum of the chosen scores or ds^2 of a bag, over its chunks.
__device__ __forceinline__ double sum_of_bag(const Judged& given, int64_t bag, int64_t count,
                                             int quantity, const Workspace& workspace) {
  const double* const sums =
      workspace.sums + quantity * workspace.slots + first_slot(given.batch, bag, given.chunk);
  double sum = sums[0];  // also of a bag without steps: 0
#pragma unroll 4
  for (int64_t i = 1; i < chunks_of(count, given.chunk); ++i) sum += sums[i];
  return sum;
}

__device__ __forceinline__ double energy_of(const Judged& given, int64_t bag, int64_t length,
                                            const Workspace& workspace) {
  const int64_t steps = ranking_count(length, given.options.topk_divisor, given.options.select);
  if (steps <= 0) return 0.0;
  return sum_of_bag(given, bag, length - 1, kDynamics, workspace) / static_cast<double>(steps);
}

__device__ __forceinline__ Verdict verdict_of(const Judged& given, int64_t bag,
                                              const Workspace& workspace) {
  const int64_t length = bag_span(given.batch, bag).length;
  const bool anomalous = given.labels[bag];
  // An empty bag, which only checked calls refuse, has no score: 0 / 0 makes MIL NaN.
  const int64_t chosen = length > 0 ? mil_count(length, given.options.topk_divisor, anomalous) : 0;
  const double sum = sum_of_bag(given, bag, length, kScores, workspace);
  return {anomalous, length, chosen, sum / static_cast<double>(chosen),
          energy_of(given, bag, length, workspace)};
}

__device__ __forceinline__ double cross_entropy_of(const Verdict& verdict) {
  return cross_entropy(verdict.p, verdict.anomalous ? 1.0 : 0.0);
}

// The derivatives by one bag, from d ranking / dE.
__device__ __forceinline__ BagSlopes slopes_of(const Judged& given, const Verdict& verdict,
                                               double ranking) {
  const double N = static_cast<double>(given.batch.bags);
  const double weight =
      verdict.length > 1 ? 1.0 / (static_cast<double>(verdict.length - 1) * N) : 0.0;
  const double y = verdict.anomalous ? 1.0 : 0.0;
  const double mil = cross_entropy_slope(verdict.p, y) / (N * static_cast<double>(verdict.chosen));
  const int64_t steps =
      ranking_count(verdict.length, given.options.topk_divisor, given.options.select);
  const double each = steps > 0 ? ranking / static_cast<double>(steps) : 0.0;
  return {weight, static_cast<float>(weight), static_cast<float>(mil), static_cast<float>(each)};
}

// What all bags have in common.
struct Classes {
  double mil;  // sum of the cross entropies
  int64_t anomalous;
  double e_anomalous;  // sums of the energies
  double e_normal;

  __device__ __forceinline__ void add(const Verdict& verdict) {
    anomalous += verdict.anomalous ? 1 : 0;
    (verdict.anomalous ? e_anomalous : e_normal) += verdict.energy;
  }
};

template <int kThreads>
__device__ __forceinline__ Classes reduce_classes(const Classes& own) {
  return {reduce<kThreads>(own.mil, Add{}), reduce<kThreads>(own.anomalous, Add{}),
          reduce<kThreads>(own.e_anomalous, Add{}), reduce<kThreads>(own.e_normal, Add{})};
}

// Hinge between the means of the classes, and d ranking / dE of a bag of each.
struct MeanHinge {
  double loss;
  double anomalous;
  double normal;
};

__device__ __forceinline__ MeanHinge hinge_of_means(const Judged& given, const Classes& classes) {
  if (classes.anomalous == 0 || classes.anomalous == given.batch.bags) return {0.0, 0.0, 0.0};
  const double margin = given.options.margin;
  const double anomalous = static_cast<double>(classes.anomalous);
  const double normal = static_cast<double>(given.batch.bags - classes.anomalous);
  const double e_anomalous = classes.e_anomalous / anomalous;
  const double e_normal = classes.e_normal / normal;
  const double slope = hinge_slope(margin, e_anomalous, e_normal);
  return {hinge(margin, e_anomalous, e_normal), -slope / anomalous, slope / normal};
}

}  // namespace ladnet::ddl::gpu
