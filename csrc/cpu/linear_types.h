// What the plan of the linear layers (linear_*.cpp) and the kernels of each instruction set say to
// each other. Plain data and function pointers, no standard library: the kernels' translation units
// include this file with the flags of their instruction set.
//
// A chain is a few linear layers applied to every snippet on its own. Its unit of work is a block
// of rows that stays in a private cache from the first layer to the last.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/host_device.h"

namespace ladnet::linear {

constexpr int64_t kMaxBlockRows = 96;
constexpr int64_t kMaxLayers = 16;

// One snippet. Rows of padding have no RowIndex and are never read.
struct RowIndex {
  int64_t batch;
  int64_t snippet;
};

// A (B, T, width) tensor with unit stride along width; strides in elements, data null if absent.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t batch_stride = 0;
  int64_t row_stride = 0;

  LADNET_HOST_DEVICE T* at(RowIndex row) const {
    return data + (row.batch * batch_stride + row.snippet * row_stride);
  }
};

// Some columns of a matrix that lies in several tensors side by side.
struct InputPart {
  Rows<const float> rows;
  int64_t width;
};
struct OutputPart {
  Rows<float> rows;
  int64_t width;
};

// What follows u = x W^T + b.
enum class Epilogue : int {
  kNone = 0,
  kGelu = 1,      // gelu(u)
  kNormalise = 2  // LayerNorm(u + residual)
};

struct Layer {
  int64_t inputs;
  int64_t outputs;
  const float* weight;           // right panels of W^T: depth = inputs
  const float* weight_backward;  // right panels of W: depth = outputs; null in the forward pass
  const float* bias;             // with zeros up to a whole tile
  Epilogue epilogue;
  // kGelu: u, written when training and read by the backward pass.
  Rows<float> pre;
  // kNormalise.
  Rows<const float> residual;
  const float* norm_weight;
  const float* norm_bias;
  float eps;
  // Dropout behind the epilogue: what is kept (0 or 1) is multiplied by keep_scale.
  Rows<const uint8_t> keep;
  float keep_scale;
};

// Where a partition adds up the gradients of one layer's parameters.
struct LayerSums {
  float* weight;  // round_up(outputs, rows) x round_up(inputs, columns)
  float* bias;    // the next three: round_up(outputs, columns)
  float* norm_weight;
  float* norm_bias;
};

struct ForwardBlock {
  const Layer* layers;
  int64_t layer_count;
  Rows<const float> input;
  const OutputPart* outputs;
  int64_t output_count;
  const RowIndex* rows;
  int64_t row_count;
  float* scratch;
};

struct BackwardBlock {
  const Layer* layers;
  int64_t layer_count;
  Rows<const float> input;
  const InputPart* grads;  // of the outputs
  int64_t grad_count;
  Rows<float> grad_input;     // the next two: null where not wanted
  Rows<float> grad_residual;  // of the first layer, the only one that may normalise
  const LayerSums* sums;      // null: no gradients of parameters
  bool first;                 // of its partition: the sums begin here
  const RowIndex* rows;
  int64_t row_count;
  float* scratch;
};

// PyTorch's random generator on CPUs, MT19937: 624 words, of which the first `used` are drawn.
constexpr int kTwisterWords = 624;
struct Twister {
  uint32_t words[kTwisterWords];
  int used;
};

// What one instruction set offers.
struct Kernels {
  int64_t rows;     // of a register tile
  int64_t columns;  // of a register tile
  // Panels first .. last - 1 of W^T and of W, given pointers to the rows of W.
  void (*pack_weight)(const float* const* rows, int64_t outputs, int64_t inputs, int64_t first,
                      int64_t last, float* to);
  void (*pack_weight_backward)(const float* const* rows, int64_t outputs, int64_t inputs,
                               int64_t first, int64_t last, float* to);
  // Floats of scratch for blocks of up to row_count rows.
  int64_t (*forward_scratch)(const Layer* layers, int64_t layer_count, int64_t row_count);
  int64_t (*backward_scratch)(const Layer* layers, int64_t layer_count, int64_t row_count);
  void (*forward)(const ForwardBlock& block);
  void (*backward)(const BackwardBlock& block);
  void (*draw_keeps)(Twister& twister, uint64_t threshold, int64_t count, uint8_t* keeps);
};

}  // namespace ladnet::linear
