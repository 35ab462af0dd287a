// What happens to a row between two products: GELU, LayerNorm, dropout, and their derivatives.
//
// Rows of a block lie in scratch, padded to whole vectors; rows of tensors end where they end.
#pragma once

#include "cpu/simd.h"

namespace ladnet::LADNET_ISA {
namespace {

// The first `count` elements (at most a vector), zeros behind them.
LADNET_INLINE VecF load_some(const float* from, int64_t count) {
  if (count >= kLanes<float>) return load(from);
  float lanes[kLanes<float>] = {};
  memcpy(lanes, from, static_cast<size_t>(count) * sizeof(float));
  return load(lanes);
}

LADNET_INLINE VecF keep_some(VecF x, int64_t count) {
  if (count >= kLanes<float>) return x;
  float lanes[kLanes<float>];
  store(lanes, x);
  return load_some(lanes, count);
}

LADNET_INLINE void copy_row(const float* from, int64_t width, float* to) {
  memcpy(to, from, static_cast<size_t>(width) * sizeof(float));
}

// ---- GELU ---------------------------------------------------------------------------------------

// The standard normal distribution function Phi. Phi(-t) for t >= 0 is 2^-p(t): p is close to a
// parabola, and a polynomial of degree 10, fitted for this project on [0, 9], leaves an error of
// 7e-8 in Phi. It rises without bound beyond, so that far tails are 0 and not noise.
LADNET_INLINE VecF normal_cdf(VecF x) {
  const VecF minus_t = maximum(x, -x) * broadcast(-1.0f);
  const VecF t = -maximum(broadcast(-20.0f), minus_t);
  VecF p = broadcast(0x1.bb2a8cp-26f);
  p = multiply_add(p, t, broadcast(-0x1.b780bcp-21f));
  p = multiply_add(p, t, broadcast(0x1.6add72p-17f));
  p = multiply_add(p, t, broadcast(-0x1.4068f4p-14f));
  p = multiply_add(p, t, broadcast(0x1.25a568p-12f));
  p = multiply_add(p, t, broadcast(0x1.2b9322p-20f));
  p = multiply_add(p, t, broadcast(-0x1.c7a640p-8f));
  p = multiply_add(p, t, broadcast(0x1.ada8c4p-5f));
  p = multiply_add(p, t, broadcast(0x1.d63d0ep-2f));
  p = multiply_add(p, t, broadcast(0x1.26aeccp+0f));
  p = multiply_add(p, t, broadcast(1.0f));
  const VecF tail = exp2(-p);
  return x > broadcast(0.0f) ? broadcast(1.0f) - tail : tail;
}

LADNET_INLINE VecF gelu(VecF x) {
  return x * normal_cdf(x);
}

// Phi(x) + x phi(x), with phi(x) = exp(-x^2 / 2) / sqrt(2 pi).
LADNET_INLINE VecF gelu_slope(VecF x) {
  const VecF density = exp2(x * x * broadcast(-0x1.715476p-1f)) * broadcast(0x1.988454p-2f);
  return multiply_add(x, density, normal_cdf(x));
}

void gelu_row(const float* pre, int64_t width, float* to) {
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    store(to + j, gelu(load_some(pre + j, width - j)));
  }
}

// grad *= gelu'(pre)
void gelu_grad_row(const float* pre, int64_t width, float* grad) {
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    store(grad + j, load(grad + j) * gelu_slope(load_some(pre + j, width - j)));
  }
}

// ---- Dropout ------------------------------------------------------------------------------------

LADNET_INLINE void drop_row(const uint8_t* keep, float scale, int64_t width, float* row) {
  for (int64_t j = 0; j < width; ++j) row[j] *= static_cast<float>(keep[j]) * scale;
}

// ---- LayerNorm ----------------------------------------------------------------------------------

LADNET_INLINE void add_row(const float* x, int64_t width, float* row) {
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    store(row + j, load(row + j) + load_some(x + j, width - j));
  }
}

// row becomes (row - mean) / sqrt(variance + eps); returns the factor.
float standardise_row(int64_t width, float eps, float* row) {
  VecF total = broadcast(0.0f);
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    total = total + keep_some(load(row + j), width - j);
  }
  const VecF mean = broadcast(sum<float>(total) / static_cast<float>(width));
  VecF squares = broadcast(0.0f);
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    const VecF x = keep_some(load(row + j) - mean, width - j);
    store(row + j, x);
    squares = multiply_add(x, x, squares);
  }
  const float variance = sum<float>(squares) / static_cast<float>(width);
  const float factor = 1.0f / sqrtf(variance + eps);
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    store(row + j, load(row + j) * broadcast(factor));
  }
  return factor;
}

// to = standard * weight + bias
void scale_row(const float* standard, const float* weight, const float* bias, int64_t width,
               float* to) {
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    store(to + j, multiply_add(load(standard + j), load_some(weight + j, width - j),
                               load_some(bias + j, width - j)));
  }
}

// From the gradient of LayerNorm's output to that of its input.
void normalise_grad_row(const float* standard, float factor, const float* weight, int64_t width,
                        float* grad) {
  VecF total = broadcast(0.0f), moment = broadcast(0.0f);
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    const VecF g = load(grad + j) * load_some(weight + j, width - j);
    store(grad + j, g);
    total = total + g;
    moment = multiply_add(g, load(standard + j), moment);
  }
  const float count = static_cast<float>(width);
  const VecF mean = broadcast(sum<float>(total) / count);
  const VecF slope = broadcast(-sum<float>(moment) / count);
  for (int64_t j = 0; j < width; j += kLanes<float>) {
    const VecF g = multiply_add(slope, load(standard + j), load(grad + j) - mean);
    store(grad + j, keep_some(g * broadcast(factor), width - j));
  }
}

}  // namespace
}  // namespace ladnet::LADNET_ISA
