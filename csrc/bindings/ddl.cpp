// Python's way to the losses.
#include <pybind11/pybind11.h>

#include "bindings/ddl_batch.h"
#include "cpu/ddl.h"

namespace py = pybind11;
namespace ddl = ladnet::ddl;

void bind_ddl(py::module_& module) {
  ddl::bind_batch(module);
  module.def(
      "ddl_forward",
      [](const ddl::Batch& batch, uintptr_t labels, double margin, double eps, int64_t topk_divisor,
         int pairing, int select, int detach, int threads, uintptr_t terms, uintptr_t score_grads,
         uintptr_t feature_dynamics) {
        const ddl::Options options =
            ddl::options_of(margin, eps, topk_divisor, pairing, select, detach);
        const py::gil_scoped_release release;
        ddl::forward(batch, pointer<const bool>(labels), options, threads, pointer<void>(terms),
                     pointer<void>(score_grads), pointer<void>(feature_dynamics));
      },
      py::arg("batch"), py::kw_only(), py::arg("labels"), py::arg("margin"), py::arg("eps"),
      py::arg("topk_divisor"), py::arg("pairing"), py::arg("select"), py::arg("detach"),
      py::arg("threads"), py::arg("terms"), py::arg("score_grads"), py::arg("feature_dynamics"),
      "The three terms, their gradients with respect to the scores, and the feature dynamics.");
  module.def(
      "ddl_backward",
      [](const ddl::Batch& batch, double eps, int detach, int threads, uintptr_t grad_terms,
         uintptr_t score_grads, uintptr_t feature_dynamics, uintptr_t grad_scores,
         uintptr_t grad_features) {
        const py::gil_scoped_release release;
        ddl::backward(batch, eps, static_cast<ddl::Detach>(detach), threads,
                      pointer<const void>(grad_terms), pointer<const void>(score_grads),
                      pointer<const void>(feature_dynamics), pointer<void>(grad_scores),
                      pointer<void>(grad_features));
      },
      py::arg("batch"), py::kw_only(), py::arg("eps"), py::arg("detach"), py::arg("threads"),
      py::arg("grad_terms"), py::arg("score_grads"), py::arg("feature_dynamics"),
      py::arg("grad_scores"), py::arg("grad_features"),
      "The gradients of scores and features from what the forward pass left behind.");
}
