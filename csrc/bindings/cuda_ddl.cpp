// Python's way to the losses on a GPU. Addresses are integers from Tensor.data_ptr(), 0 for none;
// but for `stream`, a cudaStream_t, all of them are the device's.
#include <pybind11/pybind11.h>

#include "bindings/ddl_batch.h"
#include "cuda/check.h"
#include "cuda/ddl.h"

namespace py = pybind11;
namespace ddl = ladnet::ddl;

namespace {

// Makes a device current, and afterwards the one that was.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) : device_(device) {
    ladnet::gpu::check(cudaGetDevice(&previous_), "cudaGetDevice");
    if (device_ != previous_) ladnet::gpu::check(cudaSetDevice(device_), "cudaSetDevice");
  }
  ~DeviceGuard() {
    if (device_ != previous_) (void)cudaSetDevice(previous_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int device_;
  int previous_ = 0;
};

}  // namespace

void bind_cuda_ddl(py::module_& module) {
  const ddl::gpu::Tuning standard;
  ddl::bind_batch(module);
  module.def(
      "ddl_workspace_bytes",
      [](const ddl::Batch& batch, int64_t chunk) {
        return ddl::gpu::workspace_bytes(batch, {chunk, 0});
      },
      py::arg("batch"), py::kw_only(), py::arg("chunk") = standard.chunk,
      "Bytes of workspace that ddl_forward needs; from sizes alone.");
  module.def(
      "ddl_forward",
      [](const ddl::Batch& batch, int device, uintptr_t stream, uintptr_t labels, double margin,
         double eps, int64_t topk_divisor, int pairing, int select, int detach, uintptr_t workspace,
         uintptr_t terms, uintptr_t score_grads, uintptr_t feature_dynamics, int64_t chunk,
         int64_t strip) {
        const ddl::Options options =
            ddl::options_of(margin, eps, topk_divisor, pairing, select, detach);
        const py::gil_scoped_release release;
        const DeviceGuard guard(device);
        ddl::gpu::forward(batch, pointer<const bool>(labels), options, {chunk, strip},
                          pointer<void>(workspace), pointer<CUstream_st>(stream),
                          pointer<float>(terms), pointer<float>(score_grads),
                          pointer<float>(feature_dynamics));
      },
      py::arg("batch"), py::kw_only(), py::arg("device"), py::arg("stream"), py::arg("labels"),
      py::arg("margin"), py::arg("eps"), py::arg("topk_divisor"), py::arg("pairing"),
      py::arg("select"), py::arg("detach"), py::arg("workspace"), py::arg("terms"),
      py::arg("score_grads"), py::arg("feature_dynamics"), py::arg("chunk") = standard.chunk,
      py::arg("strip") = standard.strip,
      "The three terms, their gradients with respect to the scores, and the feature dynamics.");
  module.def(
      "ddl_backward",
      [](const ddl::Batch& batch, int device, uintptr_t stream, double eps, int detach,
         uintptr_t grad_terms, uintptr_t score_grads, uintptr_t feature_dynamics,
         uintptr_t grad_scores, uintptr_t grad_features, int64_t strip) {
        const py::gil_scoped_release release;
        const DeviceGuard guard(device);
        ddl::gpu::backward(batch, eps, static_cast<ddl::Detach>(detach), {0, strip},
                           pointer<CUstream_st>(stream), pointer<const float>(grad_terms),
                           pointer<const float>(score_grads),
                           pointer<const float>(feature_dynamics), pointer<float>(grad_scores),
                           pointer<void>(grad_features));
      },
      py::arg("batch"), py::kw_only(), py::arg("device"), py::arg("stream"), py::arg("eps"),
      py::arg("detach"), py::arg("grad_terms"), py::arg("score_grads"), py::arg("feature_dynamics"),
      py::arg("grad_scores"), py::arg("grad_features"), py::arg("strip") = standard.strip,
      "The gradients of scores and features from what the forward pass left behind.");
}
