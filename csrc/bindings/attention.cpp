// Python's view of csrc/cpu/attention.h. A tensor is (pointer, batch, head and row stride).
#include "cpu/attention.h"

#include <stdexcept>
#include <string>

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

ladnet::Dtype dtype(const std::string& name) {
  if (name == "float32") return ladnet::Dtype::kFloat32;
  if (name == "float64") return ladnet::Dtype::kFloat64;
  if (name == "bfloat16") return ladnet::Dtype::kBFloat16;
  if (name == "float16") return ladnet::Dtype::kFloat16;
  throw std::invalid_argument("unknown dtype '" + name + "'");
}

attention::Prior prior(const std::string& name) {
  if (name == "none") return attention::Prior::kNone;
  if (name == "additive") return attention::Prior::kAdditive;
  if (name == "logit") return attention::Prior::kLogit;
  throw std::invalid_argument("unknown prior '" + name + "'");
}

PyObject* make_problem(python::Call& call) {
  attention::Problem problem;
  problem.dtype = dtype(call.get<std::string>("dtype"));
  problem.prior = prior(call.get<std::string>("prior"));
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
