// The calls of the CUDA runtime that launchers make, and the tests' own way in.
#include <cuda_runtime_api.h>
#include <string.h>

#include "device.h"
#include "device_memory.h"
#include "shared_memory.h"

using cuda_on_cpu::Device;

extern "C" {

// ---- Memory ----

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  *pointer = cuda_on_cpu::allocate(bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  return cuda_on_cpu::deallocate(pointer) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  memset(to, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}

// ---- Device and streams: there is one, of compute capability 8.0, and every call is complete ----

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = 8;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(cuda_on_cpu::kDefaultSharedBytes);
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(cuda_on_cpu::kMaxSharedBytes);
      return cudaSuccess;
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t cudaDeviceSynchronize() {
  return Device::get().last_error(false);
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return Device::get().last_error(false);
}

// ---- Errors ----

cudaError_t cudaGetLastError() {
  return Device::get().last_error(true);
}

cudaError_t cudaPeekAtLastError() {
  return Device::get().last_error(false);
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    default:
      return "cudaErrorInvalidValue";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  const bool is_launch = error == cudaErrorInvalidConfiguration || error == cudaErrorLaunchFailure;
  return is_launch ? Device::get().last_message().c_str() : cudaGetErrorName(error);
}

// ---- Kernels ----

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaErrorInvalidValue;
  return Device::get().allow_shared(kernel, static_cast<size_t>(value));
}

// ---- The tests' way in ----

void cuda_on_cpu_configure(int schedule, unsigned seed) {
  Device::get().schedule = static_cast<cuda_on_cpu::Schedule>(schedule);
  Device::get().seed = seed;
}

// Null for the fibers again.
void cuda_on_cpu_set_hook(Device::Hook hook) {
  Device::get().hook = hook;
}

void cuda_on_cpu_remove_barrier(const char* file, int line) {
  cuda_on_cpu::Block::current().remove_barrier(file, line);
}

// Valid until the next call.
const char* cuda_on_cpu_barriers_reached() {
  static std::string* const lines = new std::string;
  *lines = cuda_on_cpu::Block::current().barriers_reached();
  return lines->c_str();
}

unsigned long long cuda_on_cpu_launches() {
  return Device::get().launches;
}

// The first message since the last call, empty if all went well; valid until the next call.
const char* cuda_on_cpu_take_message() {
  static std::string* const message = new std::string;
  *message = Device::get().take_message();
  return message->c_str();
}

}  // extern "C"
