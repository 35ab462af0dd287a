// The stages of both passes: host functions that launch one kernel or a few, each in its own file.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#include "cuda/ddl.h"
#include "cuda/ddl_judge.cuh"
#include "cuda/ddl_plan.h"
#include "cuda/ddl_workspace.h"

namespace ladnet::ddl::gpu {

// ---- Features: instantiated for float, BFloat16 and Float16 ------------------------------------

// dynamics[s] = df of snippets s and s + 1, 0 where a bag has no such step. Beside that, the top-k
// of scores and of ds^2: workspace.selections[].cut and workspace.sums.
template <class F>
void measure(const Batch& batch, const bool* labels, const Options& options, const Plan& plan,
             const Workspace& workspace, cudaStream_t stream, float* dynamics);

// Both gradients: grad_scores from score_grads, grad_features from the features and their dynamics.
template <class F>
void differentiate(const Batch& batch, float eps, const Plan& plan, cudaStream_t stream,
                   const float* grad_terms, const float* score_grads, const float* dynamics,
                   float* grad_scores, F* grad_features);

// ---- Scores ------------------------------------------------------------------------------------

// grad_scores, and zeros for the gradient of the features.
void combine_score_grads(const Batch& batch, const Plan& plan, cudaStream_t stream,
                         const float* grad_terms, const float* score_grads, float* grad_scores,
                         void* grad_features);

// Where `finish` does not do it by itself (judges_in_finish): workspace.slopes, terms[0], and
// terms[1] but for all_pairs, which leaves pair_losses.
void judge_bags(const Judged& given, const Workspace& workspace, cudaStream_t stream, float* terms);

// The rest of the terms, and score_grads unless null.
void finish(const Judged& given, const Plan& plan, const Workspace& workspace, cudaStream_t stream,
            const float* dynamics, float* terms, float* score_grads);

}  // namespace ladnet::ddl::gpu
