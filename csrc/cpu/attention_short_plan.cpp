#include "cpu/attention_short_plan.h"

#include <algorithm>

namespace ladnet::attention {
namespace {

// Panels of queries that share what they read of the keys, and of a gradient's rows that share what
// they read of the other operand.
constexpr int64_t kFillPanels = 4;
constexpr int64_t kProductPanels = 8;

constexpr Gradient kGradients[] = {Gradient::kValues, Gradient::kKeys, Gradient::kQueries};

void add_panels(const BackwardHead& head, int64_t panels, double sums[2]) {
  sums[0] = sums[1] = 0.0;
  for (int64_t p = 0; head.prior_gradient && p < panels; ++p) {
    for (int i = 0; i < 2; ++i) sums[i] += head.panel_gradients[p][i];
  }
}

}  // namespace

void run_short(const BackwardHeads& heads, const BackwardHead& head, void* scratch,
               double sums[2]) {
  const BackwardKernels& kernels = heads.kernels();
  const int64_t panels = heads.query_panels(head.length);
  heads.pack(head, 0, heads.panels_to_pack(head.length));
  for (int64_t p = 0; p < panels; p += kFillPanels) {
    kernels.fill_matrices(head, p, std::min(p + kFillPanels, panels));
  }
  for (Gradient gradient : kGradients) {
    for (int64_t p = 0; p < panels; p += kProductPanels) {
      kernels.multiply(head, gradient, p, std::min(p + kProductPanels, panels), scratch);
    }
  }
  add_panels(head, panels, sums);
}

ShortBags::ShortBags(const BackwardHeads& heads, const std::vector<size_t>& segments, int threads)
    : heads_(heads), segments_(segments), packed_(static_cast<size_t>(threads)) {
  int64_t bytes = 0;
  for (size_t s : segments) bytes += heads.result_bytes(heads.length(s));
  results_ = Buffer(bytes);
  char* next = results_.as<char>();
  for (size_t bag = 0; bag < segments.size(); ++bag) {
    const int64_t length = heads.length(segments[bag]), panels = heads.query_panels(length);
    places_.push_back(next);
    next += heads.result_bytes(length);
    // As many items as share out evenly among the threads.
    const auto count = [&](int64_t most) {
      return std::min(round_up(divide_up(panels, most), threads), panels);
    };
    const int64_t fills = count(kFillPanels), products = count(kProductPanels);
    for (int64_t i = 0; i < fills; ++i) {
      fill_.push_back({bag, Gradient::kValues, panels * i / fills, panels * (i + 1) / fills});
    }
    // The rows of dQ read the rows of dS that the same thread has filled.
    for (int64_t i = 0; i < products; ++i) {
      for (Gradient gradient : kGradients) {
        multiply_.push_back({bag, gradient, panels * i / products, panels * (i + 1) / products});
      }
    }
  }
}

BackwardHead ShortBags::head(size_t bag, char* packed) const {
  return heads_.head(segments_[bag], packed, places_[bag]);
}

void ShortBags::pack(const BackwardHead& head, size_t bag, int thread) {
  size_t& own = packed_[static_cast<size_t>(thread)].bag;
  if (own == bag) return;
  heads_.pack(head, 0, heads_.panels_to_pack(head.length));
  own = bag;
}

void ShortBags::fill(int64_t at, int thread, char* packed) {
  const Item& item = fill_[static_cast<size_t>(at)];
  const BackwardHead bag = head(item.bag, packed);
  pack(bag, item.bag, thread);
  heads_.kernels().fill_matrices(bag, item.first, item.last);
}

void ShortBags::multiply(int64_t at, int thread, char* packed, void* scratch) {
  const Item& item = multiply_[static_cast<size_t>(at)];
  const BackwardHead bag = head(item.bag, packed);
  if (!heads_.in_place()) pack(bag, item.bag, thread);
  heads_.kernels().multiply(bag, item.gradient, item.first, item.last, scratch);
}

void ShortBags::sum_prior_gradients(size_t bag, double sums[2]) const {
  const BackwardHead whole = head(bag, nullptr);
  add_panels(whole, heads_.query_panels(whole.length), sums);
}

}  // namespace ladnet::attention
