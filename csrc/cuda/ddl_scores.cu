// The last launch of the forward pass: the alignment loss and every derivative by the scores. And
// the backward pass where features are detached.
#include "core/size.h"
#include "cuda/block.cuh"
#include "cuda/ddl_combine.cuh"
#include "cuda/ddl_judge.cuh"
#include "cuda/ddl_kernels.h"
#include "cuda/ddl_layout.cuh"
#include "cuda/launch.h"

namespace ladnet::ddl::gpu {
namespace {

constexpr int kTile = kFinishThreads;  // snippets that a block looks at together, one per thread

// What the step from one snippet to the next adds to the derivatives by its ds, and to the loss.
struct StepTerms {
  float ranking;
  float alignment;
  double loss;
};

__device__ __forceinline__ StepTerms step_terms(const Judged& given, const Workspace& workspace,
                                                const BagSlopes* all_slopes,
                                                const float* __restrict__ dynamics, int64_t bag,
                                                const Span& span, int64_t snippet) {
  const int64_t t = snippet - span.begin;
  if (t < 0 || t + 1 >= span.length) return {0.0f, 0.0f, 0.0};
  const float* const scores = static_cast<const float*>(given.batch.scores) + snippet;
  const BagSlopes& slopes = all_slopes[bag];
  const Cut<float>& cut = workspace.selections[bag * kQuantities + kDynamics].cut;
  const float u = scores[0] - scores[1];
  const float log_df = natural_log(dynamics[snippet] + static_cast<float>(given.options.eps));
  const bool detached = given.options.detach == Detach::kScore;
  const bool chosen = is_chosen(cut.threshold, cut.last_tie, order_key(u * u), t);
  return {chosen ? slopes.ranking * (u + u) : 0.0f,
          detached ? 0.0f : -slopes.alignment * log_df * sign(u),
          slopes.alignment_loss * static_cast<double>(-magnitude(u) * log_df)};
}

// Judges all bags: fills the table of their slopes. The same in every block; one of them writes the
// terms.
__device__ __forceinline__ void judge_all(const Judged& given, const Workspace& workspace,
                                          BagSlopes* table, float* __restrict__ terms) {
  constexpr int kOwn = kFewBags / kTile;  // bags of a thread
  const int64_t bags = given.batch.bags;
  const bool writes = blockIdx.x == 0;
  Verdict verdicts[kOwn];
  Classes own{};
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const int64_t bag = i * kTile + threadIdx.x;
    if (bag >= bags) continue;
    verdicts[i] = verdict_of(given, bag, workspace);
    own.add(verdicts[i]);
    if (writes) own.mil += cross_entropy_of(verdicts[i]);
  }
  const Classes classes = reduce_classes<kTile>(own);
  const MeanHinge hinge = hinge_of_means(given, classes);
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const int64_t bag = i * kTile + threadIdx.x;
    if (bag >= bags) continue;
    table[bag] =
        slopes_of(given, verdicts[i], verdicts[i].anomalous ? hinge.anomalous : hinge.normal);
  }
  if (writes && threadIdx.x == 0) {
    terms[0] = static_cast<float>(classes.mil / static_cast<double>(bags));
    terms[1] = static_cast<float>(hinge.loss);
  }
  __syncthreads();
}

// Adds up what all blocks have left, in the order of the blocks: in the block that is the last to
// arrive, whichever that is.
//
// Thread 0 publishes its block's part: the fence keeps the store before the count. The block that
// finds all others counted has, by its own fence behind the count, all their stores before its
// loads; the barrier hands that on to its other threads. The counter was set to 0 by an earlier
// launch of the same stream, so that nothing of it outlives the call.
__device__ __forceinline__ void add_up(const Judged& given, const Workspace& workspace, double part,
                                       float* __restrict__ terms) {
  __shared__ bool is_last;
  if (threadIdx.x == 0) {
    workspace.alignment[blockIdx.x] = part;
    __threadfence();
    is_last = atomicAdd(workspace.arrived, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!is_last) return;
  double alignment = 0.0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < workspace.parts; i += kTile) {
    alignment += __ldcg(workspace.alignment + i);
  }
  alignment = reduce<kTile>(alignment, Add{});
  if (threadIdx.x == 0) terms[2] = static_cast<float>(alignment);
  if (given.options.pairing != Pairing::kAllPairs) return;
  double ranking = 0.0;
  for (int64_t i = threadIdx.x; i < given.batch.bags; i += kTile) {
    ranking += workspace.pair_losses[i];
  }
  ranking = reduce<kTile>(ranking, Add{});
  if (threadIdx.x == 0) terms[1] = static_cast<float>(ranking);
}

template <bool kGradients, bool kJudges>
__global__ void __launch_bounds__(kTile, 8)
    finish_kernel(const Batch batch, const bool* __restrict__ labels, const Options options,
                  const int64_t chunk, const Workspace workspace, const int64_t size,
                  const float* __restrict__ dynamics, float* __restrict__ terms,
                  float* __restrict__ score_grads) {
  const Judged given{batch, labels, options, chunk};
  // Entry i + 1 is the step that starts at the tile's snippet i.
  __shared__ float ranking[kTile + 1];
  __shared__ float alignment[kTile + 1];
  const BagSlopes* slopes = workspace.slopes;
  if constexpr (kJudges) {
    __shared__ BagSlopes table[kFewBags];
    judge_all(given, workspace, table, terms);
    slopes = table;
  }
  const int64_t snippets = batch.snippets();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * size;
  const int64_t end = clamp(begin + size, 0, snippets);
  double loss = 0.0;
  for (int64_t first = begin; first < end; first += kTile) {
    // Which bags the tile and the step before it belong to: nearly always one.
    const Bags bags = bags_of_block<kTile>(batch, first - 1, first + kTile - 1);
    const int64_t snippet = first + threadIdx.x;
    const bool exists = snippet < end;
    const int64_t bag = bag_between(batch, exists ? snippet : end - 1, bags.first, bags.last);
    const Span span = bag_span(batch, bag);
    if (exists) {
      const StepTerms own = step_terms(given, workspace, slopes, dynamics, bag, span, snippet);
      loss += own.loss;
      ranking[threadIdx.x + 1] = own.ranking;
      alignment[threadIdx.x + 1] = own.alignment;
    }
    if (kGradients && threadIdx.x == 0) {
      StepTerms before{};
      if (first > 0) {
        const Span span_before = bag_span(batch, bags.first);
        before = step_terms(given, workspace, slopes, dynamics, bags.first, span_before, first - 1);
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
      score_grads[snippet] = chosen ? slopes[bag].mil : 0.0f;
      const int i = static_cast<int>(threadIdx.x);
      score_grads[snippets + snippet] = ranking[i + 1] - ranking[i];
      score_grads[2 * snippets + snippet] = alignment[i + 1] - alignment[i];
    }
    __syncthreads();  // the next tile replaces what is shared
  }
  add_up(given, workspace, reduce<kTile>(loss, Add{}), terms);
}

// Gradients of scores alone; those of features are zeros.
__global__ void __launch_bounds__(kCombineThreads)
    combine_kernel(const int64_t snippets, const float* __restrict__ grad_terms,
                   const float* __restrict__ score_grads, float* __restrict__ grad_scores,
                   const int64_t bytes, const int64_t vectors, char* __restrict__ grad_features) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kCombineThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kCombineThreads;
  for (int64_t snippet = thread; snippet < snippets; snippet += threads) {
    grad_scores[snippet] = combine(grad_terms, score_grads, snippets, snippet);
  }
  for (int64_t i = thread; i < vectors; i += threads) {
    reinterpret_cast<uint4*>(grad_features)[i] = make_uint4(0, 0, 0, 0);
  }
  for (int64_t i = vectors * 16 + thread; i < bytes; i += threads) grad_features[i] = 0;
}

}  // namespace

void finish(const Judged& given, const Plan& plan, const Workspace& workspace, cudaStream_t stream,
            const float* dynamics, float* terms, float* score_grads) {
  const bool judges = judges_in_finish(given.batch, given.options.pairing);
  const auto kernel = score_grads != nullptr
                          ? (judges ? finish_kernel<true, true> : finish_kernel<true, false>)
                          : (judges ? finish_kernel<false, true> : finish_kernel<false, false>);
  ladnet::gpu::launch_checked("finish_kernel", kernel, dim3(static_cast<unsigned>(plan.parts)),
                              kTile, stream, given.batch, given.labels, given.options, given.chunk,
                              workspace, plan.part_size, dynamics, terms, score_grads);
}

void combine_score_grads(const Batch& batch, const Plan& plan, cudaStream_t stream,
                         const float* grad_terms, const float* score_grads, float* grad_scores,
                         void* grad_features) {
  const int64_t elements = checked_product(batch.snippets(), batch.width);
  const int64_t bytes = checked_product(elements, int64_t(size_of(batch.dtype)));
  const bool aligned = reinterpret_cast<uintptr_t>(grad_features) % 16 == 0;
  const int64_t vectors = aligned ? bytes / 16 : 0;
  ladnet::gpu::launch_checked("combine_kernel", combine_kernel,
                              dim3(static_cast<unsigned>(plan.combine_blocks)), kCombineThreads,
                              stream, batch.snippets(), grad_terms, score_grads, grad_scores, bytes,
                              vectors, static_cast<char*>(grad_features));
}

}  // namespace ladnet::ddl::gpu
