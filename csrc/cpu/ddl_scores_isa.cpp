// Losses, the part that works on scores: keys of the top-k, its counts, alignment and gradients.
//
// Compiled once per instruction set. Every loop is written for the compiler's vectoriser: no
// branch, no call, sums in a fixed number of lanes (the order must not depend on the width of a
// vector, nor the result on the instruction set).

#include "cpu/ddl_isa.h"

namespace ladnet::ddl::LADNET_ISA {
namespace {

constexpr int kLanes = 16;
constexpr int64_t kBlock = 256;

// A sum in a fixed order.
struct LaneSum {
  double lane[kLanes] = {};

  template <class A>
  void add(const A* values, int64_t count) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (int j = 0; j < kLanes; ++j) lane[j] += double(values[i + j]);
    }
    for (int j = 0; i + j < count; ++j) lane[j] += double(values[i + j]);
  }

  double total() const {
    double sum = 0.0;
    for (int j = 0; j < kLanes; ++j) sum += lane[j];
    return sum;
  }
};

template <class A>
LADNET_HOST_DEVICE Key<A> step_key(A here, A next) {
  const A ds = here - next;
  return order_key(ds * ds);
}

template <class A>
void score_keys(const A* scores, int64_t count, Key<A>* keys) {
  for (int64_t i = 0; i < count; ++i) keys[i] = order_key(scores[i]);
}

template <class A>
void step_keys(const A* scores, int64_t count, Key<A>* keys) {
  for (int64_t i = 0; i < count; ++i) keys[i] = step_key(scores[i], scores[i + 1]);
}

template <class A>
void key_range(const Key<A>* keys, int64_t count, Key<A>* low, Key<A>* high) {
  Key<A> least = keys[0];
  Key<A> most = keys[0];
  for (int64_t i = 1; i < count; ++i) {
    least = keys[i] < least ? keys[i] : least;
    most = keys[i] > most ? keys[i] : most;
  }
  *low = least;
  *high = most;
}

template <class A>
int64_t count_at_least(const Key<A>* keys, int64_t count, Key<A> threshold) {
  Key<A> found = 0;  // of the keys' width, so that lanes need no widening; count is a chunk's
  for (int64_t i = 0; i < count; ++i) found += keys[i] >= threshold;
  return found;
}

// A cut as the elements first .. first + size - 1 see it, with an index that fits a vector's lane.
template <class A>
struct LocalCut {
  Key<A> threshold;
  int last_tie;

  LocalCut(const Cut<A>& cut, int64_t first, int64_t size) : threshold(cut.threshold) {
    const int64_t last = cut.last_tie - first;
    last_tie = int(last < -1 ? -1 : (last > size ? size : last));
  }
};

template <class A>
double sum_chosen(const Key<A>* keys, int64_t count, int64_t first, Cut<A> cut) {
  LaneSum sum;
  A values[kBlock];
  for (int64_t start = 0; start < count; start += kBlock) {
    const int size = int(count - start < kBlock ? count - start : kBlock);
    const Key<A>* block = keys + start;
    const LocalCut<A> local(cut, first + start, size);
    for (int i = 0; i < size; ++i) {
      values[i] =
          is_chosen(local.threshold, local.last_tie, block[i], i) ? key_value<A>(block[i]) : A(0);
    }
    sum.add(values, size);
  }
  return sum.total();
}

// Slopes of one block of steps, with room for the step before it.
template <class A>
struct Block {
  A ranking[kBlock + 1];
  A alignment[kBlock + 1];
  A loss[kBlock + 1];
};

// Fills entries [from, to) of a block; entry i is step first + i of the bag.
template <class A>
void step_slopes(const BagSlopes<A>& bag, const A* scores, const A* dynamics, int64_t first,
                 int from, int to, Block<A>& block) {
  const LocalCut<A> cut(bag.ranking, first, to);
  const A eps = bag.eps;
  const A weight = bag.alignment_weight;
  const A slope = bag.ranking_slope;
  for (int i = from; i < to; ++i) {
    const A u = scores[first + i] - scores[first + i + 1];
    const A log_df = natural_log(dynamics[first + i] + eps);
    const bool chosen = is_chosen(cut.threshold, cut.last_tie, order_key(u * u), i);
    block.ranking[i] = chosen ? slope * (u + u) : A(0);
    block.alignment[i] = -weight * log_df * sign(u);
    block.loss[i] = -magnitude(u) * log_df;
  }
}

template <class A>
double finish(const BagSlopes<A>& bag, const A* scores, const A* dynamics, int64_t begin,
              int64_t end, const ScoreGradients<A>& out) {
  LaneSum sum;
  Block<A> block;
  const int64_t steps = bag.length - 1;
  for (int64_t start = begin; start < end; start += kBlock) {
    const int size = int(end - start < kBlock ? end - start : kBlock);
    // Entry i of the block is step start - 1 + i: the gradient needs the step before.
    const int from = start == 0 ? 1 : 0;
    const int to = start + size <= steps ? size + 1 : int(steps - start) + 1;
    if (from == 1) block.ranking[0] = block.alignment[0] = A(0);
    for (int i = to; i <= size; ++i) block.ranking[i] = block.alignment[i] = A(0);
    step_slopes(bag, scores, dynamics, start - 1, from, to, block);
    sum.add(block.loss + 1, to - 1);
    if (out.mil == nullptr) continue;

    const LocalCut<A> cut(bag.mil, start, size);
    const A* s = scores + start;
    for (int i = 0; i < size; ++i) {
      const bool chosen = is_chosen(cut.threshold, cut.last_tie, order_key(s[i]), i);
      out.mil[start + i] = chosen ? bag.mil_slope : A(0);
    }
    for (int i = 0; i < size; ++i) {
      out.ranking[start + i] = block.ranking[i + 1] - block.ranking[i];
    }
    const A attached = out.detached ? A(0) : A(1);
    for (int i = 0; i < size; ++i) {
      out.alignment[start + i] = attached * (block.alignment[i + 1] - block.alignment[i]);
    }
  }
  return sum.total();
}

template <class A>
void alignment_slopes(const A* scores, const A* dynamics, int64_t length, int64_t begin,
                      int64_t end, A eps, A weight, A* slopes) {
  const int64_t size = end - begin;
  const int64_t from = begin == 0 ? 1 : 0;
  const int64_t to = end < length ? size + 1 : length - begin;
  if (from == 1) slopes[0] = A(0);
  for (int64_t i = to; i <= size; ++i) slopes[i] = A(0);
  const int64_t first = begin - 1;
  for (int64_t i = from; i < to; ++i) {
    const A ds = magnitude(scores[first + i] - scores[first + i + 1]);
    slopes[i] = weight * alignment_slope(ds, dynamics[first + i], eps);
  }
}

template <class A>
void combine(const A* const rows[3], const A grads[3], int64_t count, A* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = A(0);
  for (int term = 0; term < 3; ++term) {
    const A grad = grads[term];
    if (grad == A(0)) continue;
    for (int64_t i = 0; i < count; ++i) out[i] += grad * rows[term][i];
  }
}

template <class A>
constexpr ScoreKernels<A> kernels() {
  return {score_keys<A>, step_keys<A>, key_range<A>,        count_at_least<A>,
          sum_chosen<A>, finish<A>,    alignment_slopes<A>, combine<A>};
}

}  // namespace

const ScoreTable score_kernels = {kernels<float>(), kernels<double>()};

}  // namespace ladnet::ddl::LADNET_ISA
