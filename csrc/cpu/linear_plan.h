// What the forward and backward plans of the linear layers share.
#pragma once

#include <vector>

#include "cpu/buffer.h"
#include "cpu/dispatch.h"
#include "cpu/linear.h"

namespace ladnet {

LADNET_DECLARE_FOR_EACH_SET(extern const linear::Kernels linear_kernels;)

namespace linear {

// The snippets that are no padding, bag after bag.
std::vector<RowIndex> list_rows(const Problem& problem);

// Rows of a block: enough that a weight is used often while it is near, and small batches still
// give every thread something to do.
int64_t block_rows(int64_t row_count);

// The layers with their weights packed for an instruction set.
class PackedLayers {
 public:
  PackedLayers(const Problem& problem, const Kernels& kernels, bool backward);
  const std::vector<Layer>& layers() const { return layers_; }

 private:
  std::vector<Layer> layers_;
  std::vector<Buffer> memory_;
};

// Zeros in the rows of padding.
void clear_padding(const Problem& problem, Rows<float> rows, int64_t width);

}  // namespace linear
}  // namespace ladnet
