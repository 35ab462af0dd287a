// Scratch memory of a call: aligned to a cache line, given back at its end.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <new>

#include "core/size.h"

#if defined(__SANITIZE_ADDRESS__)
#define LADNET_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LADNET_SANITIZED
#endif
#endif

namespace ladnet {

// What small buffers of a thread have given back, at most kBlocks of kMost bytes, for the next
// call: where a bag is short, asking the system for the same pages again takes as long as the
// products.
class Spare {
 public:
  static constexpr int64_t kMost = 1 << 20;  // bytes of a block that is kept
  static constexpr int kBlocks = 4;

  static bool keeps(int64_t bytes) {
#if defined(LADNET_SANITIZED)
    return bytes < 0;  // never: for the sanitizer each buffer is memory of its own
#else
    return bytes > 0 && bytes <= kMost;
#endif
  }

  Spare() = default;
  Spare(const Spare&) = delete;
  Spare& operator=(const Spare&) = delete;
  ~Spare() {
    for (const Block& block : blocks_) free(block.bytes);
  }

  // The smallest block of at least so many bytes, whose size is then `bytes`; null if there is
  // none.
  std::byte* take(int64_t* bytes) {
    Block* best = nullptr;
    for (Block& block : blocks_) {
      if (block.bytes == nullptr || block.size < *bytes) continue;
      if (best == nullptr || block.size < best->size) best = &block;
    }
    if (best == nullptr) return nullptr;
    *bytes = best->size;
    std::byte* const taken = best->bytes;
    *best = Block();
    return taken;
  }

  // In the place of the smallest, which is freed if all are taken and it is smaller than this.
  void keep(std::byte* bytes, int64_t size) {
    Block* least = &blocks_[0];
    for (Block& block : blocks_) {
      if (block.size < least->size) least = &block;  // of an empty place it is 0
    }
    if (least->size >= size) return free(bytes);
    if (least->bytes != nullptr) free(least->bytes);
    *least = {bytes, size};
  }

  static std::byte* allocate(int64_t bytes) {
    return static_cast<std::byte*>(
        ::operator new(static_cast<size_t>(bytes), std::align_val_t{kAlignment}));
  }
  static void free(std::byte* bytes) { ::operator delete(bytes, std::align_val_t{kAlignment}); }

  static constexpr size_t kAlignment = 64;

 private:
  struct Block {
    std::byte* bytes = nullptr;
    int64_t size = 0;
  };
  Block blocks_[kBlocks];
};

inline Spare& spare() {
  thread_local Spare own;
  return own;
}

struct GiveBack {
  int64_t size = 0;
  void operator()(std::byte* bytes) const {
    Spare::keeps(size) ? spare().keep(bytes, size) : Spare::free(bytes);
  }
};

// Uninitialised bytes. Throws std::bad_alloc, so it belongs outside of parallel loops.
class Buffer {
 public:
  static constexpr int64_t kAlignment = Spare::kAlignment;

  Buffer() = default;
  explicit Buffer(int64_t bytes) : bytes_(nullptr, GiveBack{bytes < 0 ? 0 : bytes}) {
    int64_t& size = bytes_.get_deleter().size;
    std::byte* const kept = Spare::keeps(size) ? spare().take(&size) : nullptr;
    bytes_.reset(kept == nullptr ? Spare::allocate(size) : kept);
  }

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(bytes_.get());
  }

 private:
  std::unique_ptr<std::byte, GiveBack> bytes_;
};

// Bytes of `count` elements of `size` bytes, rounded up to the alignment.
template <class... Counts>
int64_t buffer_bytes(int64_t size, Counts... counts) {
  return round_up(checked_product(size, static_cast<int64_t>(counts)...), Buffer::kAlignment);
}

}  // namespace ladnet
