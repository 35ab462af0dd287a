// The Python module ladnet_fast._cuda: device pointers, sizes and strides in, nothing of torch.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

// What the kernels were compiled for, as CMake writes it: 80-real,90-real,120 (the last as PTX,
// too).
#if !defined(LADNET_CUDA_ARCHS)
#define LADNET_CUDA_ARCHS ""
#endif

namespace py = pybind11;

void bind_cuda_ddl(py::module_& module);

namespace {

// Why the runtime finds no device; without a driver it may also leave the count at -1.
std::optional<std::string> why_no_device(int* count) {
  *count = 0;
  const cudaError_t error = cudaGetDeviceCount(count);
  if (error == cudaSuccess && *count > 0) return std::nullopt;
  *count = 0;
  (void)cudaGetLastError();  // or the next launch would report it
  const std::string code = " (CUDA error " + std::to_string(static_cast<int>(error)) + ")";
  switch (error) {
    case cudaErrorInsufficientDriver:
      return "no NVIDIA driver, or one older than the CUDA runtime " +
             std::to_string(CUDART_VERSION / 1000) + "." +
             std::to_string(CUDART_VERSION / 10 % 100) + " that ladnet_fast._cuda holds" + code;
    case cudaErrorNoDevice:
    case cudaSuccess:
      return "the driver sees no NVIDIA device" + code;
    default:
      return cudaGetErrorString(error) + code;
  }
}

}  // namespace

PYBIND11_MODULE(_cuda, module) {
  module.doc() =
      "Kernels for NVIDIA GPUs. Every argument has been checked by the Python that calls.";
  module.def(
      "device_count",
      [] {
        int count = 0;
        (void)why_no_device(&count);
        return count;
      },
      "How many devices the CUDA runtime sees; 0 without a driver.");
  module.def(
      "why_no_device",
      [] {
        int count = 0;
        return why_no_device(&count);
      },
      "Why it sees none, with the CUDA error's code; None if it sees one. Starts the driver.");
  module.attr("architectures") = LADNET_CUDA_ARCHS;
  bind_cuda_ddl(module);
}
