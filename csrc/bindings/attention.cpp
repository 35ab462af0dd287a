// Python's view of csrc/cpu/attention.h. A tensor is (pointer, batch, head and row stride).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>
#include <tuple>

#include "cpu/attention.h"

namespace py = pybind11;
namespace attention = ladnet::attention;

namespace {

using TensorTuple = std::tuple<uintptr_t, int64_t, int64_t, int64_t>;

void* pointer(uintptr_t address) {
  return reinterpret_cast<void*>(address);
}

attention::Tensor tensor(const TensorTuple& t) {
  return {pointer(std::get<0>(t)), std::get<1>(t), std::get<2>(t), std::get<3>(t)};
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

attention::Problem make_problem(const std::string& dtype_name, const std::string& prior_name,
                                double scale, const std::array<int64_t, 4>& shape,
                                uintptr_t lengths, uintptr_t cu_seqlens, int64_t offsets,
                                uintptr_t w, uintptr_t b, int threads) {
  attention::Problem problem;
  problem.dtype = dtype(dtype_name);
  problem.prior = prior(prior_name);
  problem.scale = scale;
  problem.batches = shape[0];
  problem.heads = shape[1];
  problem.T = shape[2];
  problem.d = shape[3];
  problem.lengths = static_cast<const int64_t*>(pointer(lengths));
  problem.cu_seqlens = static_cast<const int64_t*>(pointer(cu_seqlens));
  problem.offsets = offsets;
  problem.w = pointer(w);
  problem.b = pointer(b);
  problem.threads = threads;
  return problem;
}

}  // namespace

void bind_attention(py::module_& module) {
  py::class_<attention::Problem>(module, "AttentionProblem",
                                 "What the forward and backward pass of a call share.")
      .def(py::init(&make_problem), py::kw_only(), py::arg("dtype"), py::arg("prior"),
           py::arg("scale"), py::arg("shape"), py::arg("lengths"), py::arg("cu_seqlens"),
           py::arg("offsets"), py::arg("w"), py::arg("b"), py::arg("threads"));

  module.def(
      "attention_forward",
      [](const attention::Problem& problem, const TensorTuple& q, const TensorTuple& k,
         const TensorTuple& v, const TensorTuple& out, const TensorTuple& softmax_out,
         uintptr_t lse) {
        attention::forward(problem, {tensor(q), tensor(k), tensor(v), tensor(out),
                                     tensor(softmax_out), pointer(lse)});
      },
      py::arg("problem"), py::kw_only(), py::arg("q"), py::arg("k"), py::arg("v"), py::arg("out"),
      py::arg("softmax_out"), py::arg("lse"), py::call_guard<py::gil_scoped_release>(),
      "Fill out, softmax_out (if not null) and lse.");

  module.def(
      "attention_backward",
      [](const attention::Problem& problem, const TensorTuple& grad_out, const TensorTuple& q,
         const TensorTuple& k, const TensorTuple& v, const TensorTuple& attended, uintptr_t lse,
         const TensorTuple& grad_q, const TensorTuple& grad_k, const TensorTuple& grad_v,
         uintptr_t grad_w, uintptr_t grad_b) {
        attention::backward(
            problem,
            {tensor(grad_out), tensor(q), tensor(k), tensor(v), tensor(attended), pointer(lse),
             tensor(grad_q), tensor(grad_k), tensor(grad_v), pointer(grad_w), pointer(grad_b)});
      },
      py::arg("problem"), py::kw_only(), py::arg("grad_out"), py::arg("q"), py::arg("k"),
      py::arg("v"), py::arg("attended"), py::arg("lse"), py::arg("grad_q"), py::arg("grad_k"),
      py::arg("grad_v"), py::arg("grad_w"), py::arg("grad_b"),
      py::call_guard<py::gil_scoped_release>(),
      "Fill the gradients; those of w and b only if their pointers are not null.");
}
