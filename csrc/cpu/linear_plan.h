// What the forward and backward plans of the linear layers share.
#pragma once

#include <vector>

#include "cpu/buffer.h"
#include "cpu/dispatch.h"
#include "cpu/linear.h"

namespace ladnet {

LADNET_DECLARE_FOR_EACH_SET(extern const linear::Kernels linear_kernels;)

namespace linear {

// The snippets that are not padding, bag by bag.
std::vector<RowIndex> list_rows(const Problem& problem);

// Rows per block: enough to reuse a weight often while it is in cache, but few enough that a small
// batch has a block for every thread.
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
