// Plans the forward pass: who packs the keys, and how many rows a thread takes at a time.
//
// The keys of a short bag are packed by every thread that computes rows of it, into memory of its
// own: what another thread has written takes longer to fetch. Where there are many bags each is one
// item of work. The keys of a long bag are packed once by all threads. Cutting rows changes no bit
// of the result, so it may depend on the thread count.
#include <algorithm>
#include <optional>

#include "cpu/attention_kernels.h"
#include "cpu/attention_plan.h"
#include "cpu/attention_toeplitz.h"

namespace ladnet::attention {
namespace {

constexpr int64_t kPackedPanels = 8;  // that one item of packing takes
constexpr int64_t kWidePriors = 384;  // snippets from which a wide prior has products of its own
constexpr int64_t kShortBytes =
    1 << 18;  // of packed keys: what a private cache holds with the rest

// Panels of keys to pack, or of query rows to compute, in blocks of so many.
struct Item {
  size_t segment;
  int64_t first, last;
  int64_t block;
};

// The segment whose keys a thread has packed for itself, a cache line apart.
struct alignas(64) Packed {
  size_t segment = SIZE_MAX;
};

class ForwardPlan {
 public:
  ForwardPlan(const Problem& problem, const ForwardTensors& tensors)
      : problem_(problem),
        tensors_(tensors),
        kernels_(forward_kernels(problem.dtype)),
        segments_(list_segments(problem)) {
    const bool pairs = kernels_.pack == 2;
    const TableType real = real_type(problem.dtype);
    bands_ = list_bands(problem, segments_, kernels_.rows + kernels_.columns + kernels_.pack,
                        {problem.prior == Prior::kAdditive, problem.prior == Prior::kLogit, false,
                         pairs ? TableType::kBFloat16 : real, real});
    in_place_ = !pairs && size_of(problem.dtype) == static_cast<size_t>(kernels_.element_bytes) &&
                problem.d % kernels_.lanes == 0;
    const bool inside = tensors.softmax_out.data == nullptr;
    toeplitz_.emplace(problem, segments_, bands_,
                      std::max(kWidePriors, inside ? kernels_.inside_keys + 1 : 0), tensors.v,
                      nullptr);
    lay_out();
  }

  void run() {
    const auto packing = static_cast<int64_t>(packing_.size());
    const auto blocks = static_cast<int64_t>(blocks_.size());
    toeplitz_->run();
    const bool owned = !many_segments();
    parallel_phases({{packing, owned}, {blocks, owned}, {padding_items(problem_), owned}},
                    problem_.threads, [&](int phase, int64_t i, int thread) {
                      if (phase == 0) {
                        pack(packing_[static_cast<size_t>(i)]);
                      } else if (phase == 1) {
                        attend(blocks_[static_cast<size_t>(i)], thread);
                      } else {
                        clear_padding(problem_, {tensors_.out, tensors_.softmax_out}, tensors_.lse,
                                      i);
                      }
                    });
  }

 private:
  int64_t key_bytes(int64_t length) const {
    return buffer_bytes(kernels_.element_bytes, round_up(length, kernels_.columns),
                        round_up(problem_.d, kernels_.pack));
  }
  int64_t value_bytes(int64_t length) const {
    if (in_place_) return 0;
    return buffer_bytes(kernels_.element_bytes, round_up(length, kernels_.pack),
                        round_up(problem_.d, kernels_.lanes));
  }
  bool many_segments() const {
    return problem_.threads <= 1 || static_cast<int64_t>(segments_.size()) >= 2 * problem_.threads;
  }

  void lay_out() {
    int64_t shared = 0, most_panels = 1;
    for (size_t s = 0; s < segments_.size(); ++s) {
      const int64_t length = segments_[s].bag.length;
      const int64_t bytes = key_bytes(length) + value_bytes(length);
      const bool is_short = key_bytes(length) <= kShortBytes;
      const bool whole = is_short && many_segments();
      offsets_.push_back(is_short ? -1 : shared);
      if (is_short) {
        packed_bytes_ = std::max(packed_bytes_, bytes);
      } else {
        shared += bytes;
        const int64_t key_panels = divide_up(length, kernels_.columns);
        const int64_t each = divide_up(key_panels, std::max(problem_.threads, 1));
        cut(key_panels, std::min(kPackedPanels, each), s, &packing_);
      }
      const int64_t panels = block_panels(length, whole);
      most_panels = std::max(most_panels, panels);
      if (whole) {
        blocks_.push_back({s, 0, divide_up(length, kernels_.rows), panels});
      } else {
        cut(divide_up(length, kernels_.rows), panels, s, &blocks_);
      }
    }
    block_bytes_ = kernels_.scratch_bytes(most_panels, problem_.d);
    private_bytes_ = round_up(block_bytes_ + packed_bytes_, Buffer::kAlignment);
    shared_ = Buffer(shared);
    private_ = Buffer(checked_product(private_bytes_, std::max(problem_.threads, 1)));
    packed_.resize(static_cast<size_t>(std::max(problem_.threads, 1)));
  }

  // Panels of a block: about 96 rows, twice that where keys come from memory, fewer where a bag
  // would give the threads too little to share.
  int64_t block_panels(int64_t length, bool whole) const {
    const int64_t rows = length >= 16384 ? 192 : 96;
    const int64_t panels = divide_up(length, kernels_.rows);
    int64_t blocks = divide_up(panels * kernels_.rows, rows);
    const auto enough = static_cast<int64_t>(8) * problem_.threads;
    if (!whole && static_cast<int64_t>(segments_.size()) * blocks < enough) {
      blocks = round_up(blocks, problem_.threads);
    }
    return divide_up(panels, blocks);
  }

  static void cut(int64_t panels, int64_t most, size_t segment, std::vector<Item>* items) {
    for (int64_t first = 0; first < panels; first += most) {
      items->push_back({segment, first, std::min(first + most, panels), most});
    }
  }

  void pack(const Item& item) const {
    pack(item.segment, item.first, item.last, shared_.as<char>() + offsets_[item.segment]);
  }

  // Key panels first .. last - 1 and the values beside them.
  void pack(size_t s, int64_t first, int64_t last, char* to) const {
    const Segment& segment = segments_[s];
    const int64_t length = segment.bag.length;
    kernels_.pack_keys(rows_of(problem_, tensors_.k, segment), length, problem_.d, first, last, to);
    if (in_place_) return;
    kernels_.pack_values(rows_of(problem_, tensors_.v, segment), length, problem_.d,
                         first * kernels_.columns, std::min(last * kernels_.columns, length),
                         to + key_bytes(length));
  }

  void attend(const Item& item, int thread) {
    char* memory = private_.as<char>() + thread * private_bytes_;
    const Segment& segment = segments_[item.segment];
    const int64_t length = segment.bag.length, offset = offsets_[item.segment];
    char* packed = offset < 0 ? memory + block_bytes_ : shared_.as<char>() + offset;
    size_t& own = packed_[static_cast<size_t>(thread)].segment;
    if (offset < 0 && own != item.segment) {
      pack(item.segment, 0, divide_up(length, kernels_.columns), packed);
      own = item.segment;
    }

    ForwardTask task;
    task.prior = problem_.prior;
    task.length = length;
    task.d = problem_.d;
    task.scale = problem_.scale;
    task.far = toeplitz_->prior(item.segment);
    if (task.far.block == 0) task.band = band_of(bands_, segment);
    task.q = rows_of(problem_, tensors_.q, segment);
    task.keys = packed;
    if (in_place_) {
      const ConstRows v = rows_of(problem_, tensors_.v, segment);
      task.values = {v.data, v.stride / kernels_.element_bytes};
    } else {
      task.values = {packed + key_bytes(length),
                     round_up(problem_.d, kernels_.lanes) * kernels_.pack};
    }
    task.out = mutable_rows_of(problem_, tensors_.out, segment);
    task.softmax_out = mutable_rows_of(problem_, tensors_.softmax_out, segment);
    task.lse = lse_of(problem_, tensors_.lse, segment);
    task.scratch = memory;
    for (int64_t panel = item.first; panel < item.last; panel += item.block) {
      task.first_panel = panel;
      task.panels = std::min(item.block, item.last - panel);
      kernels_.run(task);
    }
  }

  const Problem& problem_;
  const ForwardTensors& tensors_;
  const ForwardKernels& kernels_;
  const std::vector<Segment> segments_;
  std::vector<BandTables> bands_;
  std::optional<Toeplitz> toeplitz_;
  bool in_place_;                 // products read v where torch stores it
  std::vector<int64_t> offsets_;  // of a segment's packed keys in shared_; -1: a short bag
  std::vector<Item> packing_, blocks_;
  std::vector<Packed> packed_;
  int64_t packed_bytes_ = 0, block_bytes_ = 0, private_bytes_ = 0;
  Buffer shared_, private_;
};

}  // namespace

void forward(const Problem& problem, const ForwardTensors& tensors) {
  ForwardPlan(problem, tensors).run();
}

}  // namespace ladnet::attention
