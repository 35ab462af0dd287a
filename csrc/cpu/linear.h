// Linear layers on CPUs, forward and backward: packs the weights, cuts the batch into blocks of
// snippets and runs them on threads.
//
// Arguments are trusted: ladnet_fast/ops/linear/native.py has checked them. How the batch is cut
// depends on its size alone, so results have the same bits whatever the thread count.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "cpu/linear_types.h"

namespace ladnet::linear {

// Rows of W with unit stride; several weights side by side act as one of their rows together.
struct Weight {
  const float* data;
  int64_t row_stride;
  const float* bias;
  int64_t outputs;
};

// A layer before its weights are packed.
struct LayerSpec {
  int64_t inputs = 0;
  std::vector<Weight> weights;
  Epilogue epilogue = Epilogue::kNone;
  Rows<float> pre;
  Rows<const float> residual;
  const float* norm_weight = nullptr;
  const float* norm_bias = nullptr;
  float eps = 0;
  Rows<const uint8_t> keep;
  float keep_scale = 1;
};

struct Problem {
  int64_t batches;
  int64_t T;
  const int64_t* lengths;  // (B,) or null
  int threads;
  std::vector<LayerSpec> layers;
  // The most partitions of a batch in the backward pass. The bits of results depend on it, so it is
  // a property of the machine, not of the number of threads that are set.
  int64_t partitions = 16;
};

// Where the gradients of a layer's parameters go: contiguous, one for each of its weights.
struct LayerGrads {
  std::vector<float*> weights;
  std::vector<float*> biases;
  float* norm_weight = nullptr;
  float* norm_bias = nullptr;
};

// Rows of padding become 0 in the outputs and in grad_input and grad_residual.
void forward(const Problem& problem, Rows<const float> input,
             const std::vector<OutputPart>& outputs);

// `parameters` is empty where no parameter needs a gradient.
void backward(const Problem& problem, Rows<const float> input, const std::vector<InputPart>& grads,
              Rows<float> grad_input, Rows<float> grad_residual,
              const std::vector<LayerGrads>& parameters);

// Fills `keeps` with 1 and, with the probability 1 - keep, 0: what torch.Tensor.bernoulli_(keep)
// draws from a generator in this state, 0 < keep < 1. The state, as torch.Generator.get_state()
// returns it, is moved on.
void draw_keeps(void* generator_state, double keep, int64_t count, uint8_t* keeps);

// "amd", "intel" or "other".
std::string processor_vendor();

}  // namespace ladnet::linear
