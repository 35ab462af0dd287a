// The one place where threads start.
//
// Inside torch's process OpenMP's pool is torch's own: the dynamic linker resolves libgomp to the
// copy that torch has loaded.
#pragma once

#include <stdint.h>

#if defined(LADNET_STD_THREADS)
#include <atomic>
#include <thread>
#include <vector>
#elif defined(_OPENMP)
#include <omp.h>
#endif

namespace ladnet {

// Calls work(item, thread) for item = 0 .. items - 1, each once, in any order, on up to `threads`
// threads; `thread` is below `threads` and belongs to one running call at a time. `work` must not
// throw.
template <class Work>
void parallel_for(int64_t items, int threads, const Work& work) {
  if (threads <= 1 || items <= 1) {
    for (int64_t item = 0; item < items; ++item) work(item, 0);
    return;
  }
  const int team = items < threads ? static_cast<int>(items) : threads;
#if defined(LADNET_STD_THREADS)
  // For ThreadSanitizer, which cannot see into libgomp's synchronisation.
  std::atomic<int64_t> next{0};
  std::vector<std::thread> pool;
  for (int thread = 0; thread < team; ++thread) {
    pool.emplace_back([&, thread] {
      for (int64_t item = next++; item < items; item = next++) work(item, thread);
    });
  }
  for (std::thread& member : pool) member.join();
#elif defined(_OPENMP)
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
  for (int64_t item = 0; item < items; ++item) work(item, omp_get_thread_num());
#else
  (void)team;
  for (int64_t item = 0; item < items; ++item) work(item, 0);
#endif
}

}  // namespace ladnet
