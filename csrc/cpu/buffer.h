// Scratch memory of a call: aligned to a cache line, freed at its end.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <new>

#include "core/size.h"

namespace ladnet {

// Uninitialised bytes. Throws std::bad_alloc, so it belongs outside of parallel loops.
class Buffer {
 public:
  static constexpr int64_t kAlignment = 64;

  Buffer() = default;
  explicit Buffer(int64_t bytes)
      : bytes_(static_cast<std::byte*>(::operator new(static_cast<size_t>(bytes < 0 ? 0 : bytes),
                                                      std::align_val_t{kAlignment}))) {}

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(bytes_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const {
      ::operator delete(bytes, std::align_val_t{kAlignment});
    }
  };
  std::unique_ptr<std::byte, Free> bytes_;
};

// Bytes of `count` elements of `size` bytes, rounded up to the alignment.
template <class... Counts>
int64_t buffer_bytes(int64_t size, Counts... counts) {
  return round_up(checked_product(size, static_cast<int64_t>(counts)...), Buffer::kAlignment);
}

}  // namespace ladnet
