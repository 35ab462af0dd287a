// What the forward and the backward plan share: the bags and heads of a call, and views of them.
#pragma once

#include <vector>

#include "core/bags.h"
#include "cpu/attention.h"
#include "cpu/attention_band.h"
#include "cpu/parallel.h"

namespace ladnet::attention {

// One bag and head with at least one snippet.
struct Segment {
  Bag bag;
  int64_t head;
};

std::vector<Segment> list_segments(const Problem& problem);

inline int64_t real_bytes(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? 8 : 4;
}

inline TableType real_type(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? TableType::kFloat64 : TableType::kFloat32;
}

// The tables of every head; none for Prior::kNone.
std::vector<BandTables> list_bands(const Problem& problem, const std::vector<Segment>& segments,
                                   int64_t margin, const TableNeeds& needs);

inline Band band_of(const std::vector<BandTables>& bands, const Segment& segment) {
  if (bands.empty()) return {};
  return bands[static_cast<size_t>(segment.head)].band(segment.bag.length);
}

ConstRows rows_of(const Problem& problem, const Tensor& tensor, const Segment& segment);
MutableRows mutable_rows_of(const Problem& problem, const Tensor& tensor, const Segment& segment);

// Where the segment begins in a contiguous (B, H, T) tensor of the accumulation type; null for
// none.
char* lse_of(const Problem& problem, const void* lse, const Segment& segment);

// Writes zeros to the rows of batch entry `batch` of `tensors` that belong to no bag, and to those
// of `lse` if given. A call has padding_items of them.
void clear_padding(const Problem& problem, const std::vector<Tensor>& tensors, void* lse,
                   int64_t batch);
inline int64_t padding_items(const Problem& problem) {
  return problem.lengths != nullptr ? problem.batches : 0;
}

}  // namespace ladnet::attention
