// Python's way to the losses on a GPU. Addresses are integers from Tensor.data_ptr(), 0 for none;
// but for `stream`, a cudaStream_t, all of them are the device's.
#include "bindings/cuda_methods.h"
#include "bindings/ddl_batch.h"
#include "cuda/check.h"
#include "cuda/ddl.h"

namespace ddl = ladnet::ddl;
namespace python = ladnet::python;

namespace {

constexpr const char* kBatch = "ladnet_fast._cuda.DdlBatch";

// How work is cut, for a device of so many multiprocessors.
ddl::gpu::Tuning tuning_of(python::Call& call, int64_t multiprocessors) {
  constexpr ddl::gpu::Tuning kStandard;
  return {call.get("chunk", kStandard.chunk), call.get("strip", kStandard.strip),
          call.get("part", kStandard.part), multiprocessors};
}

int64_t multiprocessors_of(int device) {
  int count = 0;
  ladnet::gpu::check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device),
                     "cudaDeviceGetAttribute");
  return count;
}

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

PyObject* make_batch(python::Call& call) {
  return python::hold(ddl::batch_of(call), kBatch);
}

PyObject* workspace_bytes(python::Call& call) {
  const auto& batch = python::held<ddl::Batch>(call.next(), kBatch);
  const ddl::gpu::Tuning tuning = tuning_of(call, 1);  // the device's number does not matter here
  call.finish();
  return PyLong_FromLongLong(ddl::gpu::workspace_bytes(batch, tuning));
}

PyObject* list_launches(python::Call& call) {
  const auto& batch = python::held<ddl::Batch>(call.next(), kBatch);
  const ddl::Pairing pairing = ddl::pairing_of(call);
  const ddl::Detach detach = ddl::detach_of(call);
  const ddl::gpu::Tuning tuning = tuning_of(call, call.get<int64_t>("multiprocessors"));
  call.finish();
  PyObject* const list = PyList_New(0);
  if (list == nullptr) throw python::ErrorIsSet();
  for (const auto& launches : {ddl::gpu::forward_launches(batch, pairing, tuning),
                               ddl::gpu::backward_launches(batch, detach, tuning)}) {
    for (const ddl::gpu::Launch& launch : launches) {
      PyObject* const entry = Py_BuildValue("(sLi)", launch.kernel,
                                            static_cast<long long>(launch.blocks), launch.threads);
      const int failed = entry == nullptr ? -1 : PyList_Append(list, entry);
      Py_XDECREF(entry);
      if (failed != 0) {
        Py_DECREF(list);
        throw python::ErrorIsSet();
      }
    }
  }
  return list;
}

PyObject* forward(python::Call& call) {
  const auto& batch = python::held<ddl::Batch>(call.next(), kBatch);
  const int device = call.get<int>("device");
  const auto stream = call.get<CUstream_st*>("stream");
  const auto* const labels = call.get<const bool*>("labels");
  const ddl::Options options = ddl::options_of(call);
  void* const workspace = call.get<void*>("workspace");
  auto* const terms = call.get<float*>("terms");
  auto* const score_grads = call.get<float*>("score_grads");
  auto* const feature_dynamics = call.get<float*>("feature_dynamics");
  ddl::gpu::Tuning tuning = tuning_of(call, 1);
  call.finish();
  {
    const python::Released released;
    const DeviceGuard guard(device);
    tuning.multiprocessors = multiprocessors_of(device);
    ddl::gpu::forward(batch, labels, options, tuning, workspace, stream, terms, score_grads,
                      feature_dynamics);
  }
  return python::none();
}

PyObject* backward(python::Call& call) {
  const auto& batch = python::held<ddl::Batch>(call.next(), kBatch);
  const int device = call.get<int>("device");
  const auto stream = call.get<CUstream_st*>("stream");
  const double eps = call.get<double>("eps");
  const ddl::Detach detach = ddl::detach_of(call);
  const auto* const grad_terms = call.get<const float*>("grad_terms");
  const auto* const score_grads = call.get<const float*>("score_grads");
  const auto* const feature_dynamics = call.get<const float*>("feature_dynamics");
  auto* const grad_scores = call.get<float*>("grad_scores");
  void* const grad_features = call.get<void*>("grad_features");
  ddl::gpu::Tuning tuning = tuning_of(call, 1);
  call.finish();
  {
    const python::Released released;
    const DeviceGuard guard(device);
    tuning.multiprocessors = multiprocessors_of(device);
    ddl::gpu::backward(batch, eps, detach, tuning, stream, grad_terms, score_grads,
                       feature_dynamics, grad_scores, grad_features);
  }
  return python::none();
}

}  // namespace

void ladnet::python::add_cuda_ddl(Methods& methods) {
  methods.push_back(method<make_batch>("DdlBatch", ddl::kBatchDoc));
  methods.push_back(method<workspace_bytes>(
      "ddl_workspace_bytes", "Bytes of workspace that ddl_forward needs; from sizes alone."));
  methods.push_back(method<list_launches>("ddl_launches",
                                          "What both passes launch on a device of so many "
                                          "multiprocessors: (kernel, blocks, threads)."));
  methods.push_back(method<forward>(
      "ddl_forward",
      "The three terms, their gradients with respect to the scores, and the feature dynamics."));
  methods.push_back(method<backward>(
      "ddl_backward",
      "The gradients of scores and features from what the forward pass left behind."));
}
