// Exact top-k of a bag, the lowest index first among equals.
#pragma once

#include "cpu/ddl_kernels.h"

namespace ladnet::ddl {

// What a top-k chose, and the sum of the chosen values.
template <class A>
struct Chosen {
  Cut<A> cut;
  double sum;
};

// The `k` largest of `count` keys, 0 <= k <= count. The same bits for any number of threads.
template <class A>
Chosen<A> choose_largest(const Key<A>* keys, int64_t count, int64_t k, int threads,
                         const ScoreKernels<A>& kernels);

extern template Chosen<float> choose_largest(const Key<float>*, int64_t, int64_t, int,
                                             const ScoreKernels<float>&);
extern template Chosen<double> choose_largest(const Key<double>*, int64_t, int64_t, int,
                                              const ScoreKernels<double>&);

}  // namespace ladnet::ddl
