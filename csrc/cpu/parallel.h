// The one place where threads start.
//
// Inside torch's process OpenMP's pool is torch's own: the dynamic linker resolves libgomp to the
// copy that torch has loaded.
#pragma once

#include <stdint.h>

#include <atomic>
#include <thread>
#include <vector>

#if defined(_OPENMP) && !defined(LADNET_STD_THREADS)
#include <omp.h>
#endif

namespace ladnet {

// Calls work(thread) on up to `team` threads at once, this one among them; `thread` is below
// `team`.
template <class Work>
void run_team(int team, const Work& work) {
  if (team <= 1) {
    work(0);
    return;
  }
#if defined(LADNET_STD_THREADS)
  // For ThreadSanitizer, which cannot see into libgomp's synchronisation.
  std::vector<std::thread> pool;
  for (int thread = 0; thread < team; ++thread) pool.emplace_back([&, thread] { work(thread); });
  for (std::thread& member : pool) member.join();
#elif defined(_OPENMP)
#pragma omp parallel num_threads(team)
  work(omp_get_thread_num());
#else
  work(0);
#endif
}

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
  std::atomic<int64_t> next{0};
  run_team(team, [&](int thread) {
    for (int64_t item = next++; item < items; item = next++) work(item, thread);
  });
}

// Waits for what another thread is about to finish: a moment awake, then in favour of whoever needs
// the processor.
template <class Done>
void wait_until(const Done& done) {
  for (int turn = 0; !done(); ++turn) {
    if (turn > 2000) {
      std::this_thread::yield();
    } else {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  }
}

// Calls work(phase, item, thread) for item = 0 .. items[phase] - 1 of each phase, as parallel_for
// does, but starts the threads once: an item begins when all items of earlier phases are done.
// Items are handed out in order, so whoever waits does so for items that are being worked on.
template <class Work>
void parallel_phases(const std::vector<int64_t>& items, int threads, const Work& work) {
  int64_t total = 0, most = 0;
  for (int64_t count : items) {
    total += count;
    most = count > most ? count : most;
  }
  const int team = most < threads ? static_cast<int>(most) : threads;
  if (team <= 1) {
    for (size_t phase = 0; phase < items.size(); ++phase) {
      for (int64_t item = 0; item < items[phase]; ++item) work(static_cast<int>(phase), item, 0);
    }
    return;
  }
  std::atomic<int64_t> next{0}, done{0};
  run_team(team, [&](int thread) {
    size_t phase = 0;
    int64_t begin = 0;  // items of earlier phases
    for (int64_t item = next++; item < total; item = next++) {
      while (item >= begin + items[phase]) begin += items[phase++];
      wait_until([&] { return done.load(std::memory_order_acquire) >= begin; });
      work(static_cast<int>(phase), item - begin, thread);
      done.fetch_add(1, std::memory_order_release);
    }
  });
}

}  // namespace ladnet
