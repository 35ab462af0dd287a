// Python's way to the losses. Addresses are integers from Tensor.data_ptr(), 0 for none.
#include <pybind11/pybind11.h>

#include "cpu/ddl.h"

namespace py = pybind11;
namespace ddl = ladnet::ddl;

namespace {

template <class T>
T* pointer(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

ddl::Batch batch_of(int64_t bags, int64_t T, int64_t width, uintptr_t scores, uintptr_t features,
                    int dtype, int64_t batch_stride, int64_t row_stride, uintptr_t lengths,
                    uintptr_t cu_seqlens) {
  return {bags,
          T,
          width,
          pointer<const void>(scores),
          pointer<const void>(features),
          static_cast<ladnet::Dtype>(dtype),
          batch_stride,
          row_stride,
          pointer<const int64_t>(lengths),
          pointer<const int64_t>(cu_seqlens)};
}

}  // namespace

void bind_ddl(py::module_& module) {
  py::class_<ddl::Batch>(module, "DdlBatch", "Bags of scores and features: sizes and addresses.")
      .def(py::init(&batch_of), py::kw_only(), py::arg("bags"), py::arg("T"), py::arg("width"),
           py::arg("scores"), py::arg("features"), py::arg("dtype"), py::arg("batch_stride"),
           py::arg("row_stride"), py::arg("lengths"), py::arg("cu_seqlens"));
  module.def(
      "ddl_forward",
      [](const ddl::Batch& batch, uintptr_t labels, double margin, double eps, int64_t topk_divisor,
         int pairing, int select, int detach, int threads, uintptr_t terms, uintptr_t score_grads,
         uintptr_t feature_dynamics) {
        const ddl::Options options{margin,
                                   eps,
                                   topk_divisor,
                                   static_cast<ddl::Pairing>(pairing),
                                   static_cast<ddl::Select>(select),
                                   static_cast<ddl::Detach>(detach)};
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
