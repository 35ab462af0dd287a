// How a batch is cut into pieces for threads, and which kernels serve its types.
//
// The cuts depend on sizes only, never on the number of threads: so neither do the bits.
#pragma once

#include <stdint.h>

#include <algorithm>
#include <vector>

#include "core/bags.h"
#include "core/size.h"
#include "cpu/ddl.h"
#include "cpu/ddl_kernels.h"

namespace ladnet::ddl {

// Snippets begin .. end - 1 of a bag; some or all may be padding.
struct Chunk {
  int64_t bag;
  int64_t begin;
  int64_t end;
};

class Plan {
 public:
  explicit Plan(const Batch& batch)
      : batch_(batch),
        bags_(list_bags(batch.bags, batch.T, batch.lengths, batch.cu_seqlens, batch.bags + 1)) {}

  const std::vector<Bag>& bags() const { return bags_; }

  // Where a bag starts in arrays that hold one value per snippet.
  int64_t offset(const Bag& bag) const { return bag.batch * batch_.T + bag.first; }

  // Length with padding.
  int64_t span(const Bag& bag) const {
    return batch_.cu_seqlens != nullptr ? bag.length : batch_.T;
  }

  // The rows of a bag; `padded` for vectors of any instruction set.
  Rows rows(const Bag& bag) const {
    const int64_t first = bag.batch * batch_.batch_stride + bag.first * batch_.row_stride;
    const int64_t bytes = first * int64_t(size_of(batch_.dtype));
    return {static_cast<const char*>(batch_.features) + bytes, batch_.row_stride, batch_.width,
            padded_width()};
  }

  int64_t padded_width() const { return round_up(batch_.width, kRowMultiple); }

  // About 256 KiB of floats: long enough that the row read twice at a seam costs nothing.
  int64_t rows_per_chunk() const {
    return std::clamp<int64_t>(65536 / std::max<int64_t>(batch_.width, 1), 64, 4096);
  }

  std::vector<Chunk> chunks(int64_t size) const {
    std::vector<Chunk> list;
    for (size_t i = 0; i < bags_.size(); ++i) {
      const int64_t end = span(bags_[i]);
      for (int64_t begin = 0; begin < end; begin += size) {
        list.push_back({int64_t(i), begin, std::min(begin + size, end)});
      }
    }
    return list;
  }

 private:
  const Batch& batch_;
  std::vector<Bag> bags_;
};

// What a step of a bag weighs in the alignment loss, times that loss's gradient.
template <class A>
A alignment_weight(const Bag& bag, const Batch& batch, A grad_alignment) {
  const double steps = double(bag.length - 1) * double(batch.bags);
  return bag.length > 1 ? A(double(grad_alignment) / steps) : A(0);
}

// Where the gradient of the features goes, and how it is written.
//
// Memory that holds pages already is streamed past the caches, which could not hold a large
// gradient anyway. Fresh memory is cleared by the system, a huge page at a time, when it is first
// written: then its page lies in the cache, and ordinary stores into large chunks find it there.
class FeatureGradient {
 public:
  FeatureGradient(const Batch& batch, const Plan& plan, int threads, void* data);

  char* row(int64_t row) const { return data_ + row * row_bytes_; }
  void clear(int64_t begin, int64_t end) const;
  bool stream() const { return stream_; }
  int64_t rows_per_chunk() const { return rows_per_chunk_; }

 private:
  char* data_;
  int64_t row_bytes_;
  bool stream_;
  int64_t rows_per_chunk_;
};

// Kernels for the instruction set in use.
template <class A>
const ScoreKernels<A>& score_kernels_for();
template <class A>
const FeatureKernels<A>& feature_kernels_for(Dtype dtype);

}  // namespace ladnet::ddl
