// The two kernels that touch features: their dynamics, beside which scores are selected, and their
// gradient.
//
// A group of lanes walks through a strip of consecutive snippets, over the ends of bags, so that it
// does not matter how long they are. A row is read once and stays in registers for its neighbours;
// only the rows at the seams of strips are read by two groups, mostly from the second-level cache.
// All groups of a warp run the same loop, because the reductions are shared by a warp's lanes.
#pragma once

#include "cuda/ddl_combine.cuh"
#include "cuda/ddl_kernels.h"
#include "cuda/ddl_layout.cuh"
#include "cuda/ddl_rows.cuh"
#include "cuda/ddl_topk.cuh"
#include "cuda/launch.h"

namespace ladnet::ddl::gpu {

// Snippets that a group walks through, and the bags of the block's.
template <class S, int kThreads>
struct Strip {
  int64_t first;
  Bags bags;

  // `margin`: how far a group looks beyond its own snippets, at both ends.
  __device__ __forceinline__ Strip(const Batch& batch, int64_t block, int strip, int margin) {
    constexpr int kGroups = kThreads / S::kLanes;
    const int64_t begin = block * kGroups * strip;
    bags = bags_of_block<kThreads>(batch, begin - margin, begin + kGroups * strip);
    first = begin + static_cast<int>(threadIdx.x) / S::kLanes * strip;
  }
};

template <class S, int kThreads>
__device__ __forceinline__ void fetch_at(const Batch& batch, const Cursor& at, bool in_vectors,
                                         bool wanted, int buffer,
                                         RowBuffers<S, kThreads>& buffers) {
  using F = typename S::Feature;
  const bool packed = batch.cu_seqlens != nullptr;
  const int64_t offset = packed ? at.snippet * batch.row_stride
                                : at.bag * batch.batch_stride + at.t * batch.row_stride;
  fetch_row(static_cast<const F*>(batch.features) + (wanted ? offset : 0),
            static_cast<int>(batch.width), in_vectors, wanted, buffer % 2, buffers);
}

// ---- Forward -----------------------------------------------------------------------------------

template <class S>
constexpr int kForwardThreads = RowShape{S::kLanes, S::kValues}.forward_threads();
template <class S>
constexpr int kBackwardThreads = RowShape{S::kLanes, S::kValues}.backward_threads();

template <class S>
__device__ __forceinline__ void walk(const Batch& batch, int64_t block, int strip, bool in_vectors,
                                     float* __restrict__ dynamics) {
  const Strip<S, kForwardThreads<S>> own(batch, block, strip, 0);
  Cursor at(batch, own.first, own.bags);
  __shared__ RowBuffers<S, kForwardThreads<S>> rows;
  bool wanted = at.inside();
  fetch_at(batch, at, in_vectors, wanted, 0, rows);
  Row<S> before{};
  for (int i = 0; i <= strip; ++i) {
    wait_for_copies();
    Row<S> row;
    read_row(rows, i % 2, row);
    const bool has_step = at.has_step();
    const bool is_row = wanted;
    // The next row is on its way while this one is computed with. Of the next strip's first one
    // only the step to it counts.
    at.advance(batch);
    wanted = i + 1 < strip ? at.inside() : (i < strip && at.has_step());
    fetch_at(batch, at, in_vectors, wanted, i + 1, rows);
    normalise(is_row, row);
    const float df = dynamics_of(before, row);
    const int64_t step = at.snippet - 2;  // the cursor is one ahead
    if (i > 0 && S::lane() == 0 && step < batch.snippets()) {
      dynamics[step] = has_step ? df : 0.0f;
    }
    before = row;
  }
}

// What the blocks of one launch do, in the order of their numbers: select from chunks, select from
// whole bags, walk through features.
struct Round {
  int index;
  int64_t chunk;
  int64_t chunk_blocks;
  int64_t bag_blocks;
  int64_t first_feature_block;
  int strip;
  bool in_vectors;
};

// Top-k of scores, and the pass over the features, which know nothing of each other. The first of
// the blocks that share the launch are those that take longest.
template <class S>
__global__ void __launch_bounds__(kForwardThreads<S>, 3)
    forward_kernel(const Batch batch, const Counts counts, const Round round,
                   const Workspace workspace, float* __restrict__ dynamics) {
  constexpr int kThreads = kForwardThreads<S>;
  __shared__ uint32_t histogram[kDigits];
  int64_t block = blockIdx.x;
  if (round.index == 0 && block == 0 && threadIdx.x == 0) *workspace.arrived = 0;
  if (block < round.chunk_blocks) {
    select_chunk<kThreads>(batch, counts, workspace, round.chunk, round.index, block / kQuantities,
                           static_cast<int>(block % kQuantities), histogram);
    return;
  }
  block -= round.chunk_blocks;
  if (block < round.bag_blocks) {
    select_bag<kThreads>(batch, counts, workspace, round.chunk, block / kQuantities,
                         static_cast<int>(block % kQuantities), histogram);
    return;
  }
  block += round.first_feature_block - round.bag_blocks;
  walk<S>(batch, block, round.strip, round.in_vectors, dynamics);
}

// ---- Backward ----------------------------------------------------------------------------------

// A step between two snippets, as it is fetched.
struct RawStep {
  bool exists;
  float score_before;
  float score;
  float df;
};

// The step that ends at `at`.
__device__ __forceinline__ RawStep fetch_step(const Batch& batch, const Cursor& at, bool wanted,
                                              const float* __restrict__ dynamics) {
  if (!wanted || !at.has_step()) return {false, 0.0f, 0.0f, 0.0f};
  const float* const scores = static_cast<const float*>(batch.scores) + at.snippet;
  return {true, scores[-1], scores[0], dynamics[at.snippet - 1]};
}

// The derivative of the loss by a step's df.
struct Step {
  bool exists;
  float slope;
};

__device__ __forceinline__ Step step_of(const RawStep& raw, float weight, float eps) {
  const float ds = magnitude(raw.score_before - raw.score);
  return {raw.exists, raw.exists ? weight * alignment_slope(ds, raw.df, eps) : 0.0f};
}

// The weight of a step in the loss, the same for all steps of a bag.
__device__ __forceinline__ float step_weight_of(const Batch& batch, const Cursor& at,
                                                float grad_alignment) {
  return static_cast<float>(static_cast<double>(grad_alignment) /
                            (static_cast<double>(at.length - 1) * static_cast<double>(batch.bags)));
}

// The gradient of row `here`: (pull - <u, pull> u) / |x|, see core/ddl_elements.h. A missing
// neighbour, whose slope is 0, is replaced by the row itself: what lies there may not be a number.
template <class S>
__device__ __forceinline__ void gradient_of(const Row<S>& before, const Row<S>& here,
                                            const Row<S>& after, const Step& step_before,
                                            const Step& step_after, float* gradient) {
  const float scale = here.norm.inverse * here.norm.scale;
  const float g_before = step_before.slope * scale;
  const float g_after = step_after.slope * scale;
  float along = 0.0f;
#pragma unroll
  for (int i = 0; i < S::kValues; ++i) {
    const float u = here.unit[i];
    const float u_before = step_before.exists ? before.unit[i] : u;
    const float u_after = step_after.exists ? after.unit[i] : u;
    gradient[i] = dynamics_pull(u_before, u, u_after, g_before, g_after);
    along = fmaf(u, gradient[i], along);
  }
  along = reduce<S::kLanes>(along, Add{});
#pragma unroll
  for (int i = 0; i < S::kValues; ++i) gradient[i] -= here.unit[i] * along;
}

template <class S>
__global__ void __launch_bounds__(kBackwardThreads<S>)
    gradient_kernel(const Batch batch, const float eps, const int strip, const bool load_vectors,
                    const bool store_vectors, const float* __restrict__ grad_terms,
                    const float* __restrict__ score_grads, const float* __restrict__ dynamics,
                    float* __restrict__ grad_scores,
                    typename S::Feature* __restrict__ grad_features) {
  const int64_t snippets = batch.snippets();
  const Strip<S, kBackwardThreads<S>> own(batch, blockIdx.x, strip, 1);
  for (int i = S::lane(); i < strip && own.first + i < snippets; i += S::kLanes) {
    grad_scores[own.first + i] = combine(grad_terms, score_grads, snippets, own.first + i);
  }

  const float grad_alignment = grad_terms[2];
  Cursor at(batch, own.first - 1, own.bags);
  // The row before the strip counts where the strip's first one has a step from it.
  bool wanted = at.inside() && at.t + 1 < at.length;
  __shared__ RowBuffers<S, kBackwardThreads<S>> rows;
  fetch_at(batch, at, load_vectors, wanted, 0, rows);
  RawStep raw_step{};
  float step_weight = 0.0f;
  Row<S> before{};
  Row<S> here{};
  Step step_before{};
  bool here_inside = false;
  // Rows first - 1 .. first + strip come in; from the third on, the one before has both neighbours.
  for (int i = 0; i < strip + 2; ++i) {
    wait_for_copies();
    Row<S> after;
    read_row(rows, i % 2, after);
    const Step step_after = step_of(raw_step, step_weight, eps);
    const bool is_row = wanted;
    const bool after_inside = at.inside();
    // The next row is on its way while this one is computed with.
    at.advance(batch);
    wanted = i < strip ? at.inside() : (i == strip && at.has_step());
    fetch_at(batch, at, load_vectors, wanted, i + 1, rows);
    raw_step = fetch_step(batch, at, i <= strip, dynamics);
    if (at.has_step() && (i == 0 || at.t == 1)) {
      step_weight = step_weight_of(batch, at, grad_alignment);
    }
    normalise(is_row, after);
    float gradient[S::kValues];
    gradient_of(before, here, after, step_before, step_after, gradient);
    const int64_t snippet = at.snippet - 2;  // of `here`; the cursor is two ahead
    if (i > 1 && snippet < snippets) {
      if (!here_inside) {
#pragma unroll
        for (int j = 0; j < S::kValues; ++j) gradient[j] = 0.0f;
      }
      store_row<S>(gradient, static_cast<int>(batch.width), store_vectors,
                   grad_features + snippet * batch.width);
    }
    before = here;
    here = after;
    here_inside = after_inside;
    step_before = step_after;
  }
}

// ---- Launches ----------------------------------------------------------------------------------

// Whether every row can be read (or written) in whole vectors.
template <class F>
bool in_vectors(const void* base, int64_t width, int64_t row_stride, int64_t batch_stride) {
  constexpr int64_t kElements = kPerVector<F>;
  return reinterpret_cast<uintptr_t>(base) % 16 == 0 && width % kElements == 0 &&
         row_stride % kElements == 0 && batch_stride % kElements == 0;
}

template <class F, class Function>
void with_shape(const RowShape& shape, const Function& function) {
  if (shape.width() == kNarrow.width()) return function(Shape<F, kNarrow.lanes, kNarrow.values>{});
  if (shape.width() == kMedium.width()) return function(Shape<F, kMedium.lanes, kMedium.values>{});
  if (shape.width() == kWide.width()) return function(Shape<F, kWide.lanes, kWide.values>{});
  return function(Shape<F, kWidest.lanes, kWidest.values>{});
}

template <class F>
bool features_in_vectors(const Batch& batch) {
  const bool one_bag = batch.cu_seqlens != nullptr || batch.bags == 1;
  return in_vectors<F>(batch.features, batch.width, batch.row_stride,
                       one_bag ? 0 : batch.batch_stride);
}

template <class F>
void measure(const Batch& batch, const bool* labels, const Options& options, const Plan& plan,
             const Workspace& workspace, cudaStream_t stream, float* dynamics) {
  const Counts counts{labels, options.topk_divisor, options.select};
  with_shape<F>(plan.shape, [&](auto shape) {
    using S = decltype(shape);
    for (int i = 0; i < plan.rounds; ++i) {
      const Round round{i,
                        plan.chunk,
                        plan.chunk_blocks(),
                        plan.bag_blocks(batch, i),
                        plan.dealt(i),
                        static_cast<int>(plan.strip),
                        features_in_vectors<F>(batch)};
      ladnet::gpu::launch_checked("forward_kernel", forward_kernel<S>,
                                  dim3(static_cast<unsigned>(plan.round_blocks(batch, i))),
                                  kForwardThreads<S>, stream, batch, counts, round, workspace,
                                  dynamics);
    }
  });
}

template <class F>
void differentiate(const Batch& batch, float eps, const Plan& plan, cudaStream_t stream,
                   const float* grad_terms, const float* score_grads, const float* dynamics,
                   float* grad_scores, F* grad_features) {
  with_shape<F>(plan.shape, [&](auto shape) {
    using S = decltype(shape);
    const bool store_vectors = in_vectors<F>(grad_features, batch.width, batch.width, 0);
    ladnet::gpu::launch_checked(
        "gradient_kernel", gradient_kernel<S>, dim3(static_cast<unsigned>(plan.backward_blocks)),
        kBackwardThreads<S>, stream, batch, eps, static_cast<int>(plan.backward_strip),
        features_in_vectors<F>(batch), store_vectors, grad_terms, score_grads, dynamics,
        grad_scores, grad_features);
  });
}

// One file per type, so that they compile in parallel.
#define LADNET_INSTANTIATE_FEATURES(F)                                                         \
  template void measure<F>(const Batch&, const bool*, const Options&, const Plan&,             \
                           const Workspace&, cudaStream_t, float*);                            \
  template void differentiate<F>(const Batch&, float, const Plan&, cudaStream_t, const float*, \
                                 const float*, const float*, float*, F*);

}  // namespace ladnet::ddl::gpu
