// Plans the forward pass: who packs the keys, and how many rows a thread takes at a time.
//
// A short bag is one item of work: one thread packs its keys, which then lie in that thread's
// cache, and computes all its rows. The keys of a long bag are packed once by all threads, and its
// rows are cut into blocks. Cutting rows changes no bit of the result, so it may depend on the
// thread count.
#include <algorithm>

#include "cpu/attention_kernels.h"
#include "cpu/attention_plan.h"

namespace ladnet::attention {
namespace {

constexpr int64_t kPackedPanels = 8;  // that one item of packing takes
constexpr int64_t kShortBytes =
    1 << 18;  // of packed keys: what a private cache holds with the rest

// Panels of keys to pack, or of query rows to compute; for a short bag the size of its blocks.
struct Item {
  size_t segment;
  int64_t first_panel;
  int64_t panels;
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
    lay_out();
  }

  void run() {
    const auto packing = static_cast<int64_t>(packing_.size());
    const auto blocks = static_cast<int64_t>(blocks_.size());
    parallel_phases(
        {packing, blocks, padding_items(problem_)}, problem_.threads,
        [&](int phase, int64_t i, int thread) {
          if (phase == 0) {
            pack(packing_[static_cast<size_t>(i)]);
          } else if (phase == 1) {
            attend(blocks_[static_cast<size_t>(i)], private_.as<char>() + thread * private_bytes_);
          } else {
            clear_padding(problem_, {tensors_.out, tensors_.softmax_out}, tensors_.lse, i);
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
  bool is_short(const Segment& segment) const {
    const auto many = static_cast<int64_t>(segments_.size()) >= 2 * problem_.threads;
    return (many || problem_.threads <= 1) && key_bytes(segment.bag.length) <= kShortBytes;
  }

  void lay_out() {
    int64_t shared = 0, most_panels = 1;
    for (size_t s = 0; s < segments_.size(); ++s) {
      const int64_t length = segments_[s].bag.length;
      const int64_t bytes = key_bytes(length) + value_bytes(length);
      const bool whole = is_short(segments_[s]);
      offsets_.push_back(whole ? -1 : shared);
      if (whole) {
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
        blocks_.push_back({s, 0, panels});
      } else {
        cut(divide_up(length, kernels_.rows), panels, s, &blocks_);
      }
    }
    block_bytes_ = kernels_.scratch_bytes(most_panels, problem_.d);
    private_bytes_ = round_up(block_bytes_ + packed_bytes_, Buffer::kAlignment);
    shared_ = Buffer(shared);
    private_ = Buffer(checked_product(private_bytes_, std::max(problem_.threads, 1)));
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
      items->push_back({segment, first, std::min(most, panels - first)});
    }
  }

  void pack(const Item& item) const {
    pack(item.segment, item.first_panel, item.first_panel + item.panels,
         shared_.as<char>() + offsets_[item.segment]);
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

  void attend(const Item& item, char* memory) const {
    const Segment& segment = segments_[item.segment];
    const int64_t length = segment.bag.length, offset = offsets_[item.segment];
    char* packed = offset < 0 ? memory + block_bytes_ : shared_.as<char>() + offset;
    if (offset < 0) pack(item.segment, 0, divide_up(length, kernels_.columns), packed);

    ForwardTask task;
    task.prior = problem_.prior;
    task.length = length;
    task.d = problem_.d;
    task.scale = problem_.scale;
    task.band = band_of(bands_, segment);
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
    const int64_t end =
        offset < 0 ? divide_up(length, kernels_.rows) : item.first_panel + item.panels;
    for (int64_t panel = item.first_panel; panel < end; panel += item.panels) {
      task.first_panel = panel;
      task.panels = std::min(item.panels, end - panel);
      kernels_.run(task);
    }
  }

  const Problem& problem_;
  const ForwardTensors& tensors_;
  const ForwardKernels& kernels_;
  const std::vector<Segment> segments_;
  std::vector<BandTables> bands_;
  bool in_place_;                 // products read v where torch stores it
  std::vector<int64_t> offsets_;  // of a segment's packed keys in shared_; -1: a short bag
  std::vector<Item> packing_, blocks_;
  int64_t packed_bytes_ = 0, block_bytes_ = 0, private_bytes_ = 0;
  Buffer shared_, private_;
};

}  // namespace

void forward(const Problem& problem, const ForwardTensors& tensors) {
  ForwardPlan(problem, tensors).run();
}

}  // namespace ladnet::attention
