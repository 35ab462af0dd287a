// The stages of both passes: host functions that launch one kernel or a few, each in its own file.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#include "cuda/ddl.h"
#include "cuda/ddl_workspace.h"

namespace ladnet::ddl::gpu {

// Pieces of `finish`, each of which adds up its part of the alignment loss.
int64_t count_parts(const Batch& batch);

// Whether a bag may be longer than a chunk, as far as shapes tell.
inline bool may_split(const Batch& batch, const Tuning& tuning) {
  return batch.T > tuning.chunk;
}

// ---- Features: instantiated for float, BFloat16 and Float16 ------------------------------------

// dynamics[s] = df of snippets s and s + 1, 0 where a bag has no such step.
template <class F>
void measure_dynamics(const Batch& batch, int64_t strip, cudaStream_t stream, float* dynamics);

// Both gradients: grad_scores from score_grads, grad_features from the features and their dynamics.
template <class F>
void differentiate(const Batch& batch, float eps, int64_t strip, cudaStream_t stream,
                   const float* grad_terms, const float* score_grads, const float* dynamics,
                   float* grad_scores, F* grad_features);

// ---- Scores ------------------------------------------------------------------------------------

// grad_scores alone.
void combine_score_grads(const Batch& batch, cudaStream_t stream, const float* grad_terms,
                         const float* score_grads, float* grad_scores);

// Top-k of scores and of dynamics: workspace.selections[].cut and workspace.sums.
void select_largest(const Batch& batch, const bool* labels, const Options& options, int64_t chunk,
                    bool split, const Workspace& workspace, cudaStream_t stream);

// terms[0] and, but for all_pairs (which leaves pair_losses), terms[1]; workspace.slopes.
void judge_bags(const Batch& batch, const bool* labels, const Options& options, int64_t chunk,
                const Workspace& workspace, cudaStream_t stream, float* terms);

// The rest of the terms, and score_grads unless null.
void finish(const Batch& batch, const Options& options, const Workspace& workspace,
            cudaStream_t stream, const float* dynamics, float* terms, float* score_grads);

}  // namespace ladnet::ddl::gpu
