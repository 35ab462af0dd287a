// Python's view of csrc/cpu/linear.h. Rows are (pointer, batch stride, row stride).
#include "cpu/linear.h"

#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/methods.h"
#include "cpu/pages.h"

namespace linear = ladnet::linear;
namespace python = ladnet::python;

namespace {

constexpr const char* kLayer = "ladnet_fast._cpu.LinearLayer";
constexpr const char* kChain = "ladnet_fast._cpu.LinearChain";

template <class T>
linear::Rows<T> rows(PyObject* given) {
  linear::Rows<T> result;
  if (given != nullptr) {
    python::unpack(given, &result.data, &result.batch_stride, &result.row_stride);
  }
  return result;
}

// A null pointer where the argument is left out.
template <class T>
linear::Rows<T> optional_rows(python::Call& call, const char* name) {
  return rows<T>(call.get<PyObject*>(name, nullptr));
}

// Calls read(item) for every item of a list.
template <class Read>
void for_each(PyObject* list, const Read& read) {
  const Py_ssize_t size = python::size_of(list);
  for (Py_ssize_t i = 0; i < size; ++i) read(python::item_of(list, i));
}

// (rows, width) each.
template <class Part, class T>
std::vector<Part> parts(PyObject* given) {
  std::vector<Part> result;
  for_each(given, [&](PyObject* part) {
    PyObject* part_rows = nullptr;
    int64_t width = 0;
    python::unpack(part, &part_rows, &width);
    result.push_back({rows<T>(part_rows), width});
  });
  return result;
}

std::vector<float*> addresses(PyObject* given) {
  std::vector<float*> result;
  for_each(given, [&](PyObject* item) { python::from_python(item, &result.emplace_back()); });
  return result;
}

PyObject* make_layer(python::Call& call) {
  linear::LayerSpec layer;
  layer.inputs = call.get<int64_t>("inputs");
  for_each(call.get<PyObject*>("weights"), [&](PyObject* given) {
    linear::Weight weight{};
    python::unpack(given, &weight.data, &weight.row_stride, &weight.bias, &weight.outputs);
    layer.weights.push_back(weight);
  });
  const bool gelu = call.get("gelu", false);
  layer.norm_weight = call.get<const float*>("norm_weight", nullptr);
  layer.norm_bias = call.get<const float*>("norm_bias", nullptr);
  layer.residual = optional_rows<const float>(call, "residual");
  layer.eps = static_cast<float>(call.get("eps", 0.0));
  layer.pre = optional_rows<float>(call, "pre");
  layer.keep = optional_rows<const uint8_t>(call, "keep");
  layer.keep_scale = static_cast<float>(call.get("keep_scale", 1.0));
  call.finish();
  layer.epilogue = gelu                           ? linear::Epilogue::kGelu
                   : layer.norm_weight != nullptr ? linear::Epilogue::kNormalise
                                                  : linear::Epilogue::kNone;
  return python::hold(std::move(layer), kLayer);
}

PyObject* make_chain(python::Call& call) {
  linear::Problem problem;
  problem.batches = call.get<int64_t>("batches");
  problem.T = call.get<int64_t>("T");
  problem.lengths = call.get<const int64_t*>("lengths");
  problem.threads = call.get<int>("threads");
  for_each(call.get<PyObject*>("layers"), [&](PyObject* layer) {
    problem.layers.push_back(python::held<linear::LayerSpec>(layer, kLayer));
  });
  problem.partitions = call.get<int64_t>("partitions");
  call.finish();
  if (problem.layers.empty() || static_cast<int64_t>(problem.layers.size()) > linear::kMaxLayers) {
    throw std::invalid_argument("layers must be from 1 to 16; got " +
                                std::to_string(problem.layers.size()));
  }
  if (problem.partitions < 1)
    throw std::invalid_argument("partitions must be at least 1; got " +
                                std::to_string(problem.partitions));
  return python::hold(std::move(problem), kChain);
}

PyObject* forward(python::Call& call) {
  const auto& problem = python::held<linear::Problem>(call.next(), kChain);
  const auto input = rows<const float>(call.get<PyObject*>("input"));
  const auto outputs = parts<linear::OutputPart, float>(call.get<PyObject*>("outputs"));
  call.finish();
  {
    const python::Released released;
    linear::forward(problem, input, outputs);
  }
  return python::none();
}

linear::LayerGrads layer_grads(PyObject* given) {
  PyObject *weights = nullptr, *biases = nullptr;
  linear::LayerGrads grads;
  python::unpack(given, &weights, &biases, &grads.norm_weight, &grads.norm_bias);
  grads.weights = addresses(weights);
  grads.biases = addresses(biases);
  return grads;
}

PyObject* backward(python::Call& call) {
  const auto& problem = python::held<linear::Problem>(call.next(), kChain);
  const auto input = rows<const float>(call.get<PyObject*>("input"));
  const auto grads = parts<linear::InputPart, const float>(call.get<PyObject*>("grads"));
  const auto grad_input = rows<float>(call.get<PyObject*>("grad_input"));
  const auto grad_residual = rows<float>(call.get<PyObject*>("grad_residual"));
  std::vector<linear::LayerGrads> parameters;
  for_each(call.get<PyObject*>("parameters"),
           [&](PyObject* layer) { parameters.push_back(layer_grads(layer)); });
  call.finish();
  {
    const python::Released released;
    linear::backward(problem, input, grads, grad_input, grad_residual, parameters);
  }
  return python::none();
}

PyObject* advise_huge_pages(python::Call& call) {
  void* const data = python::converted<void*>(call.next());
  const auto bytes = python::converted<int64_t>(call.next());
  call.finish();
  ladnet::prefer_huge_pages(data, bytes);
  return python::none();
}

// Keeps Python's lock: no other thread of Python draws from the generator meanwhile.
PyObject* draw_keeps(python::Call& call) {
  void* const state = call.get<void*>("generator_state");
  const auto keep = call.get<double>("keep");
  const auto count = call.get<int64_t>("count");
  auto* const keeps = call.get<uint8_t*>("keeps");
  call.finish();
  linear::draw_keeps(state, keep, count, keeps);
  return python::none();
}

PyObject* processor_vendor(python::Call& call) {
  call.finish();
  return python::text(linear::processor_vendor());
}

}  // namespace

void ladnet::python::add_linear(Methods& methods) {
  methods.push_back(method<make_layer>("LinearLayer", "A linear layer and what follows it."));
  methods.push_back(
      method<make_chain>("LinearChain", "Layers applied to every snippet of a batch."));
  methods.push_back(
      method<forward>("linear_forward", "Fill the outputs, and `pre` of layers that have one."));
  methods.push_back(method<backward>(
      "linear_backward", "Fill the gradients; `parameters` is empty or has one entry per layer."));
  methods.push_back(method<advise_huge_pages>("prefer_huge_pages",
                                              "Advice for memory that is about to be written."));
  methods.push_back(method<draw_keeps>(
      "draw_keeps", "Draw what dropout keeps as torch does, and move the generator's state on."));
  methods.push_back(method<processor_vendor>("processor_vendor", "'amd', 'intel' or 'other'."));
}
