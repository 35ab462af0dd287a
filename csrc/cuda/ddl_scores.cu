// The last stage of the forward pass: the alignment loss and every derivative by the scores.
#include "core/size.h"
#include "cuda/block.cuh"
#include "cuda/ddl_combine.cuh"
#include "cuda/ddl_kernels.h"
#include "cuda/ddl_layout.cuh"
#include "cuda/launch.h"

namespace ladnet::ddl::gpu {
namespace {

using ladnet::gpu::Add;
using ladnet::gpu::reduce;

constexpr int kTile = 256;  // snippets that a block looks at together, one per thread
constexpr int kTermThreads = 512;
constexpr int64_t kSnippetsPerPart = 1024;
constexpr int64_t kMostParts = 8192;

// Snippets of a part, a multiple of the tile.
int64_t part_size(const Batch& batch) {
  const int64_t size = divide_up(batch.snippets(), kMostParts);
  return round_up(size > kSnippetsPerPart ? size : kSnippetsPerPart, kTile);
}

// What the step from one snippet to the next adds to the derivatives by its ds, and to the loss.
struct StepTerms {
  float ranking;
  float alignment;
  double loss;
};

__device__ __forceinline__ StepTerms step_terms(const Batch& batch, const Workspace& workspace,
                                                float eps, bool detached,
                                                const float* __restrict__ dynamics, int64_t bag,
                                                const Span& span, int64_t snippet) {
  const int64_t t = snippet - span.begin;
  if (t < 0 || t + 1 >= span.length) return {0.0f, 0.0f, 0.0};
  const float* const scores = static_cast<const float*>(batch.scores) + snippet;
  const BagSlopes& slopes = workspace.slopes[bag];
  const Cut<float>& cut = workspace.selections[bag * kQuantities + kDynamics].cut;
  const float u = scores[0] - scores[1];
  const float log_df = natural_log(dynamics[snippet] + eps);
  const bool chosen = is_chosen(cut.threshold, cut.last_tie, order_key(u * u), t);
  return {chosen ? slopes.ranking * (u + u) : 0.0f,
          detached ? 0.0f : -slopes.alignment * log_df * sign(u),
          slopes.alignment_loss * static_cast<double>(-magnitude(u) * log_df)};
}

template <bool kGradients>
__global__ void __launch_bounds__(kTile)
    finish_kernel(const Batch batch, const Workspace workspace, const float eps,
                  const bool detached, const int64_t size, const float* __restrict__ dynamics,
                  float* __restrict__ score_grads) {
  // Entry i + 1 is the step that starts at the tile's snippet i.
  __shared__ float ranking[kTile + 1];
  __shared__ float alignment[kTile + 1];
  __shared__ int64_t bags[2];
  const int64_t snippets = batch.snippets();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * size;
  const int64_t end = clamp(begin + size, 0, snippets);
  double loss = 0.0;
  for (int64_t first = begin; first < end; first += kTile) {
    // Which bags the tile and the step before it belong to: nearly always one.
    if (threadIdx.x < 2) {
      const int64_t edge = threadIdx.x == 0 ? first - 1 : first + kTile - 1;
      bags[threadIdx.x] = bag_of(batch, clamp(edge, 0, snippets - 1));
    }
    __syncthreads();
    const int64_t snippet = first + threadIdx.x;
    const bool exists = snippet < end;
    const int64_t bag = bag_between(batch, exists ? snippet : end - 1, bags[0], bags[1]);
    const Span span = bag_span(batch, bag);
    if (exists) {
      const StepTerms own =
          step_terms(batch, workspace, eps, detached, dynamics, bag, span, snippet);
      loss += own.loss;
      ranking[threadIdx.x + 1] = own.ranking;
      alignment[threadIdx.x + 1] = own.alignment;
    }
    if (kGradients && threadIdx.x == 0) {
      StepTerms before{};
      if (first > 0) {
        const Span span_before = bag_span(batch, bags[0]);
        before =
            step_terms(batch, workspace, eps, detached, dynamics, bags[0], span_before, first - 1);
      }
      ranking[0] = before.ranking;
      alignment[0] = before.alignment;
    }
    __syncthreads();
    if (kGradients && exists) {
      const int64_t t = snippet - span.begin;
      const Cut<float>& cut = workspace.selections[bag * kQuantities + kScores].cut;
      const float score = static_cast<const float*>(batch.scores)[snippet];
      const bool chosen =
          t < span.length && is_chosen(cut.threshold, cut.last_tie, order_key(score), t);
      score_grads[snippet] = chosen ? workspace.slopes[bag].mil : 0.0f;
      const int i = static_cast<int>(threadIdx.x);
      score_grads[snippets + snippet] = ranking[i + 1] - ranking[i];
      score_grads[2 * snippets + snippet] = alignment[i + 1] - alignment[i];
    }
    // The next tile replaces what is shared only behind its own first barrier.
  }
  const double sum = reduce<kTile>(loss, Add{});
  if (threadIdx.x == 0) workspace.alignment[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kTermThreads)
    terms_kernel(const Workspace workspace, const int64_t bags, const bool all_pairs,
                 float* __restrict__ terms) {
  double alignment = 0.0;
  for (int64_t i = threadIdx.x; i < workspace.parts; i += kTermThreads) {
    alignment += workspace.alignment[i];
  }
  double ranking = 0.0;
  for (int64_t i = threadIdx.x; all_pairs && i < bags; i += kTermThreads) {
    ranking += workspace.pair_losses[i];
  }
  alignment = reduce<kTermThreads>(alignment, Add{});
  ranking = reduce<kTermThreads>(ranking, Add{});
  if (threadIdx.x != 0) return;
  terms[2] = static_cast<float>(alignment);
  if (all_pairs) terms[1] = static_cast<float>(ranking);
}

__global__ void __launch_bounds__(kTile)
    combine_kernel(const int64_t snippets, const float* __restrict__ grad_terms,
                   const float* __restrict__ score_grads, float* __restrict__ grad_scores) {
  const int64_t snippet = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  if (snippet >= snippets) return;
  grad_scores[snippet] = combine(grad_terms, score_grads, snippets, snippet);
}

}  // namespace

int64_t count_parts(const Batch& batch) {
  return divide_up(batch.snippets(), part_size(batch));
}

void finish(const Batch& batch, const Options& options, const Workspace& workspace,
            cudaStream_t stream, const float* dynamics, float* terms, float* score_grads) {
  using ladnet::gpu::launch_checked;
  const dim3 parts(static_cast<unsigned>(workspace.parts));
  const auto kernel = score_grads != nullptr ? finish_kernel<true> : finish_kernel<false>;
  launch_checked("finish_kernel", kernel, parts, kTile, stream, batch, workspace,
                 static_cast<float>(options.eps), options.detach == Detach::kScore,
                 part_size(batch), dynamics, score_grads);
  launch_checked("terms_kernel", terms_kernel, dim3(1), kTermThreads, stream, workspace, batch.bags,
                 options.pairing == Pairing::kAllPairs, terms);
}

void combine_score_grads(const Batch& batch, cudaStream_t stream, const float* grad_terms,
                         const float* score_grads, float* grad_scores) {
  const dim3 grid(static_cast<unsigned>(divide_up(batch.snippets(), kTile)));
  ladnet::gpu::launch_checked("combine_kernel", combine_kernel, grid, kTile, stream,
                              batch.snippets(), grad_terms, score_grads, grad_scores);
}

}  // namespace ladnet::ddl::gpu
