// Forward pass of the losses: dynamics of the features, top-k per bag, terms and score gradients.
#include <algorithm>
#include <numeric>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/ddl.h"
#include "cpu/ddl_plan.h"
#include "cpu/ddl_ranking.h"
#include "cpu/ddl_topk.h"
#include "cpu/parallel.h"

namespace ladnet::ddl {
namespace {

// All threads work on one bag that is longer than this; each thread takes whole shorter bags.
constexpr int64_t kLongBag = 1 << 16;

// Snippets a thread takes at a time in the last pass.
constexpr int64_t kFinishChunk = 4096;

// Features -> dynamics, 0 where a snippet has no successor.
template <class A>
void measure_dynamics(const Batch& batch, const Plan& plan, int threads, A* dynamics) {
  const FeatureKernels<A>& kernels = feature_kernels_for<A>(batch.dtype);
  const int64_t scratch_size =
      checked_product(window_rows(plan.padded_width()), plan.padded_width());
  const Buffer scratch(buffer_bytes(sizeof(A), scratch_size, threads));
  const std::vector<Chunk> chunks = plan.chunks(plan.rows_per_chunk());
  parallel_owned(int64_t(chunks.size()), threads, [&](int64_t item, int thread) {
    const Chunk& chunk = chunks[size_t(item)];
    const Bag& bag = plan.bags()[size_t(chunk.bag)];
    A* const out = dynamics + plan.offset(bag);
    const int64_t steps_end = std::min(chunk.end, bag.length - 1);
    kernels.dynamics(plan.rows(bag), chunk.begin, steps_end, out,
                     scratch.as<A>() + thread * scratch_size);
    std::fill(out + std::max(chunk.begin, steps_end), out + chunk.end, A(0));
  });
}

// The same, and the gradient of the alignment with respect to the features times `grad_alignment`.
template <class A>
void measure_and_differentiate(const Batch& batch, const Plan& plan, A eps, A grad_alignment,
                               int threads, A* dynamics, void* grad_features) {
  const FeatureKernels<A>& kernels = feature_kernels_for<A>(batch.dtype);
  const A* const scores = static_cast<const A*>(batch.scores);
  const FeatureGradient gradient(batch, plan, threads, grad_features);
  const int64_t scratch_size =
      checked_product(window_rows(plan.padded_width()), plan.padded_width());
  const Buffer scratch(buffer_bytes(sizeof(A), scratch_size, threads));
  const std::vector<Chunk> chunks = plan.chunks(gradient.rows_per_chunk());
  parallel_owned(int64_t(chunks.size()), threads, [&](int64_t item, int thread) {
    const Chunk& chunk = chunks[size_t(item)];
    const Bag& bag = plan.bags()[size_t(chunk.bag)];
    const int64_t offset = plan.offset(bag);
    A* const out = dynamics + offset;
    const int64_t end = std::min(chunk.end, bag.length);
    if (chunk.begin < end) {
      kernels.both(plan.rows(bag), bag.length, chunk.begin, end,
                   {scores + offset, eps, alignment_weight(bag, batch, grad_alignment)}, out,
                   gradient.stream(), gradient.row(offset + chunk.begin),
                   scratch.as<A>() + thread * scratch_size);
    }
    const int64_t steps_end = std::min(chunk.end, bag.length - 1);
    std::fill(out + std::max(chunk.begin, steps_end), out + chunk.end, A(0));
    gradient.clear(offset + std::max(chunk.begin, end), offset + chunk.end);
  });
}

// A bag's contributions to the terms that depend on its scores alone.
template <class A>
struct BagScores {
  Chosen<A> mil;
  int64_t mil_count;
  Chosen<A> ranking;
  int64_t ranking_count;

  double probability() const { return mil.sum / double(mil_count); }
  double energy() const { return ranking_count == 0 ? 0.0 : ranking.sum / double(ranking_count); }
};

// `keys` has room for bag.length keys.
template <class A>
BagScores<A> choose(const A* scores, int64_t length, bool anomalous, const Options& options,
                    int threads, Key<A>* keys) {
  const ScoreKernels<A>& kernels = score_kernels_for<A>();
  BagScores<A> result;
  result.mil_count = mil_count(length, options.topk_divisor, anomalous);
  kernels.score_keys(scores, length, keys);
  result.mil = choose_largest(keys, length, result.mil_count, threads, kernels);
  result.ranking_count = ranking_count(length, options.topk_divisor, options.select);
  kernels.step_keys(scores, length - 1, keys);
  result.ranking = choose_largest(keys, length - 1, result.ranking_count, threads, kernels);
  return result;
}

template <class A>
std::vector<BagScores<A>> choose_all(const Plan& plan, const A* scores, const bool* labels,
                                     const Options& options, int threads) {
  const std::vector<Bag>& bags = plan.bags();
  std::vector<int64_t> long_bags;
  int64_t longest = 1;
  int64_t longest_short = 1;
  for (size_t i = 0; i < bags.size(); ++i) {
    longest = std::max(longest, bags[i].length);
    if (bags[i].length > kLongBag) {
      long_bags.push_back(int64_t(i));
    } else {
      longest_short = std::max(longest_short, bags[i].length);
    }
  }
  const Buffer buffer(
      std::max(buffer_bytes(sizeof(A), longest), buffer_bytes(sizeof(A), longest_short, threads)));
  Key<A>* const keys = buffer.as<Key<A>>();
  std::vector<BagScores<A>> chosen(bags.size());
  const auto choose_in = [&](int64_t i, int team, Key<A>* room) {
    const Bag& bag = bags[size_t(i)];
    chosen[size_t(i)] =
        choose(scores + plan.offset(bag), bag.length, labels[i], options, team, room);
  };
  for (int64_t i : long_bags) choose_in(i, threads, keys);
  parallel_owned(int64_t(bags.size()), threads, [&](int64_t i, int thread) {
    if (bags[size_t(i)].length <= kLongBag) choose_in(i, 1, keys + thread * longest_short);
  });
  return chosen;
}

template <class A>
void forward_as(const Batch& batch, const bool* labels, const Options& options, int threads,
                A* terms, A* score_grads, A* dynamics, double grad_alignment, void* grad_features) {
  const Plan plan(batch);
  const A* const scores = static_cast<const A*>(batch.scores);
  if (grad_features == nullptr) {
    measure_dynamics(batch, plan, threads, dynamics);
  } else {
    measure_and_differentiate(batch, plan, A(options.eps), A(grad_alignment), threads, dynamics,
                              grad_features);
  }
  const std::vector<BagScores<A>> chosen = choose_all(plan, scores, labels, options, threads);

  const double N = double(batch.bags);
  std::vector<double> energies;
  for (const BagScores<A>& each : chosen) energies.push_back(each.energy());
  const Ranking ranking = rank_bags(energies, labels, options, threads);

  double mil = 0.0;
  std::vector<BagSlopes<A>> slopes;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const BagScores<A>& bag = chosen[i];
    const double p = bag.probability();
    const double y = labels[i] ? 1.0 : 0.0;
    const int64_t length = plan.bags()[i].length;
    mil += cross_entropy(p, y);
    slopes.push_back({
        length,
        bag.mil.cut,
        A(cross_entropy_slope(p, y) / (N * double(bag.mil_count))),
        bag.ranking.cut,
        A(bag.ranking_count == 0 ? 0.0 : ranking.slopes[i] / double(bag.ranking_count)),
        A(length > 1 ? 1.0 / (double(length - 1) * N) : 0.0),
        A(options.eps),
    });
  }

  const int64_t snippets = batch.snippets();
  const std::vector<Chunk> chunks = plan.chunks(kFinishChunk);
  std::vector<double> alignment(chunks.size(), 0.0);
  const ScoreKernels<A>& kernels = score_kernels_for<A>();
  parallel_owned(int64_t(chunks.size()), threads, [&](int64_t item, int) {
    const Chunk& chunk = chunks[size_t(item)];
    const BagSlopes<A>& bag = slopes[size_t(chunk.bag)];
    const int64_t offset = plan.offset(plan.bags()[size_t(chunk.bag)]);
    ScoreGradients<A> out{};
    if (score_grads != nullptr) {
      A* const first = score_grads + offset;
      out = {first, first + snippets, first + 2 * snippets, options.detach == Detach::kScore};
      const int64_t padding = std::max(chunk.begin, bag.length);
      for (A* row : {out.mil, out.ranking, out.alignment}) {
        if (padding < chunk.end) std::fill(row + padding, row + chunk.end, A(0));
      }
    }
    const int64_t end = std::min(chunk.end, bag.length);
    if (chunk.begin < end) {
      const double sum =
          kernels.finish(bag, scores + offset, dynamics + offset, chunk.begin, end, out);
      alignment[size_t(item)] = sum / (N * double(std::max<int64_t>(bag.length - 1, 1)));
    }
  });
  terms[0] = A(mil / N);
  terms[1] = A(ranking.loss);
  terms[2] = A(std::accumulate(alignment.begin(), alignment.end(), 0.0));
}

}  // namespace

void forward(const Batch& batch, const bool* labels, const Options& options, int threads,
             void* terms, void* score_grads, void* feature_dynamics, double grad_alignment,
             void* grad_features) {
  if (batch.dtype == Dtype::kFloat64) {
    forward_as(batch, labels, options, threads, static_cast<double*>(terms),
               static_cast<double*>(score_grads), static_cast<double*>(feature_dynamics),
               grad_alignment, grad_features);
  } else {
    forward_as(batch, labels, options, threads, static_cast<float*>(terms),
               static_cast<float*>(score_grads), static_cast<float*>(feature_dynamics),
               grad_alignment, grad_features);
  }
}

}  // namespace ladnet::ddl
