// What the bindings of the losses on CPUs and on GPUs share: how Python describes bags and options.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/pointer.h"
#include "core/ddl_batch.h"

namespace ladnet::ddl {

inline Batch batch_of(int64_t bags, int64_t T, int64_t width, uintptr_t scores, uintptr_t features,
                      int dtype, int64_t batch_stride, int64_t row_stride, uintptr_t lengths,
                      uintptr_t cu_seqlens) {
  return {bags,
          T,
          width,
          pointer<const void>(scores),
          pointer<const void>(features),
          static_cast<Dtype>(dtype),
          batch_stride,
          row_stride,
          pointer<const int64_t>(lengths),
          pointer<const int64_t>(cu_seqlens)};
}

inline Options options_of(double margin, double eps, int64_t topk_divisor, int pairing, int select,
                          int detach) {
  return {margin,
          eps,
          topk_divisor,
          static_cast<Pairing>(pairing),
          static_cast<Select>(select),
          static_cast<Detach>(detach)};
}

// Local to the module: both modules may be loaded in one process.
inline void bind_batch(pybind11::module_& module) {
  namespace py = pybind11;
  py::class_<Batch>(module, "DdlBatch", "Bags of scores and features: sizes and addresses.",
                    py::module_local())
      .def(py::init(&batch_of), py::kw_only(), py::arg("bags"), py::arg("T"), py::arg("width"),
           py::arg("scores"), py::arg("features"), py::arg("dtype"), py::arg("batch_stride"),
           py::arg("row_stride"), py::arg("lengths"), py::arg("cu_seqlens"));
}

}  // namespace ladnet::ddl
