#include "device_memory.h"

#include <stdlib.h>
#include <string.h>

#include <map>
#include <new>

#include "sanitizers.h"

namespace cuda_on_cpu {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kRedZone = 256;

std::map<char*, size_t>& allocations() {
  static std::map<char*, size_t> bytes_at;
  return bytes_at;
}

}  // namespace

void* allocate(size_t bytes) {
  const size_t total = (bytes + 2 * kRedZone + kAlignment - 1) / kAlignment * kAlignment;
  char* base = static_cast<char*>(aligned_alloc(kAlignment, total));
  if (base == nullptr) throw std::bad_alloc();
  memset(base, 0xff, total);
  char* memory = base + kRedZone;
  forbid(base, kRedZone);
  forbid(memory + bytes, total - kRedZone - bytes);
  allocations()[memory] = bytes;
  return memory;
}

bool deallocate(void* pointer) {
  if (pointer == nullptr) return true;
  const auto found = allocations().find(static_cast<char*>(pointer));
  if (found == allocations().end()) return false;
  char* base = found->first - kRedZone;
  allow(base, found->second + 2 * kRedZone);
  allocations().erase(found);
  free(base);
  return true;
}

std::string check_red_zones() {
  if (has_asan()) return "";
  for (const auto& [memory, bytes] : allocations()) {
    for (size_t i = 0; i < kRedZone; ++i) {
      const bool before = memory[-1 - static_cast<ptrdiff_t>(i)] != '\xff';
      const bool behind = memory[bytes + i] != '\xff';
      if (before || behind) {
        return "device memory written " + std::to_string(before ? i + 1 : i) + " bytes " +
               (before ? "before" : "behind") + " an allocation of " + std::to_string(bytes) +
               " bytes";
      }
    }
  }
  return "";
}

}  // namespace cuda_on_cpu
