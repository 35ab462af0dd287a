// The losses of discriminative dynamics learning on a CPU: what the bindings call.
//
// Pointers and sizes have been checked by the Python that calls. Scores, gradients and terms have
// the accumulation type: double beside double features, else float.
#pragma once

#include <stdint.h>

#include "core/ddl_batch.h"

namespace ladnet::ddl {

// Writes terms[3] (MIL, ranking, alignment), score_grads (3, snippets) unless null, and
// feature_dynamics (snippets); unless it is null also grad_features, to the bits that backward
// writes where the alignment's gradient is grad_alignment. Throws std::bad_alloc.
void forward(const Batch& batch, const bool* labels, const Options& options, int threads,
             void* terms, void* score_grads, void* feature_dynamics, double grad_alignment = 0.0,
             void* grad_features = nullptr);

// Writes grad_scores (snippets) and, unless it is null, grad_features (snippets, C), the latter in
// the features' type, from what forward left behind. Throws std::bad_alloc.
void backward(const Batch& batch, double eps, Detach detach, int threads, const void* grad_terms,
              const void* score_grads, const void* feature_dynamics, void* grad_scores,
              void* grad_features);

}  // namespace ladnet::ddl
