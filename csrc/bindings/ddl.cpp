// Python's way to the losses.
#include "cpu/ddl.h"

#include "bindings/ddl_batch.h"
#include "bindings/methods.h"

namespace ddl = ladnet::ddl;
namespace python = ladnet::python;

namespace {

constexpr const char* kBatch = "ladnet_fast._cpu.DdlBatch";

PyObject* make_batch(python::Call& call) {
  return python::hold(ddl::batch_of(call), kBatch);
}

PyObject* forward(python::Call& call) {
  const auto& batch = python::held<ddl::Batch>(call.next(), kBatch);
  const auto* const labels = call.get<const bool*>("labels");
  const ddl::Options options = ddl::options_of(call);
  const int threads = call.get<int>("threads");
  void* const terms = call.get<void*>("terms");
  void* const score_grads = call.get<void*>("score_grads");
  void* const feature_dynamics = call.get<void*>("feature_dynamics");
  const auto grad_alignment = call.get("grad_alignment", 0.0);
  auto* const grad_features = call.get<void*>("grad_features", nullptr);
  call.finish();
  {
    const python::Released released;
    ddl::forward(batch, labels, options, threads, terms, score_grads, feature_dynamics,
                 grad_alignment, grad_features);
  }
  return python::none();
}

PyObject* backward(python::Call& call) {
  const auto& batch = python::held<ddl::Batch>(call.next(), kBatch);
  const double eps = call.get<double>("eps");
  const ddl::Detach detach = ddl::detach_of(call);
  const int threads = call.get<int>("threads");
  const void* const grad_terms = call.get<const void*>("grad_terms");
  const void* const score_grads = call.get<const void*>("score_grads");
  const void* const feature_dynamics = call.get<const void*>("feature_dynamics");
  void* const grad_scores = call.get<void*>("grad_scores");
  void* const grad_features = call.get<void*>("grad_features");
  call.finish();
  {
    const python::Released released;
    ddl::backward(batch, eps, detach, threads, grad_terms, score_grads, feature_dynamics,
                  grad_scores, grad_features);
  }
  return python::none();
}

}  // namespace

void ladnet::python::add_ddl(Methods& methods) {
  methods.push_back(method<make_batch>("DdlBatch", ddl::kBatchDoc));
  methods.push_back(method<forward>(
      "ddl_forward",
      "The three terms, their gradients with respect to the scores, the feature dynamics and, if "
      "asked for, the gradient of the features."));
  methods.push_back(method<backward>(
      "ddl_backward",
      "The gradients of scores and features from what the forward pass left behind."));
}
