#include "cpu/ddl_plan.h"

#include <string.h>

#include <algorithm>

#include "cpu/dispatch.h"
#include "cpu/pages.h"

namespace ladnet::ddl {
namespace {

// Gradients of this size or more are large.
constexpr int64_t kLargeBytes = 8 << 20;

constexpr int64_t kHugePage = 2 << 20;

}  // namespace

FeatureGradient::FeatureGradient(const Batch& batch, const Plan& plan, int threads, void* data)
    : data_(static_cast<char*>(data)),
      row_bytes_(checked_product(batch.width, int64_t(size_of(batch.dtype)))),
      rows_per_chunk_(plan.rows_per_chunk()) {
  const int64_t bytes = checked_product(batch.snippets(), row_bytes_);
  const bool large = bytes >= kLargeBytes;
  const bool fresh = large && is_fresh(data, bytes);
  prefer_huge_pages(data, bytes);
  stream_ = large && !fresh;
  if (fresh) {
    // A few chunks for every thread.
    const int64_t chunk = std::min(kHugePage, bytes / (4 * std::max(threads, 1)));
    rows_per_chunk_ = std::max(rows_per_chunk_, chunk / row_bytes_);
  }
}

void FeatureGradient::clear(int64_t begin, int64_t end) const {
  if (begin < end) memset(row(begin), 0, size_t((end - begin) * row_bytes_));
}

LADNET_DECLARE_FOR_EACH_SET(extern const FeatureTable feature_kernels;
                            extern const ScoreTable score_kernels;)

template <>
const ScoreKernels<float>& score_kernels_for() {
  return LADNET_SELECT(score_kernels).float32;
}

template <>
const ScoreKernels<double>& score_kernels_for() {
  return LADNET_SELECT(score_kernels).float64;
}

template <>
const FeatureKernels<float>& feature_kernels_for(Dtype dtype) {
  const FeatureTable& table = LADNET_SELECT(feature_kernels);
  switch (dtype) {
    case Dtype::kBFloat16:
      return table.bfloat16;
    case Dtype::kFloat16:
      return table.float16;
    default:
      return table.float32;
  }
}

template <>
const FeatureKernels<double>& feature_kernels_for(Dtype) {
  return LADNET_SELECT(feature_kernels).float64;
}

}  // namespace ladnet::ddl
