// The Python module ladnet_fast._cuda: device pointers, sizes and strides in, nothing of torch.
#include <cuda_runtime_api.h>

#include <optional>
#include <string>

#include "bindings/cuda_methods.h"

// What the kernels were compiled for, as CMake writes it: 80-real,90-real,120 (the last as PTX,
// too).
#if !defined(LADNET_CUDA_ARCHS)
#define LADNET_CUDA_ARCHS ""
#endif

namespace python = ladnet::python;

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

PyObject* device_count(python::Call& call) {
  call.finish();
  int count = 0;
  (void)why_no_device(&count);
  return PyLong_FromLong(count);
}

PyObject* explain_no_device(python::Call& call) {
  call.finish();
  int count = 0;
  const std::optional<std::string> reason = why_no_device(&count);
  return reason ? python::text(*reason) : python::none();
}

}  // namespace

PyMODINIT_FUNC PyInit__cuda() {
  using python::method;
  static PyModuleDef definition{
      PyModuleDef_HEAD_INIT,
      "_cuda",
      "Kernels for NVIDIA GPUs. Every argument has been checked by the Python that calls.",
      -1,
      nullptr,
      nullptr,
      nullptr,
      nullptr,
      nullptr};
  static python::Methods methods;
  methods = {
      method<device_count>("device_count",
                           "How many devices the CUDA runtime sees; 0 without a driver."),
      method<explain_no_device>(
          "why_no_device",
          "Why it sees none, with the CUDA error's code; None if it sees one. Starts the driver."),
  };
  python::add_cuda_ddl(methods);
  PyObject* const module = python::make_module(&definition, &methods);
  if (module != nullptr &&
      PyModule_AddStringConstant(module, "architectures", LADNET_CUDA_ARCHS) != 0) {
    Py_DECREF(module);
    return nullptr;
  }
  return module;
}
