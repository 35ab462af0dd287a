// The two kernels that touch features: their dynamics, and their gradient.
//
// A group of lanes walks through a strip of consecutive snippets, over the ends of bags, so that it
// does not matter how long they are. A row is read once and stays in registers for its neighbours;
// only the rows at the seams of strips are read by two groups, mostly from the second-level cache.
// All groups of a warp run the same loop, because the reductions are shared by a warp's lanes.
#pragma once

#include <stdexcept>
#include <string>

#include "core/size.h"
#include "cuda/ddl_combine.cuh"
#include "cuda/ddl_kernels.h"
#include "cuda/ddl_layout.cuh"
#include "cuda/ddl_rows.cuh"
#include "cuda/launch.h"

namespace ladnet::ddl::gpu {

// Snippets that a group walks through.
template <class S>
__device__ __forceinline__ int64_t first_of_strip(int strip) {
  const int group = static_cast<int>(threadIdx.x) / S::kLanes;
  return (static_cast<int64_t>(blockIdx.x) * S::kGroups + group) * strip;
}

template <class S>
__device__ __forceinline__ void load_at(const Batch& batch, const Cursor& at, bool in_vectors,
                                        bool wanted, Row<S>& row) {
  using F = typename S::Feature;
  const bool packed = batch.cu_seqlens != nullptr;
  const int64_t offset = packed ? at.snippet * batch.row_stride
                                : at.bag * batch.batch_stride + at.t * batch.row_stride;
  load_row(static_cast<const F*>(batch.features) + (wanted ? offset : 0),
           static_cast<int>(batch.width), in_vectors, wanted, row);
  normalise(wanted, row);
}

template <class S>
__global__ void __launch_bounds__(S::kThreads)
    dynamics_kernel(const Batch batch, const int strip, const bool in_vectors,
                    float* __restrict__ dynamics) {
  Cursor here(batch, first_of_strip<S>(strip));
  Row<S> before{};
  for (int i = 0; i <= strip; ++i) {
    const bool wanted = here.inside() && (i < strip || here.has_step());
    Row<S> row;
    load_at(batch, here, in_vectors, wanted, row);
    const float df = dynamics_of(before, row);
    if (i > 0 && S::lane() == 0 && here.snippet <= batch.snippets()) {
      dynamics[here.snippet - 1] = here.has_step() ? df : 0.0f;
    }
    before = row;
    here.advance(batch);
  }
}

// ---- Backward ----------------------------------------------------------------------------------

// The step between two snippets, and the derivative of the loss by its df.
struct Step {
  bool exists;
  float slope;
};

// Derivatives by df, from the scores; the weight of a bag's steps is kept while the bag lasts.
class StepSlopes {
 public:
  __device__ __forceinline__ StepSlopes(const Batch& batch, float grad_alignment, float eps)
      : batch_(batch), grad_(grad_alignment), eps_(eps) {}

  // The step that ends at `at`.
  __device__ __forceinline__ Step operator()(const Cursor& at, const float* __restrict__ dynamics) {
    if (!at.has_step()) return {false, 0.0f};
    if (at.bag != bag_) {
      bag_ = at.bag;
      weight_ =
          static_cast<float>(static_cast<double>(grad_) / (static_cast<double>(at.length - 1) *
                                                           static_cast<double>(batch_.bags)));
    }
    const float* const scores = static_cast<const float*>(batch_.scores) + at.snippet;
    const float ds = magnitude(scores[-1] - scores[0]);
    return {true, weight_ * alignment_slope(ds, dynamics[at.snippet - 1], eps_)};
  }

 private:
  const Batch& batch_;
  const float grad_;
  const float eps_;
  int64_t bag_ = -1;
  float weight_ = 0.0f;
};

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
__global__ void __launch_bounds__(S::kThreads)
    gradient_kernel(const Batch batch, const float eps, const int strip, const bool load_vectors,
                    const bool store_vectors, const float* __restrict__ grad_terms,
                    const float* __restrict__ score_grads, const float* __restrict__ dynamics,
                    float* __restrict__ grad_scores,
                    typename S::Feature* __restrict__ grad_features) {
  const int64_t snippets = batch.snippets();
  const int64_t first = first_of_strip<S>(strip);
  for (int i = S::lane(); i < strip && first + i < snippets; i += S::kLanes) {
    grad_scores[first + i] = combine(grad_terms, score_grads, snippets, first + i);
  }

  StepSlopes slopes(batch, grad_terms[2], eps);
  Cursor at(batch, first - 1);
  Row<S> before{};
  Row<S> here{};
  Step step_before{};
  bool here_inside = false;
  // Rows first - 1 .. first + strip come in; from the third on, the one before has both neighbours.
  for (int i = 0; i < strip + 2; ++i) {
    const Step step_after = slopes(at, dynamics);
    const bool seam_before = i == 0 && at.t + 1 < at.length;
    const bool seam_after = i == strip + 1 && at.has_step();
    const bool wanted = at.inside() && (seam_before || seam_after || (i > 0 && i <= strip));
    Row<S> after;
    load_at(batch, at, load_vectors, wanted, after);
    float gradient[S::kValues];
    gradient_of(before, here, after, step_before, step_after, gradient);
    if (i > 1 && at.snippet <= snippets) {
      if (!here_inside) {
#pragma unroll
        for (int j = 0; j < S::kValues; ++j) gradient[j] = 0.0f;
      }
      store_row<S>(gradient, static_cast<int>(batch.width), store_vectors,
                   grad_features + (at.snippet - 1) * batch.width);
    }
    before = here;
    here = after;
    here_inside = at.inside();
    step_before = step_after;
    at.advance(batch);
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

// Calls function(S{}) with the narrowest shape that holds a row.
template <class F, class Function>
void with_shape(int64_t width, const Function& function) {
  using Narrow = Shape<F, 8, 16>;
  using Medium = Shape<F, 32, 16>;
  using Wide = Shape<F, 32, 32>;
  using Widest = Shape<F, 128, 32>;
  if (width <= Narrow::kWidth) return function(Narrow{});
  if (width <= Medium::kWidth) return function(Medium{});
  if (width <= Wide::kWidth) return function(Wide{});
  if (width <= Widest::kWidth) return function(Widest{});
  throw std::invalid_argument("the CUDA losses serve at most " + std::to_string(Widest::kWidth) +
                              " features; got " + std::to_string(width));
}

template <class S>
dim3 strip_grid(const Batch& batch, int64_t strip) {
  return dim3(static_cast<unsigned>(divide_up(divide_up(batch.snippets(), strip), S::kGroups)));
}

template <class F>
bool features_in_vectors(const Batch& batch) {
  const bool one_bag = batch.cu_seqlens != nullptr || batch.bags == 1;
  return in_vectors<F>(batch.features, batch.width, batch.row_stride,
                       one_bag ? 0 : batch.batch_stride);
}

template <class F>
void measure_dynamics(const Batch& batch, int64_t strip, cudaStream_t stream, float* dynamics) {
  with_shape<F>(batch.width, [&](auto shape) {
    using S = decltype(shape);
    ladnet::gpu::launch_checked("dynamics_kernel", dynamics_kernel<S>, strip_grid<S>(batch, strip),
                                S::kThreads, stream, batch, static_cast<int>(strip),
                                features_in_vectors<F>(batch), dynamics);
  });
}

template <class F>
void differentiate(const Batch& batch, float eps, int64_t strip, cudaStream_t stream,
                   const float* grad_terms, const float* score_grads, const float* dynamics,
                   float* grad_scores, F* grad_features) {
  with_shape<F>(batch.width, [&](auto shape) {
    using S = decltype(shape);
    const bool store_vectors = in_vectors<F>(grad_features, batch.width, batch.width, 0);
    ladnet::gpu::launch_checked("gradient_kernel", gradient_kernel<S>, strip_grid<S>(batch, strip),
                                S::kThreads, stream, batch, eps, static_cast<int>(strip),
                                features_in_vectors<F>(batch), store_vectors, grad_terms,
                                score_grads, dynamics, grad_scores, grad_features);
  });
}

// One file per type, so that they compile in parallel.
#define LADNET_INSTANTIATE_FEATURES(F)                                                     \
  template void measure_dynamics<F>(const Batch&, int64_t, cudaStream_t, float*);          \
  template void differentiate<F>(const Batch&, float, int64_t, cudaStream_t, const float*, \
                                 const float*, const float*, float*, F*);

}  // namespace ladnet::ddl::gpu
