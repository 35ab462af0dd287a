// Backward pass of the losses: one read of the features, one write of their gradient.
#include <algorithm>

#include "cpu/buffer.h"
#include "cpu/ddl.h"
#include "cpu/ddl_plan.h"
#include "cpu/parallel.h"

namespace ladnet::ddl {
namespace {

constexpr int64_t kCombineChunk = 1 << 15;

template <class A>
void combine_score_grads(int64_t snippets, int threads, const A* grad_terms, const A* score_grads,
                         A* grad_scores) {
  const ScoreKernels<A>& kernels = score_kernels_for<A>();
  parallel_owned(divide_up(snippets, kCombineChunk), threads, [&](int64_t chunk, int) {
    const int64_t begin = chunk * kCombineChunk;
    const A* const first = score_grads + begin;
    const A* const rows[3] = {first, first + snippets, first + 2 * snippets};
    kernels.combine(rows, grad_terms, std::min(kCombineChunk, snippets - begin),
                    grad_scores + begin);
  });
}

template <class A>
void differentiate_features(const Batch& batch, A grad_alignment, A eps, int threads,
                            const A* dynamics, char* grad_features) {
  const Plan plan(batch);
  const ScoreKernels<A>& score_kernels = score_kernels_for<A>();
  const FeatureKernels<A>& kernels = feature_kernels_for<A>(batch.dtype);
  const A* const scores = static_cast<const A*>(batch.scores);
  const FeatureGradient gradient(batch, plan, threads, grad_features);

  const int64_t chunk_rows = gradient.rows_per_chunk();
  const int64_t slopes_size = round_up(chunk_rows + 1, kRowMultiple);
  const int64_t scratch_size =
      checked_product(window_rows(plan.padded_width()), plan.padded_width()) + slopes_size;
  const Buffer scratch(buffer_bytes(sizeof(A), scratch_size, threads));
  const std::vector<Chunk> chunks = plan.chunks(chunk_rows);
  parallel_owned(int64_t(chunks.size()), threads, [&](int64_t item, int thread) {
    const Chunk& chunk = chunks[size_t(item)];
    const Bag& bag = plan.bags()[size_t(chunk.bag)];
    const int64_t offset = plan.offset(bag);
    const int64_t end = std::min(chunk.end, bag.length);
    if (chunk.begin < end) {
      A* const slopes = scratch.as<A>() + thread * scratch_size;
      const A weight = alignment_weight(bag, batch, grad_alignment);
      score_kernels.alignment_slopes(scores + offset, dynamics + offset, bag.length, chunk.begin,
                                     end, eps, weight, slopes);
      kernels.gradient(plan.rows(bag), bag.length, chunk.begin, end, slopes, gradient.stream(),
                       gradient.row(offset + chunk.begin), slopes + slopes_size);
    }
    gradient.clear(offset + std::max(chunk.begin, end), offset + chunk.end);
  });
}

template <class A>
void backward_as(const Batch& batch, double eps, Detach detach, int threads, const A* grad_terms,
                 const A* score_grads, const A* dynamics, A* grad_scores, char* grad_features) {
  combine_score_grads(batch.snippets(), threads, grad_terms, score_grads, grad_scores);
  if (grad_features == nullptr) return;
  const A grad_alignment = detach == Detach::kFeature ? A(0) : grad_terms[2];
  differentiate_features(batch, grad_alignment, A(eps), threads, dynamics, grad_features);
}

}  // namespace

void backward(const Batch& batch, double eps, Detach detach, int threads, const void* grad_terms,
              const void* score_grads, const void* feature_dynamics, void* grad_scores,
              void* grad_features) {
  char* const out = static_cast<char*>(grad_features);
  if (batch.dtype == Dtype::kFloat64) {
    backward_as(batch, eps, detach, threads, static_cast<const double*>(grad_terms),
                static_cast<const double*>(score_grads),
                static_cast<const double*>(feature_dynamics), static_cast<double*>(grad_scores),
                out);
  } else {
    backward_as(batch, eps, detach, threads, static_cast<const float*>(grad_terms),
                static_cast<const float*>(score_grads), static_cast<const float*>(feature_dynamics),
                static_cast<float*>(grad_scores), out);
  }
}

}  // namespace ladnet::ddl
