#include "cpu/attention_plan.h"

#include <algorithm>
#include <cstring>

namespace ladnet::attention {
namespace {

double real_at(const Problem& problem, const void* values, int64_t at) {
  return problem.dtype == Dtype::kFloat64 ? static_cast<const double*>(values)[at]
                                          : static_cast<const float*>(values)[at];
}

}  // namespace

std::vector<Segment> list_segments(const Problem& problem) {
  std::vector<Segment> segments;
  for (const Bag& bag : list_bags(problem.batches, problem.T, problem.lengths, problem.cu_seqlens,
                                  problem.offsets)) {
    for (int64_t head = 0; head < problem.heads && bag.length > 0; ++head) {
      segments.push_back({bag, head});
    }
  }
  return segments;
}

std::vector<BandTables> list_bands(const Problem& problem, const std::vector<Segment>& segments,
                                   int64_t margin, const TableNeeds& needs) {
  std::vector<BandTables> bands;
  if (problem.prior == Prior::kNone) return bands;
  int64_t longest = 1;
  for (const Segment& segment : segments) longest = std::max(longest, segment.bag.length);
  for (int64_t head = 0; head < problem.heads; ++head) {
    bands.emplace_back(real_at(problem, problem.w, head), real_at(problem, problem.b, head),
                       longest, margin, needs);
  }
  return bands;
}

MutableRows mutable_rows_of(const Problem& problem, const Tensor& tensor, const Segment& segment) {
  if (tensor.data == nullptr) return {nullptr, 0, problem.dtype};
  const auto bytes = static_cast<int64_t>(size_of(problem.dtype));
  const int64_t at = segment.bag.batch * tensor.batch_stride + segment.head * tensor.head_stride +
                     segment.bag.first * tensor.row_stride;
  return {static_cast<char*>(tensor.data) + at * bytes, tensor.row_stride * bytes, problem.dtype};
}

ConstRows rows_of(const Problem& problem, const Tensor& tensor, const Segment& segment) {
  const MutableRows rows = mutable_rows_of(problem, tensor, segment);
  return {rows.data, rows.stride, rows.dtype};
}

char* lse_of(const Problem& problem, const void* lse, const Segment& segment) {
  if (lse == nullptr) return nullptr;
  const int64_t at = (segment.bag.batch * problem.heads + segment.head) * problem.T;
  return static_cast<char*>(const_cast<void*>(lse)) +
         (at + segment.bag.first) * real_bytes(problem.dtype);
}

void clear_padding(const Problem& problem, const std::vector<Tensor>& tensors, void* lse,
                   int64_t batch) {
  const int64_t length = problem.lengths[batch], rows = problem.T - length;
  for (int64_t head = 0; head < problem.heads && rows > 0; ++head) {
    const Segment padding{{batch, length, rows}, head};
    for (const Tensor& tensor : tensors) {
      const MutableRows to = mutable_rows_of(problem, tensor, padding);
      if (to.data == nullptr) continue;
      const auto bytes = static_cast<size_t>(problem.d) * size_of(problem.dtype);
      for (int64_t t = 0; t < rows; ++t) std::memset(to.data + t * to.stride, 0, bytes);
    }
    if (lse != nullptr) {
      std::memset(lse_of(problem, lse, padding), 0,
                  static_cast<size_t>(rows * real_bytes(problem.dtype)));
    }
  }
}

}  // namespace ladnet::attention
