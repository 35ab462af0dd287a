// Plans the backward pass so that no two threads write the same gradient and the bits do not depend
// on how many threads there are.
//
// Each key's gradients are written by one thread; the gradient of a query is a sum over keys. The
// keys of a bag and head are cut into parts, whose number depends on the sizes alone and grows with
// the bag's share of the work, so that a long bag among many short ones is shared by all threads. A
// bag of one part is computed by one thread in its own memory. Of a bag with several parts each
// fills its own buffer of query gradients, and the buffers are added in the order of the parts.
// Short bags have steps of their own (attention_short_plan.h), which threads share where there are
// few bags.
#include <algorithm>
#include <cstring>
#include <optional>

#include "cpu/attention_short_plan.h"

namespace ladnet::attention {
namespace {

constexpr int64_t kPartKeys = 512;  // per part, at least: with fewer, adding buffers would dominate
constexpr int64_t kParts = 64;      // in all, for all bags and heads that are cut
constexpr int64_t kChunkPanels = 32;
constexpr int64_t kSharedBytes = int64_t{1} << 26;  // of short bags that threads share

struct PriorGradient {
  double by_w_b[2] = {0.0, 0.0};
};

struct Part {
  size_t segment;
  int64_t index;
  int64_t first;  // key panels
  int64_t last;
};

template <class Real>
void add(const void* from, void* to, int64_t count) {
  const Real* a = static_cast<const Real*>(from);
  Real* b = static_cast<Real*>(to);
  for (int64_t i = 0; i < count; ++i) b[i] += a[i];
}

class BackwardPlan {
 public:
  BackwardPlan(const Problem& problem, const BackwardTensors& tensors)
      : problem_(problem),
        tensors_(tensors),
        heads_(problem, tensors),
        kernels_(heads_.kernels()),
        segments_(heads_.segments()) {
    lay_out();
  }

  void run() {
    heads_.run_toeplitz();
    const auto whole = static_cast<int64_t>(order_.size());
    parallel_phases({{whole, false},
                     {short_->fill_items(), true},
                     {short_->multiply_items(), true},
                     {padding_items(problem_), false}},
                    problem_.threads, [&](int phase, int64_t i, int thread) {
                      char* memory = private_.as<char>() + thread * private_bytes_;
                      if (phase == 0) {
                        run_whole(order_[static_cast<size_t>(i)], memory);
                      } else if (phase == 1) {
                        short_->fill(i, thread, memory + scratch_bytes_);
                      } else if (phase == 2) {
                        short_->multiply(i, thread, memory + scratch_bytes_, memory);
                      } else {
                        clear_padding(problem_, {tensors_.grad_q, tensors_.grad_k, tensors_.grad_v},
                                      nullptr, i);
                      }
                    });
    pack_shared();
    for (size_t first = 0; first < parts_.size(); first += slots_) {
      run_round(first, std::min(first + slots_, parts_.size()));
    }
    add_prior_gradients();
  }

 private:
  // A power of two, so that parts share out evenly among the usual numbers of threads.
  int64_t count_parts(int64_t length, double work) const {
    const double share = work_of(length) / work;
    int64_t parts = 1;
    while (static_cast<double>(2 * parts) <= share * kParts && 2 * parts * kPartKeys <= length) {
      parts *= 2;
    }
    return parts;
  }
  static double work_of(int64_t length) {
    return static_cast<double>(length) * static_cast<double>(length);
  }

  void lay_out() {
    const int64_t threads = std::max(problem_.threads, 1);
    double work = 0.0;
    int64_t short_bytes = 0, short_bags = 0;
    for (const Segment& segment : segments_) {
      const int64_t length = segment.bag.length;
      work += work_of(length);
      if (!heads_.is_short(length)) continue;
      ++short_bags;
      short_bytes += heads_.result_bytes(length);
    }
    // With more bags than that, one after the other keeps each in its thread's cache.
    const bool share = threads > 1 && short_bags < 2 * threads && short_bytes <= kSharedBytes;
    int64_t shared = 0, slot = 0, whole = 0;
    for (size_t s = 0; s < segments_.size(); ++s) {
      const int64_t length = segments_[s].bag.length;
      const int64_t packed = heads_.packed_bytes(length);
      const int64_t needed = packed + heads_.result_bytes(length);
      const bool is_short = heads_.is_short(length);
      const int64_t parts = is_short ? 1 : count_parts(length, work);
      offsets_.push_back(shared);
      if (is_short && share) {
        shared_short_.push_back(s);
        whole = std::max(whole, packed);
        continue;
      }
      if (parts == 1) {
        order_.push_back(s);
        whole = std::max(whole, needed);
        continue;
      }
      shared += needed;
      slot = std::max(slot, heads_.result_bytes(length));
      const int64_t panels = heads_.key_panels(length);
      for (int64_t p = 0; p < parts; ++p) {
        parts_.push_back({s, p, panels * p / parts, panels * (p + 1) / parts});
      }
    }
    scratch_bytes_ = round_up(kernels_.scratch_bytes(problem_.d), Buffer::kAlignment);
    private_bytes_ = scratch_bytes_ + whole;
    slot_bytes_ = slot;
    slots_ = std::max<size_t>(1, std::min(parts_.size(), static_cast<size_t>(threads)));
    private_ = Buffer(checked_product(private_bytes_, threads));
    shared_ = Buffer(shared);
    slot_memory_ = Buffer(checked_product(slot_bytes_, static_cast<int64_t>(slots_)));
    short_.emplace(heads_, shared_short_, static_cast<int>(threads));
    gradients_.resize(segments_.size());
    part_gradients_.resize(parts_.size());
    // The longest first, so that no thread starts a long one at the end while the others wait.
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return heads_.length(a) > heads_.length(b); });
  }

  void run_whole(size_t s, char* scratch) {
    char* packed = scratch + scratch_bytes_;
    const BackwardHead head =
        heads_.head(s, packed, packed + heads_.packed_bytes(heads_.length(s)));
    if (heads_.is_short(head.length)) {
      return run_short(heads_, head, scratch, gradients_[s].by_w_b);
    }
    heads_.pack(head, 0, heads_.panels_to_pack(head.length));
    kernels_.run(head, 0, heads_.key_panels(head.length), head.grad_queries, gradients_[s].by_w_b,
                 scratch);
    kernels_.finish_queries(head, 0, heads_.query_panels(head.length), head.grad_queries, scratch);
  }

  // A segment of several parts, in memory that all threads share.
  BackwardHead shared_head(size_t s) const {
    char* packed = shared_.as<char>() + offsets_[s];
    return heads_.head(s, packed, packed + heads_.packed_bytes(heads_.length(s)));
  }

  void pack_shared() {
    std::vector<Part> chunks;
    for (const Part& part : parts_) {
      if (part.index > 0) continue;
      const int64_t panels = heads_.panels_to_pack(heads_.length(part.segment));
      for (int64_t first = 0; first < panels; first += kChunkPanels) {
        chunks.push_back({part.segment, 0, first, std::min(first + kChunkPanels, panels)});
      }
    }
    parallel_for(static_cast<int64_t>(chunks.size()), problem_.threads, [&](int64_t i, int) {
      const Part& chunk = chunks[static_cast<size_t>(i)];
      heads_.pack(shared_head(chunk.segment), chunk.first, chunk.last);
    });
  }

  // Parts first .. last - 1, each in a slot; then the slots are added to their segments' sums.
  void run_round(size_t first, size_t last) {
    parallel_for(
        static_cast<int64_t>(last - first), problem_.threads, [&](int64_t slot, int thread) {
          const size_t at = first + static_cast<size_t>(slot);
          const Part& part = parts_[at];
          kernels_.run(shared_head(part.segment), part.first, part.last, slot_at(slot),
                       part_gradients_[at].by_w_b, private_.as<char>() + thread * private_bytes_);
        });
    for (size_t begin = first; begin < last;) {
      size_t end = begin;
      while (end < last && parts_[end].segment == parts_[begin].segment) ++end;
      add_up(begin, end, first);
      begin = end;
    }
  }

  char* slot_at(int64_t slot) const { return slot_memory_.as<char>() + slot * slot_bytes_; }

  // Adds the slots of parts begin .. end - 1, all of one segment, in their order; writes the
  // gradient after the last.
  void add_up(size_t begin, size_t end, size_t first_of_round) {
    const size_t s = parts_[begin].segment;
    const BackwardHead head = shared_head(s);
    char* sum = static_cast<char*>(head.grad_queries);
    const int64_t panels = heads_.query_panels(head.length);
    const bool complete = end == parts_.size() || parts_[end].segment != s;
    const int64_t width = kernels_.rows * heads_.padded();
    parallel_for(divide_up(panels, kChunkPanels), problem_.threads, [&](int64_t chunk, int thread) {
      const int64_t from = chunk * kChunkPanels;
      const int64_t to = std::min(from + kChunkPanels, panels);
      const int64_t at = from * width * kernels_.element_bytes;
      const int64_t count = (to - from) * width;
      for (size_t p = begin; p < end; ++p) {
        const char* slot = slot_at(static_cast<int64_t>(p - first_of_round)) + at;
        if (parts_[p].index == 0) {
          std::memcpy(sum + at, slot, static_cast<size_t>(count * kernels_.element_bytes));
        } else if (problem_.dtype == Dtype::kFloat64) {
          add<double>(slot, sum + at, count);
        } else {
          add<float>(slot, sum + at, count);
        }
      }
      if (complete) {
        kernels_.finish_queries(head, from, to, sum, private_.as<char>() + thread * private_bytes_);
      }
    });
  }

  void add_prior_gradients() {
    if (tensors_.grad_w == nullptr) return;
    for (size_t bag = 0; bag < shared_short_.size(); ++bag) {
      short_->sum_prior_gradients(bag, gradients_[shared_short_[bag]].by_w_b);
    }
    std::vector<PriorGradient> totals(static_cast<size_t>(problem_.heads));
    const auto add_to = [&](size_t segment, const PriorGradient& gradient) {
      PriorGradient& total = totals[static_cast<size_t>(segments_[segment].head)];
      for (int i = 0; i < 2; ++i) total.by_w_b[i] += gradient.by_w_b[i];
    };
    for (size_t s = 0; s < segments_.size(); ++s) {
      heads_.add_toeplitz_gradients(s, gradients_[s].by_w_b);
      add_to(s, gradients_[s]);
    }
    for (size_t i = 0; i < parts_.size(); ++i) add_to(parts_[i].segment, part_gradients_[i]);
    for (size_t head = 0; head < totals.size(); ++head) {
      put(tensors_.grad_w, head, totals[head].by_w_b[0]);
      put(tensors_.grad_b, head, totals[head].by_w_b[1]);
    }
  }

  void put(void* to, size_t at, double value) const {
    if (problem_.dtype == Dtype::kFloat64) {
      static_cast<double*>(to)[at] = value;
    } else {
      static_cast<float*>(to)[at] = static_cast<float>(value);
    }
  }

  const Problem& problem_;
  const BackwardTensors& tensors_;
  BackwardHeads heads_;
  const BackwardKernels& kernels_;
  const std::vector<Segment>& segments_;
  std::vector<size_t> order_;             // in which segments of one part are worked off
  std::vector<size_t> shared_short_;      // short segments that threads share
  std::vector<Part> parts_;               // of the others
  std::vector<int64_t> offsets_;          // of a segment of several parts in shared_
  std::vector<PriorGradient> gradients_;  // of segments that are not of several parts
  std::vector<PriorGradient> part_gradients_;
  std::optional<ShortBags> short_;
  int64_t scratch_bytes_ = 0, private_bytes_ = 0, slot_bytes_ = 0;
  size_t slots_ = 1;
  Buffer private_, shared_, slot_memory_;
};

}  // namespace

void backward(const Problem& problem, const BackwardTensors& tensors) {
  BackwardPlan(problem, tensors).run();
}

}  // namespace ladnet::attention
