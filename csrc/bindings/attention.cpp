// Python's view of csrc/cpu/attention.h. A tensor is (pointer, batch, head and row stride).
#include "cpu/attention.h"

#include "bindings/choices.h"
#include "bindings/methods.h"

namespace attention = ladnet::attention;
namespace python = ladnet::python;

namespace {

constexpr const char* kProblem = "ladnet_fast._cpu.AttentionProblem";

attention::Tensor tensor(python::Call& call, const char* name) {
  attention::Tensor result{};
  python::unpack(call.get<PyObject*>(name), &result.data, &result.batch_stride, &result.head_stride,
                 &result.row_stride);
  return result;
}

PyObject* make_problem(python::Call& call) {
  attention::Problem problem;
  problem.dtype = python::dtype(call, "dtype");
  problem.prior = python::choice<attention::Prior>(call, "prior",
                                                   {{"additive", attention::Prior::kAdditive},
                                                    {"logit", attention::Prior::kLogit},
                                                    {"none", attention::Prior::kNone}});
  problem.scale = call.get<double>("scale");
  python::unpack(call.get<PyObject*>("shape"), &problem.batches, &problem.heads, &problem.T,
                 &problem.d);
  problem.lengths = call.get<const int64_t*>("lengths");
  problem.cu_seqlens = call.get<const int64_t*>("cu_seqlens");
  problem.offsets = call.get<int64_t>("offsets");
  problem.w = call.get<void*>("w");
  problem.b = call.get<void*>("b");
  problem.threads = call.get<int>("threads");
  call.finish();
  return python::hold(problem, kProblem);
}

PyObject* forward(python::Call& call) {
  const auto& problem = python::held<attention::Problem>(call.next(), kProblem);
  const attention::ForwardTensors tensors{tensor(call, "q"),           tensor(call, "k"),
                                          tensor(call, "v"),           tensor(call, "out"),
                                          tensor(call, "softmax_out"), call.get<void*>("lse")};
  call.finish();
  {
    const python::Released released;
    attention::forward(problem, tensors);
  }
  return python::none();
}

PyObject* backward(python::Call& call) {
  const auto& problem = python::held<attention::Problem>(call.next(), kProblem);
  const attention::BackwardTensors tensors{
      tensor(call, "grad_out"),  tensor(call, "q"),        tensor(call, "k"),
      tensor(call, "v"),         tensor(call, "attended"), call.get<void*>("lse"),
      tensor(call, "grad_q"),    tensor(call, "grad_k"),   tensor(call, "grad_v"),
      call.get<void*>("grad_w"), call.get<void*>("grad_b")};
  call.finish();
  {
    const python::Released released;
    attention::backward(problem, tensors);
  }
  return python::none();
}

}  // namespace

void ladnet::python::add_attention(Methods& methods) {
  methods.push_back(method<make_problem>("AttentionProblem",
                                         "What the forward and backward pass of a call share."));
  methods.push_back(
      method<forward>("attention_forward", "Fill out, softmax_out (if not null) and lse."));
  methods.push_back(method<backward>(
      "attention_backward",
      "Fill the gradients; those of w and b only if their pointers are not null."));
}
