#include "shared_memory.h"

#include <link.h>
#include <stdint.h>

#include <stdexcept>
#include <vector>

#include "sanitizers.h"

namespace cuda_on_cpu {
namespace {

std::vector<char* (*)()>& registry() {
  static std::vector<char* (*)()> addresses;
  return addresses;
}

struct Search {
  uintptr_t address;
  char* storage;
  size_t bytes;
};

// Called for every loaded library; stops at the one that contains the address.
int find_library(dl_phdr_info* info, size_t, void* argument) {
  Search& search = *static_cast<Search*>(argument);
  char* storage = nullptr;
  size_t bytes = 0;
  bool found = false;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    const uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD) {
      found |= search.address >= begin && search.address < begin + header.p_memsz;
    } else if (header.p_type == PT_TLS) {
      storage = static_cast<char*>(info->dlpi_tls_data);
      bytes = header.p_memsz;
    }
  }
  if (found) {
    search.storage = storage;
    search.bytes = bytes;
  }
  return found;
}

}  // namespace

void register_dynamic_shared(char* (*address)()) {
  registry().push_back(address);
}

SharedMemory::SharedMemory(const void* kernel, size_t bytes) : dynamic_bytes_(bytes) {
  // Asking for an address also makes the loader allocate this thread's copy of the storage.
  std::vector<char*> candidates;
  for (auto address : registry()) candidates.push_back(address());
  Search search{reinterpret_cast<uintptr_t>(kernel), nullptr, 0};
  dl_iterate_phdr(find_library, &search);
  for (char* candidate : candidates) {
    if (candidate >= search.storage && candidate < search.storage + search.bytes) {
      storage_ = search.storage;
      storage_bytes_ = search.bytes;
      dynamic_ = candidate;
    }
  }
  if (dynamic_ == nullptr) {
    throw std::logic_error("the kernel's library was not linked with module.cpp");
  }
}

SharedMemory::~SharedMemory() {
  allow(dynamic_, kMaxSharedBytes);
}

void SharedMemory::fill_with_nan() {
  allow(dynamic_, kMaxSharedBytes);
  // volatile: no memset, which a sanitizer would intercept and record.
  volatile char* byte = storage_;
  volatile char* const end = storage_ + storage_bytes_;
  for (; byte != end && reinterpret_cast<uintptr_t>(byte) % 8 != 0; ++byte) *byte = '\xff';
  for (; end - byte >= 8; byte += 8) *reinterpret_cast<volatile uint64_t*>(byte) = ~uint64_t(0);
  for (; byte != end; ++byte) *byte = '\xff';
  forbid(dynamic_ + dynamic_bytes_, kMaxSharedBytes - dynamic_bytes_);
}

std::string SharedMemory::check() const {
  if (has_asan()) return "";
  for (size_t i = dynamic_bytes_; i < kMaxSharedBytes; ++i) {
    if (dynamic_[i] != '\xff') {
      return "byte " + std::to_string(i) + " written, behind the " +
             std::to_string(dynamic_bytes_) + " bytes of dynamic shared memory";
    }
  }
  return "";
}

}  // namespace cuda_on_cpu
