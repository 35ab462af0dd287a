// Shared memory: __shared__ variables are thread_local, and dynamic shared memory is one array.
//
// The kernels lie in a library of their own, whose thread-local storage holds nothing else. So it
// can be filled with NaN before each block, as one that relies on what another block left deserves.
#pragma once

#include <stddef.h>

#include <string>

namespace cuda_on_cpu {

// What one block of the newest architectures can have, and what it has without asking for more.
constexpr size_t kMaxSharedBytes = size_t(227) << 10;
constexpr size_t kDefaultSharedBytes = size_t(48) << 10;

class SharedMemory {
 public:
  // Finds the storage of the library that holds `kernel`. Dynamic shared memory has `bytes` bytes;
  // AddressSanitizer reports an access behind them, and without it check() finds a write.
  SharedMemory(const void* kernel, size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void fill_with_nan();

  // Returns what is wrong after a block, or an empty string.
  std::string check() const;

 private:
  char* storage_ = nullptr;
  size_t storage_bytes_ = 0;
  char* dynamic_ = nullptr;
  size_t dynamic_bytes_;
};

// Registered by each library of kernels when it is loaded: the address of its dynamic shared
// memory, kMaxSharedBytes long, in the calling thread.
void register_dynamic_shared(char* (*address)());

}  // namespace cuda_on_cpu
