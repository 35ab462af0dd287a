// One block of rows through a chain of linear layers, forward and backward.
//
// Between two layers a block is a matrix in scratch whose rows are padded to whole tiles. For the
// backward pass only GELU's argument is stored; the input of LayerNorm is computed again, with the
// same bits as in the forward pass.
#pragma once

#include "cpu/linear_product.h"
#include "cpu/linear_rows.h"
#include "cpu/linear_types.h"

namespace ladnet::LADNET_ISA {
namespace {

using linear::BackwardBlock;
using linear::Epilogue;
using linear::ForwardBlock;
using linear::InputPart;
using linear::kMaxBlockRows;
using linear::Layer;
using linear::LayerSums;
using linear::OutputPart;
using linear::RowIndex;

LADNET_INLINE int64_t padded(int64_t width) {
  return round_to(width, kWide);
}

// A matrix in scratch, and pointers to its rows for packing.
struct Matrix {
  float* data;
  int64_t stride;
  int64_t count;
  const float* rows[kMaxBlockRows];

  void place(float* at, int64_t width, int64_t row_count) {
    data = at;
    stride = padded(width);
    count = row_count;
    for (int64_t r = 0; r < row_count; ++r) rows[r] = at + r * stride;
  }
  float* row(int64_t r) const { return data + r * stride; }
};

LADNET_INLINE int64_t widest(const Layer* layers, int64_t layer_count) {
  int64_t width = 0;
  for (int64_t l = 0; l < layer_count; ++l) {
    width = greater_of(width, greater_of(padded(layers[l].inputs), padded(layers[l].outputs)));
  }
  return width;
}

// u = x W^T + b for the rows of a block.
void apply_weight(const Layer& layer, const float* const* input, int64_t count, float* left,
                  const Matrix& to) {
  pack_left(input, count, layer.inputs, left);
  product(left, panels_of(count, kRows), layer.weight, panels_of(layer.outputs, kWide),
          layer.inputs, to.data, to.stride);
  for (int64_t r = 0; r < count; ++r) {
    float* row = to.row(r);
    for (int64_t j = 0; j < to.stride; j += kLanes<float>) {
      store(row + j, load(row + j) + load(layer.bias + j));
    }
  }
}

// ---- Forward ------------------------------------------------------------------------------------

void finish_row(const Layer& layer, RowIndex at, float* row) {
  const int64_t width = layer.outputs;
  if (layer.epilogue == Epilogue::kGelu) {
    if (layer.pre.data) copy_row(row, width, layer.pre.at(at));
    gelu_row(row, width, row);
  } else if (layer.epilogue == Epilogue::kNormalise) {
    add_row(layer.residual.at(at), width, row);
    standardise_row(width, layer.eps, row);
    scale_row(row, layer.norm_weight, layer.norm_bias, width, row);
  }
  if (layer.keep.data) drop_row(layer.keep.at(at), layer.keep_scale, width, row);
}

int64_t forward_scratch(const Layer* layers, int64_t layer_count, int64_t row_count) {
  return 2 * round_to(row_count, kRows) * widest(layers, layer_count);
}

void forward(const ForwardBlock& block) {
  const int64_t count = block.row_count;
  float* left = block.scratch;
  float* spare = left + round_to(count, kRows) * widest(block.layers, block.layer_count);
  Matrix x;
  for (int64_t r = 0; r < count; ++r) x.rows[r] = block.input.at(block.rows[r]);
  for (int64_t l = 0; l < block.layer_count; ++l) {
    const Layer& layer = block.layers[l];
    Matrix u;
    u.place(spare, layer.outputs, count);
    // The left operand was packed from x before u overwrites it.
    apply_weight(layer, x.rows, count, left, u);
    for (int64_t r = 0; r < count; ++r) finish_row(layer, block.rows[r], u.row(r));
    x = u;
  }
  for (int64_t r = 0; r < count; ++r) {
    const float* from = x.row(r);
    for (int64_t p = 0; p < block.output_count; ++p) {
      const OutputPart& part = block.outputs[p];
      copy_row(from, part.width, part.rows.at(block.rows[r]));
      from += part.width;
    }
  }
}

// ---- Backward -----------------------------------------------------------------------------------

class Backward {
 public:
  explicit Backward(const BackwardBlock& block) : block_(block), count_(block.row_count) {
    const int64_t tall = round_to(count_, kRows), wide = widest(block.layers, block.layer_count);
    float* at = block.scratch;
    left_ = take(&at, tall * wide);
    transposed_ = take(&at, count_ * round_to(wide, kRows));
    right_ = take(&at, count_ * kWide);
    columns_ = take(&at, 2 * wide);
    grad_data_ = take(&at, tall * wide);
    spare_ = take(&at, tall * wide);
    standard_data_ = take(&at, tall * padded(block.layers[0].outputs));
    for (int64_t r = 0; r < count_; ++r) inputs_[0].rows[r] = block.input.at(block.rows[r]);
    for (int64_t l = 1; l < block.layer_count; ++l) {
      const int64_t width = block.layers[l].inputs;
      inputs_[l].place(take(&at, tall * padded(width)), width, count_);
    }
  }

  void run() {
    for (int64_t l = 0; l + 1 < block_.layer_count; ++l) restore_output(l);
    if (block_.layer_count == 1) restore_standard(block_.layers[0]);
    read_grads();
    for (int64_t l = block_.layer_count - 1; l >= 0; --l) step_back(l);
  }

  static int64_t scratch(const Layer* layers, int64_t layer_count, int64_t row_count) {
    const int64_t tall = round_to(row_count, kRows), wide = widest(layers, layer_count);
    int64_t floats = 3 * tall * wide + row_count * (round_to(wide, kRows) + kWide) + 2 * wide +
                     tall * padded(layers[0].outputs);
    for (int64_t l = 1; l < layer_count; ++l) floats += tall * padded(layers[l].inputs);
    return floats + (layer_count + 6) * kAlign;
  }

 private:
  static constexpr int64_t kAlign = 16;  // floats of a cache line

  static float* take(float** at, int64_t floats) {
    float* here = *at;
    *at += round_to(floats, kAlign);
    return here;
  }

  // LayerNorm's input, standardised, and the factors that did it.
  void restore_standard(const Layer& layer) {
    if (layer.epilogue != Epilogue::kNormalise) return;
    standard_.place(standard_data_, layer.outputs, count_);
    apply_weight(layer, inputs_[0].rows, count_, left_, standard_);
    for (int64_t r = 0; r < count_; ++r) {
      add_row(layer.residual.at(block_.rows[r]), layer.outputs, standard_.row(r));
      factor_[r] = standardise_row(layer.outputs, layer.eps, standard_.row(r));
    }
  }

  // What layer l gave to the next one.
  void restore_output(int64_t l) {
    const Layer& layer = block_.layers[l];
    const Matrix& to = inputs_[l + 1];
    restore_standard(layer);
    if (layer.epilogue == Epilogue::kNone) apply_weight(layer, inputs_[l].rows, count_, left_, to);
    for (int64_t r = 0; r < count_; ++r) {
      const RowIndex at = block_.rows[r];
      if (layer.epilogue == Epilogue::kNormalise) {
        scale_row(standard_.row(r), layer.norm_weight, layer.norm_bias, layer.outputs, to.row(r));
      } else if (layer.epilogue == Epilogue::kGelu) {
        gelu_row(layer.pre.at(at), layer.outputs, to.row(r));
      }
      if (layer.keep.data) drop_row(layer.keep.at(at), layer.keep_scale, layer.outputs, to.row(r));
    }
  }

  void read_grads() {
    grad_.place(grad_data_, block_.layers[block_.layer_count - 1].outputs, count_);
    for (int64_t r = 0; r < count_; ++r) {
      float* to = grad_.row(r);
      for (int64_t p = 0; p < block_.grad_count; ++p) {
        const InputPart& part = block_.grads[p];
        copy_row(part.rows.at(block_.rows[r]), part.width, to);
        to += part.width;
      }
      clear(to, grad_.row(r) + grad_.stride);
    }
  }

  // From the gradient of layer l's output to that of its input.
  void step_back(int64_t l) {
    const Layer& layer = block_.layers[l];
    const int64_t width = layer.outputs;
    const LayerSums* sums = block_.sums ? block_.sums + l : nullptr;
    for (int64_t r = 0; r < count_; ++r) {
      const RowIndex at = block_.rows[r];
      if (layer.keep.data) drop_row(layer.keep.at(at), layer.keep_scale, width, grad_.row(r));
      if (layer.epilogue == Epilogue::kGelu) gelu_grad_row(layer.pre.at(at), width, grad_.row(r));
    }
    if (layer.epilogue == Epilogue::kNormalise) {
      if (sums) add_norm_sums(*sums);
      for (int64_t r = 0; r < count_; ++r) {
        normalise_grad_row(standard_.row(r), factor_[r], layer.norm_weight, width, grad_.row(r));
        if (block_.grad_residual.data) {
          copy_row(grad_.row(r), width, block_.grad_residual.at(block_.rows[r]));
        }
      }
    }
    if (sums) {
      add_weight_sums(layer, inputs_[l], *sums);
      add_bias_sums(*sums);
    }
    if (l == 0 && !block_.grad_input.data) return;

    Matrix next;
    next.place(grad_.data == grad_data_ ? spare_ : grad_data_, layer.inputs, count_);
    pack_left(grad_.rows, count_, width, left_);
    product(left_, panels_of(count_, kRows), layer.weight_backward, panels_of(layer.inputs, kWide),
            width, next.data, next.stride);
    grad_ = next;
    if (l > 0) return;
    for (int64_t r = 0; r < count_; ++r) {
      copy_row(grad_.row(r), layer.inputs, block_.grad_input.at(block_.rows[r]));
    }
  }

  // dW += grad^T x
  void add_weight_sums(const Layer& layer, const Matrix& x, const LayerSums& sums) {
    const int64_t stride = padded(layer.inputs);
    for (int64_t i = 0; i < layer.outputs; i += kRows) {
      pack_columns<kRows>(grad_.rows, count_, i, layer.outputs, transposed_ + i * count_);
    }
    for (int64_t j = 0; j < layer.inputs; j += kWide) {
      pack_columns<kWide>(x.rows, count_, j, layer.inputs, right_);
      for (int64_t i = 0; i < layer.outputs; i += kRows) {
        product_tile(transposed_ + i * count_, right_, count_, !block_.first,
                     sums.weight + i * stride + j, stride);
      }
    }
  }

  void add_bias_sums(const LayerSums& sums) {
    clear(columns_, columns_ + grad_.stride);
    for (int64_t r = 0; r < count_; ++r) {
      const float* row = grad_.row(r);
      for (int64_t j = 0; j < grad_.stride; j += kLanes<float>) {
        store(columns_ + j, load(columns_ + j) + load(row + j));
      }
    }
    add_up(columns_, sums.bias);
  }

  void add_norm_sums(const LayerSums& sums) {
    float* weights = columns_;
    float* biases = columns_ + grad_.stride;
    clear(columns_, columns_ + 2 * grad_.stride);
    for (int64_t r = 0; r < count_; ++r) {
      const float* row = grad_.row(r);
      const float* standard = standard_.row(r);
      for (int64_t j = 0; j < grad_.stride; j += kLanes<float>) {
        store(weights + j, multiply_add(load(row + j), load(standard + j), load(weights + j)));
        store(biases + j, load(biases + j) + load(row + j));
      }
    }
    add_up(weights, sums.norm_weight);
    add_up(biases, sums.norm_bias);
  }

  // Sums of a block first, then over blocks: fewer roundings than one long sum.
  void add_up(const float* from, float* to) const {
    for (int64_t j = 0; j < grad_.stride; j += kLanes<float>) {
      store(to + j, block_.first ? load(from + j) : load(to + j) + load(from + j));
    }
  }

  static void clear(float* from, float* to) {
    memset(from, 0, static_cast<size_t>(to - from) * sizeof(float));
  }

  const BackwardBlock& block_;
  const int64_t count_;
  float *left_, *transposed_, *right_, *columns_, *grad_data_, *spare_, *standard_data_;
  Matrix inputs_[linear::kMaxLayers];
  Matrix grad_, standard_;
  float factor_[kMaxBlockRows];
};

void backward(const BackwardBlock& block) {
  Backward(block).run();
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
