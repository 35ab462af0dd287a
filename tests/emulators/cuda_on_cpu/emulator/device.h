// The device on which kernels are launched: settings, limits, and the error of the last launch.
#pragma once

#include <driver_types.h>

#include <map>
#include <string>
#include <vector>

#include "block.h"

namespace cuda_on_cpu {

// One launch: what <<<>>> says, and how a thread of it is run.
struct Launch {
  const void* kernel;
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
  Block::Body body;
  void* body_argument;
  std::vector<const void*> arguments;  // where each argument of the kernel lies
  std::vector<size_t> argument_bytes;
};

class Device {
 public:
  // Runs a launch in another way than on fibers; not 0 if that failed. `offset` is the kernel's
  // address in its library.
  using Hook = int (*)(size_t offset, const unsigned grid[3], const unsigned block[3],
                       size_t shared_bytes, int arguments, const void* const* argument,
                       const size_t* argument_bytes);

  static Device& get();

  Schedule schedule = Schedule::kUp;
  unsigned seed = 1;
  unsigned long long launches = 0;
  Hook hook = nullptr;

  // Runs all blocks of a grid, one after the other in the order of the schedule. What goes wrong
  // is kept as an error of the device, as on a GPU.
  void launch(const Launch& launch);

  // cudaFuncAttributeMaxDynamicSharedMemorySize.
  cudaError_t allow_shared(const void* kernel, size_t bytes);

  // What cudaGetLastError and cudaPeekAtLastError return.
  cudaError_t last_error(bool clear);

  // The first message since the last call, whether or not the code that launched has looked.
  std::string take_message();

  // The message of the last failed launch, for cudaGetErrorString.
  const std::string& last_message() const { return last_message_; }

 private:
  void record(cudaError_t error, const std::string& message);
  std::string run(const Launch& launch);
  std::string call_hook(const Launch& launch);

  std::map<const void*, size_t> allowed_shared_;
  cudaError_t error_ = cudaSuccess;
  std::string last_message_, first_message_;
};

}  // namespace cuda_on_cpu
