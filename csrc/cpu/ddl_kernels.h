// The serial pieces of the losses, compiled once per instruction set.
//
// ddl.cpp cuts the work into chunks, runs them on threads and adds up what they return; nothing
// here allocates, throws or knows of threads. A is the accumulation type, float or double.
#pragma once

#include <stdint.h>

#include "core/ddl_elements.h"

namespace ladnet::ddl {

// Rows of a bag, of one of the types that features come in.
struct Rows {
  const void* data;  // row 0 of the bag
  int64_t stride;    // elements from row to row
  int64_t width;     // elements in a row
  int64_t padded;    // elements in a row of scratch: width rounded up to kRowMultiple
};

// Rows that are measured together, fewer where they are so wide that more would leave the
// first-level cache.
constexpr int kRowGroup = 8;
constexpr int64_t row_group(int64_t padded) {
  return padded <= 256 ? kRowGroup : padded <= 512 ? 4 : padded < 1024 ? 2 : 1;
}

// Three groups and the two rows before them: one that is measured, one whose steps are, and one
// whose gradient is written. A power of two. The feature kernels need as many rows of scratch, each
// `padded` long and aligned to a vector.
constexpr int kMostWindowRows = 4 * kRowGroup;
constexpr int64_t window_rows(int64_t padded) {
  return row_group(padded) == 1 ? 8 : 4 * row_group(padded);
}

// Elements in the widest vector of any type and instruction set.
constexpr int64_t kRowMultiple = 16;

// What the slope of the alignment loss on a bag's steps comes from: `weight` times d alignment / d
// df.
template <class A>
struct AlignmentScores {
  const A* scores;  // of the bag
  A eps;
  A weight;
};

template <class A>
struct FeatureKernels {
  // dynamics[t] = df of snippets t and t + 1, for t in [begin, end); reads rows begin .. end.
  void (*dynamics)(const Rows& rows, int64_t begin, int64_t end, A* dynamics, A* scratch);

  // Rows [begin, end) of the gradient of sum_t slopes[t] df_t, where t runs over the steps
  // begin - 1 .. end - 1: slopes[i] belongs to step begin - 1 + i, 0 where the bag has no such
  // step. `out` is row begin of the gradient, rows `width` apart, in the features' type; `stream`
  // writes past the caches.
  void (*gradient)(const Rows& rows, int64_t length, int64_t begin, int64_t end, const A* slopes,
                   bool stream, void* out, A* scratch);

  // Both at once, for rows and steps [begin, end): the features are read once. dynamics[t] of a
  // bag's last snippet is left alone.
  void (*both)(const Rows& rows, int64_t length, int64_t begin, int64_t end,
               const AlignmentScores<A>& alignment, A* dynamics, bool stream, void* out,
               A* scratch);
};

// What the gradient with respect to the scores of one bag needs; see ScoreKernels::finish.
template <class A>
struct BagSlopes {
  int64_t length;
  Cut<A> mil;          // over scores
  A mil_slope;         // d mil / d(chosen score)
  Cut<A> ranking;      // over steps, by ds^2
  A ranking_slope;     // d ranking / d(chosen ds^2)
  A alignment_weight;  // of a step in the alignment loss: 1 / ((t - 1) N)
  A eps;
};

// Where a bag's gradients are written; all null if they are not needed.
template <class A>
struct ScoreGradients {
  A* mil;
  A* ranking;
  A* alignment;
  bool detached;  // the alignment loss sends no gradient to the scores: write zeros
};

template <class A>
struct ScoreKernels {
  // Keys in the order of the scores, and of ds^2 for `count` steps (count + 1 scores).
  void (*score_keys)(const A* scores, int64_t count, Key<A>* keys);
  void (*step_keys)(const A* scores, int64_t count, Key<A>* keys);

  void (*key_range)(const Key<A>* keys, int64_t count, Key<A>* low, Key<A>* high);
  int64_t (*count_at_least)(const Key<A>* keys, int64_t count, Key<A> threshold);

  // Sum of the values of the chosen keys; keys[0] has index `first` in its bag.
  double (*sum_chosen)(const Key<A>* keys, int64_t count, int64_t first, Cut<A> cut);

  // Steps [begin, end) of a bag: returns the sum of -ds log(df + eps) and writes the gradients
  // of the three terms for scores [begin, end). Arrays start at the bag's first snippet.
  double (*finish)(const BagSlopes<A>& bag, const A* scores, const A* dynamics, int64_t begin,
                   int64_t end, const ScoreGradients<A>& out);

  // slopes[i] of step begin - 1 + i, i = 0 .. end - begin: `weight` times d alignment / d df,
  // 0 where the bag has no such step.
  void (*alignment_slopes)(const A* scores, const A* dynamics, int64_t length, int64_t begin,
                           int64_t end, A eps, A weight, A* slopes);

  // out = sum over the three terms of grads[i] * rows[i]; a term without gradient adds nothing.
  void (*combine)(const A* const rows[3], const A grads[3], int64_t count, A* out);
};

// One of each per instruction set: cpu/ddl_features_isa.cpp and cpu/ddl_scores_isa.cpp.
struct FeatureTable {
  FeatureKernels<float> float32;
  FeatureKernels<double> float64;
  FeatureKernels<float> bfloat16;
  FeatureKernels<float> float16;
};

struct ScoreTable {
  ScoreKernels<float> float32;
  ScoreKernels<double> float64;
};

}  // namespace ladnet::ddl
