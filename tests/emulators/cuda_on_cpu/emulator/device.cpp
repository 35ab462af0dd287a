#include "device.h"

#include <dlfcn.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "device_memory.h"
#include "shared_memory.h"

namespace cuda_on_cpu {
namespace {

// The limits that every supported architecture has.
std::string problem_with(dim3 grid, dim3 block) {
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64) {
    return "a block must have 1 to 1024 threads, at most 64 of them in z; got (" +
           std::to_string(block.x) + "," + std::to_string(block.y) + "," + std::to_string(block.z) +
           ")";
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535) {
    return "a grid must have 1 to 2^31-1 blocks in x, 1 to 65535 in y and z; got (" +
           std::to_string(grid.x) + "," + std::to_string(grid.y) + "," + std::to_string(grid.z) +
           ")";
  }
  return "";
}

}  // namespace

Device& Device::get() {
  static Device* const device = new Device;
  return *device;
}

void Device::launch(const Launch& launch) {
  ++launches;
  const auto allowed = allowed_shared_.find(launch.kernel);
  const size_t limit = allowed == allowed_shared_.end() ? kDefaultSharedBytes : allowed->second;
  std::string problem = problem_with(launch.grid, launch.block);
  if (problem.empty() && launch.shared_bytes > limit) {
    problem = std::to_string(launch.shared_bytes) + " bytes of dynamic shared memory, and " +
              std::to_string(limit) + " are allowed (see cudaFuncSetAttribute)";
  }
  if (!problem.empty()) return record(cudaErrorInvalidConfiguration, problem);
  problem = hook != nullptr ? call_hook(launch) : run(launch);
  if (!problem.empty()) record(cudaErrorLaunchFailure, problem);
}

std::string Device::call_hook(const Launch& launch) {
  Dl_info library{};
  dladdr(launch.kernel, &library);
  const size_t offset =
      reinterpret_cast<uintptr_t>(launch.kernel) - reinterpret_cast<uintptr_t>(library.dli_fbase);
  const unsigned grid[3] = {launch.grid.x, launch.grid.y, launch.grid.z};
  const unsigned block[3] = {launch.block.x, launch.block.y, launch.block.z};
  const int failed =
      hook(offset, grid, block, launch.shared_bytes, static_cast<int>(launch.arguments.size()),
           launch.arguments.data(), launch.argument_bytes.data());
  return failed != 0 ? "the launch hook failed" : "";
}

std::string Device::run(const Launch& launch) {
  const dim3 grid = launch.grid;
  std::vector<uint64_t> order(uint64_t(grid.x) * grid.y * grid.z);
  std::iota(order.begin(), order.end(), uint64_t(0));
  if (schedule == Schedule::kDown) std::reverse(order.begin(), order.end());
  if (schedule == Schedule::kRandom) {
    std::shuffle(order.begin(), order.end(), std::mt19937(seed));
  }
  SharedMemory shared(launch.kernel, launch.shared_bytes);
  Block& block = Block::current();
  block.prepare(launch.block, grid, launch.body, launch.body_argument, schedule, seed);
  for (const uint64_t i : order) {
    const uint3 index = {static_cast<unsigned>(i % grid.x),
                         static_cast<unsigned>(i / grid.x % grid.y),
                         static_cast<unsigned>(i / grid.x / grid.y)};
    shared.fill_with_nan();
    std::string problem = block.run(index);
    if (problem.empty()) problem = shared.check();
    if (!problem.empty()) return problem;
  }
  return check_red_zones();
}

cudaError_t Device::allow_shared(const void* kernel, size_t bytes) {
  if (bytes > kMaxSharedBytes) return cudaErrorInvalidValue;
  allowed_shared_[kernel] = bytes;
  return cudaSuccess;
}

void Device::record(cudaError_t error, const std::string& message) {
  error_ = error;
  last_message_ = message;
  if (first_message_.empty()) first_message_ = message;
}

cudaError_t Device::last_error(bool clear) {
  const cudaError_t error = error_;
  if (clear) error_ = cudaSuccess;
  return error;
}

std::string Device::take_message() {
  std::string message;
  message.swap(first_message_);
  return message;
}

}  // namespace cuda_on_cpu
