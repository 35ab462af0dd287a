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

// Items of one step of a call. Owned: each thread begins with a run of neighbours, the same ones in
// every call, whose data may still lie in its cache, and then helps the others; else the threads
// take one after the other.
struct Phase {
  int64_t items;
  bool owned;
};

// Calls work(phase, item, thread) for item = 0 .. items - 1 of each phase, as parallel_for does,
// but starts the threads once: an item begins when all items of earlier phases are done.
template <int kPhases, class Work>
void parallel_phases(const Phase (&phases)[kPhases], int threads, const Work& work) {
  int64_t most = 0;
  for (const Phase& phase : phases) most = phase.items > most ? phase.items : most;
  const int team = most < threads ? static_cast<int>(most) : threads;
  if (team <= 1) {
    for (int phase = 0; phase < kPhases; ++phase) {
      for (int64_t item = 0; item < phases[phase].items; ++item) work(phase, item, 0);
    }
    return;
  }
  // A queue for each thread, a cache line apart.
  struct alignas(64) Queue {
    std::atomic<int64_t> taken{0};
  };
  std::vector<Queue> queues(static_cast<size_t>(kPhases) * static_cast<size_t>(team));
  std::atomic<int64_t> done{0};
  run_team(team, [&](int thread) {
    int64_t before = 0;  // items of earlier phases
    for (int phase = 0; phase < kPhases; ++phase) {
      const int64_t items = phases[phase].items;
      const int count = phases[phase].owned ? team : 1;
      for (int turn = 0; turn < count && items > 0; ++turn) {
        const int owner = (thread + turn) % count;
        const int64_t first = items * owner / count, last = items * (owner + 1) / count;
        Queue& queue = queues[static_cast<size_t>(phase * team + owner)];
        for (int64_t item = first + queue.taken++; item < last; item = first + queue.taken++) {
          // What is left of earlier phases is being worked on: nobody waits for himself.
          wait_until([&] { return done.load(std::memory_order_acquire) >= before; });
          work(phase, item, thread);
          done.fetch_add(1, std::memory_order_release);
        }
      }
      before += items;
    }
  });
}

// One phase of owned items: for passes over data that the caches hold from the pass before.
template <class Work>
void parallel_owned(int64_t items, int threads, const Work& work) {
  parallel_phases({{items, true}}, threads,
                  [&](int, int64_t item, int thread) { work(item, thread); });
}

}  // namespace ladnet
