// The losses of discriminative dynamics learning on a CPU: what the bindings call.
//
// Pointers and sizes have been checked by the Python that calls. Scores, gradients and terms have
// the accumulation type: double beside double features, else float.
#pragma once

#include <stdint.h>

#include "core/ddl_elements.h"
#include "core/dtype.h"

namespace ladnet::ddl {

// Padded bags of T snippets each, or (with cu_seqlens) bags packed into T snippets.
struct Batch {
  int64_t bags;
  int64_t T;
  int64_t width;              // C
  const void* scores;         // (bags, T) or (T,), contiguous
  const void* features;       // (bags, T, C) or (T, C)
  Dtype dtype;                // of the features
  int64_t batch_stride;       // elements from bag to bag; unused when packed
  int64_t row_stride;         // elements from snippet to snippet
  const int64_t* lengths;     // (bags,) or null
  const int64_t* cu_seqlens;  // (bags + 1,) or null

  int64_t snippets() const { return cu_seqlens != nullptr ? T : bags * T; }
};

struct Options {
  double margin;
  double eps;
  int64_t topk_divisor;
  Pairing pairing;
  Select select;
  Detach detach;
};

// Writes terms[3] (MIL, ranking, alignment), score_grads (3, snippets) unless null, and
// feature_dynamics (snippets). Throws std::bad_alloc.
void forward(const Batch& batch, const bool* labels, const Options& options, int threads,
             void* terms, void* score_grads, void* feature_dynamics);

// Writes grad_scores (snippets) and grad_features (snippets, C), the latter in the features' type,
// from what forward left behind. Throws std::bad_alloc.
void backward(const Batch& batch, double eps, Detach detach, int threads, const void* grad_terms,
              const void* score_grads, const void* feature_dynamics, void* grad_scores,
              void* grad_features);

}  // namespace ladnet::ddl
