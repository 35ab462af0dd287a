// Both passes of the losses: which kernels run, in which order.
#include "cuda/ddl.h"

#include <stdexcept>

#include "cuda/ddl_kernels.h"

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

Workspace workspace_of(const Batch& batch, const Plan& plan, void* base) {
  return lay_out(base, batch.bags, plan.slots, plan.parts, plan.split);
}

}  // namespace

int64_t workspace_bytes(const Batch& batch, const Tuning& tuning) {
  return workspace_of(batch, make_plan(batch, tuning), nullptr).bytes;
}

void forward(const Batch& batch, const bool* labels, const Options& options, const Tuning& tuning,
             void* workspace, cudaStream_t stream, float* terms, float* score_grads,
             float* feature_dynamics) {
  const Plan plan = make_plan(batch, tuning);
  const Workspace shared = workspace_of(batch, plan, workspace);
  const Judged judged{batch, labels, options, plan.chunk};
  with_features(batch.dtype, [&](auto feature) {
    measure<decltype(feature)>(batch, labels, options, plan, shared, stream, feature_dynamics);
  });
  if (!judges_in_finish(batch, options.pairing)) judge_bags(judged, shared, stream, terms);
  finish(judged, plan, shared, stream, feature_dynamics, terms, score_grads);
}

void backward(const Batch& batch, double eps, Detach detach, const Tuning& tuning,
              cudaStream_t stream, const float* grad_terms, const float* score_grads,
              const float* feature_dynamics, float* grad_scores, void* grad_features) {
  const Plan plan = make_plan(batch, tuning);
  if (detach == Detach::kFeature) {
    combine_score_grads(batch, plan, stream, grad_terms, score_grads, grad_scores, grad_features);
    return;
  }
  with_features(batch.dtype, [&](auto feature) {
    differentiate(batch, float(eps), plan, stream, grad_terms, score_grads, feature_dynamics,
                  grad_scores, static_cast<decltype(feature)*>(grad_features));
  });
}

std::vector<Launch> forward_launches(const Batch& batch, Pairing pairing, const Tuning& tuning) {
  const Plan plan = make_plan(batch, tuning);
  std::vector<Launch> launches;
  for (int round = 0; round < plan.rounds; ++round) {
    launches.push_back(
        {"forward_kernel", plan.round_blocks(batch, round), plan.shape.forward_threads()});
  }
  if (pairing == Pairing::kAllPairs) {
    launches.push_back({"pairs_kernel", batch.bags, kPairThreads});
  } else if (!judges_in_finish(batch, pairing)) {
    launches.push_back({"judge_kernel", 1, kJudgeThreads});
  }
  launches.push_back({"finish_kernel", plan.parts, kFinishThreads});
  return launches;
}

std::vector<Launch> backward_launches(const Batch& batch, Detach detach, const Tuning& tuning) {
  const Plan plan = make_plan(batch, tuning);
  if (detach == Detach::kFeature) return {{"combine_kernel", plan.combine_blocks, kCombineThreads}};
  return {{"gradient_kernel", plan.backward_blocks, plan.shape.backward_threads()}};
}

}  // namespace ladnet::ddl::gpu
