// Both passes of the losses: which kernels run, in which order.
#include "cuda/ddl.h"

#include <algorithm>
#include <stdexcept>

#include "cuda/check.h"
#include "cuda/ddl_kernels.h"
#include "cuda/ddl_layout.cuh"

namespace ladnet::ddl::gpu {
namespace {

// Calls function(F{}) with the type of the features.
template <class Function>
void with_features(Dtype dtype, const Function& function) {
  switch (dtype) {
    case Dtype::kFloat32:
      return function(float{});
    case Dtype::kBFloat16:
      return function(BFloat16{});
    case Dtype::kFloat16:
      return function(Float16{});
    default:
      throw std::invalid_argument("the CUDA losses serve float32, bfloat16 and float16 features");
  }
}

// Enough strips to fill a GPU, each long enough that the row read twice at its seam costs little.
int64_t strip_of(const Batch& batch, const Tuning& tuning) {
  return tuning.strip > 0 ? tuning.strip : std::clamp<int64_t>(batch.snippets() / 16384, 4, 64);
}

}  // namespace

int64_t workspace_bytes(const Batch& batch, const Tuning& tuning) {
  return lay_out(nullptr, batch.bags, count_slots(batch, tuning.chunk), count_parts(batch),
                 may_split(batch, tuning))
      .bytes;
}

void forward(const Batch& batch, const bool* labels, const Options& options, const Tuning& tuning,
             void* workspace, cudaStream_t stream, float* terms, float* score_grads,
             float* feature_dynamics) {
  const bool split = may_split(batch, tuning);
  const Workspace shared =
      lay_out(workspace, batch.bags, count_slots(batch, tuning.chunk), count_parts(batch), split);
  with_features(batch.dtype, [&](auto feature) {
    measure_dynamics<decltype(feature)>(batch, strip_of(batch, tuning), stream, feature_dynamics);
  });
  select_largest(batch, labels, options, tuning.chunk, split, shared, stream);
  judge_bags(batch, labels, options, tuning.chunk, shared, stream, terms);
  finish(batch, options, shared, stream, feature_dynamics, terms, score_grads);
}

void backward(const Batch& batch, double eps, Detach detach, const Tuning& tuning,
              cudaStream_t stream, const float* grad_terms, const float* score_grads,
              const float* feature_dynamics, float* grad_scores, void* grad_features) {
  if (detach == Detach::kFeature) {
    const int64_t elements = checked_product(batch.snippets(), batch.width);
    const int64_t bytes = checked_product(elements, int64_t(size_of(batch.dtype)));
    ladnet::gpu::check(cudaMemsetAsync(grad_features, 0, size_t(bytes), stream),
                       "cudaMemsetAsync of grad_features");
    combine_score_grads(batch, stream, grad_terms, score_grads, grad_scores);
    return;
  }
  with_features(batch.dtype, [&](auto feature) {
    differentiate(batch, float(eps), strip_of(batch, tuning), stream, grad_terms, score_grads,
                  feature_dynamics, grad_scores, static_cast<decltype(feature)*>(grad_features));
  });
}

}  // namespace ladnet::ddl::gpu
