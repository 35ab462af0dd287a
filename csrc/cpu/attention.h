// Locality attention on CPUs, forward and backward: plans the work of a batch and runs it on
// threads.
//
// csrc/README.md derives the formulas and explains how the work is cut. Arguments are trusted:
// ladnet_fast/ops/locality_attention/checks.py has checked them.
#pragma once

#include <stdint.h>

#include "cpu/attention_types.h"

namespace ladnet::attention {

// A (B, H, T, d) tensor with unit stride along d; strides in elements. data is null where the
// tensor is not wanted.
struct Tensor {
  void* data;
  int64_t batch_stride;
  int64_t head_stride;
  int64_t row_stride;
};

// What both passes share. Sums, the prior and lse are fp64 beside kFloat64 and fp32 otherwise.
struct Problem {
  Dtype dtype;
  Prior prior;
  double scale;
  int64_t batches;
  int64_t heads;
  int64_t T;
  int64_t d;
  const int64_t* lengths;     // (B,) or null
  const int64_t* cu_seqlens;  // (offsets,) or null
  int64_t offsets;
  const void* w;  // (H,), null for Prior::kNone
  const void* b;
  int threads;
};

struct ForwardTensors {
  Tensor q, k, v;
  Tensor out;
  Tensor softmax_out;  // optional
  void* lse;           // (B, H, T), contiguous; optional
};

struct BackwardTensors {
  Tensor grad_out, q, k, v;
  // softmax_out for the additive prior, else out; null, and lse too, where no bag is longer than
  // longest_without_sums.
  Tensor attended;
  const void* lse;
  Tensor grad_q, grad_k, grad_v;
  void* grad_w;  // (H,), null where not wanted
  void* grad_b;
};

// Rows of padding become 0 in every result, lse included.
void forward(const Problem& problem, const ForwardTensors& tensors);
void backward(const Problem& problem, const BackwardTensors& tensors);

// Up to how many snippets the backward pass computes a bag's softmax anew, and reads nothing that
// the forward pass has left.
int64_t longest_without_sums(Dtype dtype);

}  // namespace ladnet::attention
