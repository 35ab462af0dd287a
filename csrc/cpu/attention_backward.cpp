// Plans the backward pass so that no two threads write the same gradient and the bits do not depend
// on how many threads there are.
//
// Each key's gradients are written by one thread; the gradient of a query is a sum over keys. The
// keys of a bag and head are cut into parts, whose number depends on the sizes alone and grows with
// the bag's share of the work, so that a long bag among many short ones is shared by all threads. A
// bag of one part is computed by one thread in its own memory. Of a bag with several parts each
// fills its own buffer of query gradients, and the buffers are added in the order of the parts.
#include <algorithm>
#include <cstring>

#include "cpu/attention_kernels.h"
#include "cpu/attention_plan.h"

namespace ladnet::attention {
namespace {

constexpr int64_t kPartKeys = 512;  // per part, at least: with fewer, adding buffers would dominate
constexpr int64_t kParts = 64;      // in all, for all bags and heads that are cut
constexpr int64_t kChunkPanels = 32;

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
        kernels_(backward_kernels(problem.dtype)),
        segments_(list_segments(problem)),
        padded_(round_up(problem.d, kernels_.lanes)),
        in_place_(size_of(problem.dtype) == static_cast<size_t>(kernels_.element_bytes) &&
                  problem.d % kernels_.lanes == 0),
        prior_gradient_(tensors.grad_w != nullptr) {
    const TableType real = real_type(problem.dtype);
    const bool logit = problem.prior == Prior::kLogit;
    bands_ = list_bands(problem, segments_, kernels_.rows + kernels_.columns,
                        {problem.prior == Prior::kAdditive, logit, prior_gradient_, real, real});
    lay_out();
  }

  void run() {
    parallel_for(static_cast<int64_t>(order_.size()), problem_.threads,
                 [&](int64_t i, int thread) { run_whole(order_[static_cast<size_t>(i)], thread); });
    pack_shared();
    for (size_t first = 0; first < parts_.size(); first += slots_) {
      run_round(first, std::min(first + slots_, parts_.size()));
    }
    add_prior_gradients();
    parallel_for(padding_items(problem_), problem_.threads, [&](int64_t batch, int) {
      clear_padding(problem_, {tensors_.grad_q, tensors_.grad_k, tensors_.grad_v}, nullptr, batch);
    });
  }

 private:
  int64_t query_panels(int64_t length) const { return divide_up(length, kernels_.rows); }
  int64_t key_panels(int64_t length) const { return divide_up(length, kernels_.columns); }

  int64_t bytes(int64_t count, int64_t width) const {
    return buffer_bytes(kernels_.element_bytes, count, width);
  }
  // The gradient of a segment's queries, as tiles.
  int64_t tiles_bytes(int64_t length) const {
    return bytes(query_panels(length) * kernels_.rows, padded_);
  }
  int64_t packed_bytes(int64_t length) const {
    const int64_t queries = query_panels(length) * kernels_.rows;
    const int64_t keys = key_panels(length) * kernels_.columns;
    return 2 * bytes(queries, problem_.d) + 2 * bytes(queries, 1) + 2 * bytes(keys, problem_.d) +
           (in_place_ ? 0 : 3 * bytes(length, padded_));
  }

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
    for (const Segment& segment : segments_) work += work_of(segment.bag.length);
    int64_t shared = 0, slot = 0, whole = 0;
    for (size_t s = 0; s < segments_.size(); ++s) {
      const int64_t length = segments_[s].bag.length, parts = count_parts(length, work);
      const int64_t needed = packed_bytes(length) + tiles_bytes(length);
      offsets_.push_back(shared);
      if (parts == 1) {
        whole_.push_back(s);
        whole = std::max(whole, needed);
        continue;
      }
      shared += needed;
      slot = std::max(slot, tiles_bytes(length));
      const int64_t panels = key_panels(length);
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
    gradients_.resize(whole_.size() + parts_.size());
    // The longest first, so that no thread starts a long one at the end while the others wait.
    for (size_t at = 0; at < whole_.size(); ++at) order_.push_back(at);
    const auto length_of = [&](size_t at) { return segments_[whole_[at]].bag.length; };
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return length_of(a) > length_of(b); });
  }

  // The segment's tensors, its place in `memory` for what is packed, and behind that the tiles of
  // the gradient of its queries.
  BackwardHead head_of(size_t s, char* memory, char** tiles) const {
    const Segment& segment = segments_[s];
    const int64_t length = segment.bag.length, d = problem_.d;
    const int64_t queries = query_panels(length) * kernels_.rows;
    const int64_t keys = key_panels(length) * kernels_.columns;
    const auto take = [&](int64_t count, int64_t width) {
      char* at = memory;
      memory += bytes(count, width);
      return at;
    };
    BackwardHead head;
    head.prior = problem_.prior;
    head.prior_gradient = prior_gradient_;
    head.length = length;
    head.d = d;
    head.scale = problem_.scale;
    head.band = band_of(bands_, segment);
    head.q = rows_of(problem_, tensors_.q, segment);
    head.k = rows_of(problem_, tensors_.k, segment);
    head.v = rows_of(problem_, tensors_.v, segment);
    head.grad_out = rows_of(problem_, tensors_.grad_out, segment);
    head.attended = rows_of(problem_, tensors_.attended, segment);
    head.lse = lse_of(problem_, tensors_.lse, segment);
    head.grad_q = mutable_rows_of(problem_, tensors_.grad_q, segment);
    head.grad_k = mutable_rows_of(problem_, tensors_.grad_k, segment);
    head.grad_v = mutable_rows_of(problem_, tensors_.grad_v, segment);
    head.queries = take(queries, d);
    head.grads = take(queries, d);
    head.lse_log2 = take(queries, 1);
    head.delta = take(queries, 1);
    head.keys = take(keys, d);
    head.values = take(keys, d);
    const auto operand = [&](const ConstRows& rows) -> Operand {
      if (in_place_) return {rows.data, rows.stride / kernels_.element_bytes};
      return {take(length, padded_), padded_};
    };
    head.query_rows = operand(head.q);
    head.key_rows = operand(head.k);
    head.grad_rows = operand(head.grad_out);
    *tiles = memory;
    return head;
  }

  // Everything that comes before products, for a range of a segment's query and key panels.
  void pack(const BackwardHead& head, int64_t first, int64_t last) const {
    const int64_t panels = query_panels(head.length), columns = kernels_.columns;
    kernels_.pack_queries(head, std::min(first, panels), std::min(last, panels));
    const int64_t keys = key_panels(head.length);
    kernels_.pack_keys(head, std::min(first, keys), std::min(last, keys));
    if (in_place_) return;
    const int64_t begin = std::min(first * columns, head.length);
    const int64_t end = std::min(last * columns, head.length);
    const auto widen = [&](const ConstRows& rows, const Operand& to) {
      kernels_.widen_rows(rows, problem_.d, begin, end, const_cast<void*>(to.data));
    };
    widen(head.q, head.query_rows);
    widen(head.k, head.key_rows);
    widen(head.grad_out, head.grad_rows);
  }

  int64_t panels_to_pack(int64_t length) const {
    return std::max(query_panels(length), key_panels(length));
  }

  void run_whole(size_t at, int thread) {
    char* scratch = private_.as<char>() + thread * private_bytes_;
    char* tiles;
    const BackwardHead head = head_of(whole_[at], scratch + scratch_bytes_, &tiles);
    pack(head, 0, panels_to_pack(head.length));
    kernels_.run(head, 0, key_panels(head.length), tiles, gradients_[at].by_w_b, scratch);
    kernels_.finish_queries(head, 0, query_panels(head.length), tiles, scratch);
  }

  void pack_shared() {
    std::vector<Part> chunks;
    for (const Part& part : parts_) {
      if (part.index > 0) continue;
      const int64_t panels = panels_to_pack(segments_[part.segment].bag.length);
      for (int64_t first = 0; first < panels; first += kChunkPanels) {
        chunks.push_back({part.segment, 0, first, std::min(first + kChunkPanels, panels)});
      }
    }
    parallel_for(static_cast<int64_t>(chunks.size()), problem_.threads, [&](int64_t i, int) {
      const Part& chunk = chunks[static_cast<size_t>(i)];
      char* tiles;
      pack(head_of(chunk.segment, shared_.as<char>() + offsets_[chunk.segment], &tiles),
           chunk.first, chunk.last);
    });
  }

  // Parts first .. last - 1, each in a slot; then the slots are added to their segments' sums.
  void run_round(size_t first, size_t last) {
    parallel_for(static_cast<int64_t>(last - first), problem_.threads,
                 [&](int64_t slot, int thread) {
                   const size_t at = first + static_cast<size_t>(slot);
                   const Part& part = parts_[at];
                   char* tiles;
                   const BackwardHead head =
                       head_of(part.segment, shared_.as<char>() + offsets_[part.segment], &tiles);
                   kernels_.run(head, part.first, part.last, slot_at(slot),
                                gradients_[whole_.size() + at].by_w_b,
                                private_.as<char>() + thread * private_bytes_);
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
    char* sum;
    const size_t s = parts_[begin].segment;
    const BackwardHead head = head_of(s, shared_.as<char>() + offsets_[s], &sum);
    const int64_t panels = query_panels(head.length);
    const bool complete = end == parts_.size() || parts_[end].segment != s;
    const int64_t width = kernels_.rows * padded_;
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

  void add_prior_gradients() const {
    if (!prior_gradient_) return;
    std::vector<PriorGradient> totals(static_cast<size_t>(problem_.heads));
    const auto add_to = [&](size_t segment, const PriorGradient& gradient) {
      PriorGradient& total = totals[static_cast<size_t>(segments_[segment].head)];
      for (int i = 0; i < 2; ++i) total.by_w_b[i] += gradient.by_w_b[i];
    };
    for (size_t i = 0; i < whole_.size(); ++i) add_to(whole_[i], gradients_[i]);
    for (size_t i = 0; i < parts_.size(); ++i) {
      add_to(parts_[i].segment, gradients_[whole_.size() + i]);
    }
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
  const BackwardKernels& kernels_;
  const std::vector<Segment> segments_;
  const int64_t padded_;
  const bool in_place_;  // products read q, k and grad_out where torch stores them
  const bool prior_gradient_;
  std::vector<BandTables> bands_;
  std::vector<size_t> whole_;             // segments of one part
  std::vector<size_t> order_;             // in which whole_ is worked off
  std::vector<Part> parts_;               // of the others
  std::vector<int64_t> offsets_;          // of a segment of several parts in shared_
  std::vector<PriorGradient> gradients_;  // of whole_, then of parts_
  int64_t scratch_bytes_ = 0, private_bytes_ = 0, slot_bytes_ = 0;
  size_t slots_ = 1;
  Buffer private_, shared_, slot_memory_;
};

}  // namespace

void backward(const Problem& problem, const BackwardTensors& tensors) {
  BackwardPlan(problem, tensors).run();
}

}  // namespace ladnet::attention
