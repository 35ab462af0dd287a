#include "block.h"

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <numeric>

// What a kernel reads. Set before a thread gets its turn.
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_on_cpu {
namespace {

std::string text(const Site& site) {
  return std::string(site.file) + ":" + std::to_string(site.line);
}

std::string text(uint3 index) {
  return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," +
         std::to_string(index.z) + ")";
}

bool same(const Site& a, const Site& b) {
  return a.line == b.line && strcmp(a.file, b.file) == 0;
}

}  // namespace

Block& Block::current() {
  // Never destroyed: a sanitizer's runtime may be gone before it.
  static Block* const block = new Block;
  return *block;
}

void Block::prepare(dim3 shape, dim3 grid, Body body, void* argument, Schedule schedule,
                    unsigned seed) {
  shape_ = shape;
  count_ = shape.x * shape.y * shape.z;
  body_ = body;
  argument_ = argument;
  schedule_ = schedule;
  random_.seed(seed);
  blockDim = shape;
  gridDim = grid;
  while (threads_.size() < count_) {
    threads_.push_back(std::make_unique<Thread>(static_cast<unsigned>(threads_.size())));
    threads_.back()->fiber.reset(thread_main);
  }
  if (abandoned_) {
    for (auto& thread : threads_) thread->fiber.reset(thread_main);
  }
  abandoned_ = false;
  warp_order_.resize((count_ + kWarpSize - 1) / kWarpSize);
  lane_order_.resize(kWarpSize);
  std::iota(warp_order_.begin(), warp_order_.end(), 0u);
  std::iota(lane_order_.begin(), lane_order_.end(), 0u);
  if (schedule == Schedule::kDown) {
    std::reverse(warp_order_.begin(), warp_order_.end());
    std::reverse(lane_order_.begin(), lane_order_.end());
  }
}

std::string Block::run(uint3 index) {
  blockIdx = index;
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = *threads_[i];
    thread.state = State::kReady;
    thread.index = {i % shape_.x, i / shape_.x % shape_.y, i / shape_.x / shape_.y};
  }
  alive_ = count_;
  arrived_ = votes_ = 0;
  error_.clear();
  release(block_start_);
  while (alive_ > 0 && error_.empty()) {
    progress_ = false;
    run_one_round();
    if (!progress_ && error_.empty()) error_ = deadlock();
  }
  acquire(block_end_);
  abandoned_ = !error_.empty();
  return error_;
}

void Block::run_one_round() {
  const bool is_random = schedule_ == Schedule::kRandom;
  if (is_random) {
    std::shuffle(warp_order_.begin(), warp_order_.end(), random_);
    std::shuffle(lane_order_.begin(), lane_order_.end(), random_);
  }
  for (unsigned warp : warp_order_) {
    bool again = true;
    while (again) {
      again = false;
      for (unsigned lane : lane_order_) {
        const unsigned id = warp * kWarpSize + lane;
        if (id >= count_ || threads_[id]->state != State::kReady) continue;
        running_ = threads_[id].get();
        threadIdx = running_->index;
        running_->fiber.resume();
        if (!error_.empty()) return;
        progress_ = true;
        again = !is_random;
      }
    }
  }
}

void Block::thread_main() {
  Fiber::started();
  Block& block = current();
  for (;;) {  // once a block
    acquire(block.block_start_);
    block.body_(block.argument_);
    release(block.block_end_);
    block.finish_thread();
    block.running_->fiber.yield();
  }
}

void Block::finish_thread() {
  running_->state = State::kReturned;
  --alive_;
  if (arrived_ > 0) {
    fail("returned while other threads wait at __syncthreads, " + text(barrier_site_));
  }
  // A warp whose other lanes wait may be complete now.
  const unsigned first = running_->id / kWarpSize * kWarpSize;
  for (unsigned id = first; id < std::min(first + kWarpSize, count_); ++id) {
    if (threads_[id]->state == State::kAtCollective) try_collective(*threads_[id]);
  }
}

void Block::fail(const std::string& message) {
  error_ = "block " + text(blockIdx) + " thread " + text(running_->index) + ": " + message;
  release(block_end_);
  for (;;) running_->fiber.yield();  // never resumed
}

void Block::wait(Thread& thread) {
  release(block_end_);  // in case another thread's fault ends the block
  // With the random schedule even the last to arrive gives way, so that turns differ.
  if (thread.state != State::kReady || schedule_ == Schedule::kRandom) thread.fiber.yield();
}

void Block::remove_barrier(std::string file, int line) {
  removed_file_ = std::move(file);
  removed_line_ = line;
  reached_.clear();
}

bool Block::is_removed(const Site& site) const {
  if (removed_file_.empty() || site.line != removed_line_) return false;
  const std::string path = site.file;
  return path.size() >= removed_file_.size() &&
         path.compare(path.size() - removed_file_.size(), std::string::npos, removed_file_) == 0;
}

std::string Block::barriers_reached() const {
  std::string lines;
  for (const auto& [file, line] : reached_) lines += file + ":" + std::to_string(line) + "\n";
  return lines;
}

int Block::barrier(int vote, Site site) {
  Thread& thread = *running_;
  if (is_removed(site)) return vote != 0;
  if (arrived_ == 0) {
    barrier_site_ = site;
    reached_.emplace(site.file, site.line);
    if (alive_ != count_) {
      fail("__syncthreads after threads of the block have returned, " + text(site));
    }
  } else if (!same(site, barrier_site_)) {
    fail("divergent __syncthreads: this thread at " + text(site) + ", others at " +
         text(barrier_site_));
  }
  thread.site = site;
  Edge& edge = barrier_edge_[generation_ % 2];
  release(edge);
  votes_ += vote != 0;
  thread.state = State::kAtBarrier;
  if (++arrived_ == alive_) open_barrier();
  wait(thread);
  acquire(edge);
  return static_cast<int>(result_);
}

void Block::open_barrier() {
  result_ = votes_;
  arrived_ = votes_ = 0;
  ++generation_;
  for (unsigned id = 0; id < count_; ++id) {
    if (threads_[id]->state == State::kAtBarrier) threads_[id]->state = State::kReady;
  }
}

uint64_t Block::collective(Request request) {
  Thread& thread = *running_;
  const unsigned warp = thread.id / kWarpSize;
  if ((request.mask >> lane() & 1) == 0) {
    fail(std::string(name_of(request.kind)) + ": the calling lane is not in its own mask, " +
         text(request.site));
  }
  thread.site = request.site;
  thread.request = request;
  thread.state = State::kAtCollective;
  Edge& edge = warp_edge_[warp][warp_generation_[warp] % 2];
  const bool orders_memory = request.kind == Collective::kSyncWarp;
  if (orders_memory) release(edge);
  try_collective(thread);
  wait(thread);
  if (orders_memory) acquire(edge);
  return thread.request.result;
}

// Completes the collective at which `thread` waits if every lane of its mask has arrived.
void Block::try_collective(Thread& thread) {
  const unsigned warp = thread.id / kWarpSize;
  const Request& mine = thread.request;
  Request* lanes[kWarpSize] = {};
  for (unsigned l = 0; l < kWarpSize; ++l) {
    const unsigned id = warp * kWarpSize + l;
    if ((mine.mask >> l & 1) == 0 || id >= count_) continue;
    Thread& other = *threads_[id];
    if (other.state == State::kReturned) continue;
    if (other.state != State::kAtCollective) return;
    const Request& theirs = other.request;
    if (theirs.mask != mine.mask || theirs.kind != mine.kind || !same(theirs.site, mine.site)) {
      const auto describe = [](unsigned lane, const Request& request) {
        char mask[16];
        snprintf(mask, sizeof(mask), "%08x", request.mask);
        return "lane " + std::to_string(lane) + " in " + name_of(request.kind) + " mask " + mask +
               " at " + text(request.site);
      };
      fail("warp collective mismatch: " + describe(thread.id % kWarpSize, mine) + ", " +
           describe(l, theirs));
    }
    lanes[l] = &other.request;
  }
  compute(lanes);
  if (mine.kind == Collective::kSyncWarp) ++warp_generation_[warp];
  for (unsigned l = 0; l < kWarpSize; ++l) {
    if (lanes[l] != nullptr) threads_[warp * kWarpSize + l]->state = State::kReady;
  }
}

std::string Block::deadlock() const {
  std::map<std::string, int> waiting;
  for (unsigned id = 0; id < count_; ++id) {
    const Thread& thread = *threads_[id];
    if (thread.state == State::kReturned) {
      ++waiting["returned"];
    } else {
      const char* what =
          thread.state == State::kAtBarrier ? "__syncthreads" : name_of(thread.request.kind);
      ++waiting["at " + std::string(what) + ", " + text(thread.site)];
    }
  }
  std::string message = "block " + text(blockIdx) + ": deadlock:";
  for (const auto& [where, threads] : waiting) {
    message += " [" + std::to_string(threads) + " threads " + where + "]";
  }
  return message;
}

}  // namespace cuda_on_cpu
