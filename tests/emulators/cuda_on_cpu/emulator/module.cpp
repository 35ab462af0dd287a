// Linked into each library of kernels: tells the emulator where its dynamic shared memory lies.
#include "shared_memory.h"

// Defined in assembly that the build writes, with every name that the kernels give to it.
extern "C" thread_local char cuda_on_cpu_dynamic_shared[];

namespace {

char* address() {
  return cuda_on_cpu_dynamic_shared;
}

const bool registered = [] {
  cuda_on_cpu::register_dynamic_shared(address);
  return true;
}();

}  // namespace
