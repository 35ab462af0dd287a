// Python's view of csrc/cpu/linear.h. Rows are (pointer, batch stride, row stride).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <tuple>
#include <vector>

#include "bindings/pointer.h"
#include "cpu/linear.h"
#include "cpu/pages.h"

namespace py = pybind11;
namespace linear = ladnet::linear;

namespace {

using RowsTuple = std::tuple<uintptr_t, int64_t, int64_t>;
using PartTuple = std::tuple<RowsTuple, int64_t>;                        // rows, width
using WeightTuple = std::tuple<uintptr_t, int64_t, uintptr_t, int64_t>;  // see Weight
using GradsTuple = std::tuple<std::vector<uintptr_t>, std::vector<uintptr_t>, uintptr_t, uintptr_t>;

template <class T>
linear::Rows<T> rows(const RowsTuple& r) {
  return {pointer<T>(std::get<0>(r)), std::get<1>(r), std::get<2>(r)};
}

template <class Part, class T>
std::vector<Part> parts(const std::vector<PartTuple>& given) {
  std::vector<Part> result;
  for (const PartTuple& part : given) {
    result.push_back({rows<T>(std::get<0>(part)), std::get<1>(part)});
  }
  return result;
}

linear::LayerSpec make_layer(int64_t inputs, const std::vector<WeightTuple>& weights, bool gelu,
                             const RowsTuple& pre, const RowsTuple& keep, double keep_scale,
                             const RowsTuple& residual, uintptr_t norm_weight, uintptr_t norm_bias,
                             double eps) {
  linear::LayerSpec layer;
  layer.inputs = inputs;
  for (const auto& [data, row_stride, bias, outputs] : weights) {
    layer.weights.push_back(
        {pointer<const float>(data), row_stride, pointer<const float>(bias), outputs});
  }
  layer.residual = rows<const float>(residual);
  layer.epilogue = gelu          ? linear::Epilogue::kGelu
                   : norm_weight ? linear::Epilogue::kNormalise
                                 : linear::Epilogue::kNone;
  layer.pre = rows<float>(pre);
  layer.keep = rows<const uint8_t>(keep);
  layer.keep_scale = static_cast<float>(keep_scale);
  layer.norm_weight = pointer<const float>(norm_weight);
  layer.norm_bias = pointer<const float>(norm_bias);
  layer.eps = static_cast<float>(eps);
  return layer;
}

linear::Problem make_problem(int64_t batches, int64_t T, uintptr_t lengths, int threads,
                             const std::vector<linear::LayerSpec>& layers, int64_t partitions) {
  if (layers.empty() || static_cast<int64_t>(layers.size()) > linear::kMaxLayers) {
    throw std::invalid_argument("a chain has from 1 to 16 layers");
  }
  if (partitions < 1) throw std::invalid_argument("partitions must be at least 1");
  return {batches, T, pointer<const int64_t>(lengths), threads, layers, partitions};
}

}  // namespace

void bind_linear(py::module_& module) {
  const RowsTuple none{0, 0, 0};
  py::class_<linear::LayerSpec>(module, "LinearLayer", "A linear layer and what follows it.")
      .def(py::init(&make_layer), py::kw_only(), py::arg("inputs"), py::arg("weights"),
           py::arg("gelu") = false, py::arg("pre") = none, py::arg("keep") = none,
           py::arg("keep_scale") = 1.0, py::arg("residual") = none, py::arg("norm_weight") = 0,
           py::arg("norm_bias") = 0, py::arg("eps") = 0.0);
  py::class_<linear::Problem>(module, "LinearChain", "Layers applied to every snippet of a batch.")
      .def(py::init(&make_problem), py::kw_only(), py::arg("batches"), py::arg("T"),
           py::arg("lengths"), py::arg("threads"), py::arg("layers"), py::arg("partitions"));

  module.def(
      "linear_forward",
      [](const linear::Problem& problem, const RowsTuple& input,
         const std::vector<PartTuple>& outputs) {
        const auto results = parts<linear::OutputPart, float>(outputs);
        const py::gil_scoped_release release;
        linear::forward(problem, rows<const float>(input), results);
      },
      py::arg("chain"), py::kw_only(), py::arg("input"), py::arg("outputs"),
      "Fill the outputs, and `pre` of layers that have one.");

  module.def(
      "linear_backward",
      [](const linear::Problem& problem, const RowsTuple& input,
         const std::vector<PartTuple>& grads, const RowsTuple& grad_input,
         const RowsTuple& grad_residual, const std::vector<GradsTuple>& parameters) {
        const auto given = parts<linear::InputPart, const float>(grads);
        std::vector<linear::LayerGrads> results;
        for (const auto& [weights, biases, norm_weight, norm_bias] : parameters) {
          linear::LayerGrads layer;
          for (uintptr_t address : weights) layer.weights.push_back(pointer<float>(address));
          for (uintptr_t address : biases) layer.biases.push_back(pointer<float>(address));
          layer.norm_weight = pointer<float>(norm_weight);
          layer.norm_bias = pointer<float>(norm_bias);
          results.push_back(layer);
        }
        const py::gil_scoped_release release;
        linear::backward(problem, rows<const float>(input), given, rows<float>(grad_input),
                         rows<float>(grad_residual), results);
      },
      py::arg("chain"), py::kw_only(), py::arg("input"), py::arg("grads"), py::arg("grad_input"),
      py::arg("grad_residual"), py::arg("parameters"),
      "Fill the gradients; `parameters` is empty or has one entry a layer.");

  module.def(
      "prefer_huge_pages",
      [](uintptr_t data, int64_t bytes) { ladnet::prefer_huge_pages(pointer<void>(data), bytes); },
      py::arg("data"), py::arg("bytes"), "Advice for memory that is about to be written.");

  module.def("processor_vendor", &linear::processor_vendor, "'amd', 'intel' or 'other'.");
}
