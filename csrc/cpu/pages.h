// Huge pages for large results: with small ones, page faults cost more than writing the result
// once.
#pragma once

#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ladnet {

// Asks the system for huge pages where the memory is large enough; it may refuse.
inline void prefer_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr int64_t kPage = int64_t{1} << 21;
  const auto begin = reinterpret_cast<int64_t>(data);
  const int64_t first = (begin + kPage - 1) / kPage * kPage;
  const int64_t last = (begin + bytes) / kPage * kPage;
  if (last > first) {
    (void)madvise(reinterpret_cast<void*>(first), static_cast<size_t>(last - first), MADV_HUGEPAGE);
  }
#else
  (void)data;
  (void)bytes;
#endif
}

// Whether the system has given no memory yet to the page in the middle: it will be cleared when it
// is first written, and then lies in the cache.
inline bool is_fresh(const void* data, int64_t bytes) {
#if defined(__linux__)
  constexpr int64_t kSmallPage = 4096;
  const int64_t middle = (reinterpret_cast<int64_t>(data) + bytes / 2) / kSmallPage * kSmallPage;
  unsigned char resident = 1;
  return mincore(reinterpret_cast<void*>(middle), kSmallPage, &resident) == 0 && resident % 2 == 0;
#else
  (void)data;
  (void)bytes;
  return false;
#endif
}

}  // namespace ladnet
