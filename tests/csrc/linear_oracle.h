// The layers around attention in naive loops: what csrc/cpu/linear.h computes, row by row.
#pragma once

#include <algorithm>
#include <array>
#include <limits>

#include "check.h"
#include "rounded.h"

using Numbers = std::vector<Rounded>;

constexpr float kNormEps = 1e-5f;
constexpr float kKeepScale = 1.25f;

// ---- Tensors with padding ----------------------------------------------------------------------

// The last of several bags is empty, the others end early.
inline std::vector<int64_t> ragged_lengths(int64_t B, int64_t T) {
  std::vector<int64_t> lengths(static_cast<size_t>(B), T - T / 3);
  if (B > 1) lengths.back() = 0;
  return lengths;
}

// Without lengths every row is valid.
inline std::vector<int64_t> valid_rows(int64_t B, int64_t T, const std::vector<int64_t>& lengths) {
  std::vector<int64_t> rows;
  for (int64_t m = 0; m < B * T; ++m) {
    if (lengths.empty() || m % T < lengths[static_cast<size_t>(m / T)]) rows.push_back(m);
  }
  return rows;
}

inline std::vector<float> random_floats(int64_t count, unsigned seed) {
  const std::vector<double> values = random_normal(count, seed);
  return {values.begin(), values.end()};
}

// Padding is NaN: whoever reads it shows it.
inline std::vector<float> rows_with_padding(int64_t B, int64_t T, int64_t width,
                                            const std::vector<int64_t>& lengths, unsigned seed) {
  const std::vector<float> drawn = random_floats(B * T * width, seed);
  std::vector<float> rows(drawn.size(), std::numeric_limits<float>::quiet_NaN());
  for (int64_t m : valid_rows(B, T, lengths)) {
    std::copy_n(drawn.begin() + m * width, width, rows.begin() + m * width);
  }
  return rows;
}

inline Numbers row_of(const std::vector<float>& tensor, int64_t m, int64_t width) {
  return {tensor.begin() + m * width, tensor.begin() + (m + 1) * width};
}

inline void put_row(const Numbers& row, int64_t m, Numbers* tensor) {
  std::copy(row.begin(), row.end(), tensor->begin() + m * static_cast<int64_t>(row.size()));
}

// ---- One linear layer --------------------------------------------------------------------------

struct Matrix {
  int64_t inputs, outputs;
  std::vector<float> weight, bias;

  Matrix(int64_t from, int64_t to, unsigned seed)
      : inputs(from),
        outputs(to),
        weight(random_floats(to * from, seed)),
        bias(random_floats(to, seed + 1)) {
    for (float& w : weight) w /= std::sqrt(static_cast<float>(from));
  }
  double at(size_t n, size_t k) const { return weight[n * static_cast<size_t>(inputs) + k]; }
};

inline Numbers through(const Matrix& linear, const Numbers& x) {
  Numbers y(linear.bias.begin(), linear.bias.end());
  for (size_t n = 0; n < y.size(); ++n) {
    for (size_t k = 0; k < x.size(); ++k) y[n] += x[k] * linear.at(n, k);
  }
  return y;
}

// Adds to the gradients of weight and bias; returns that of x.
inline Numbers back_through(const Matrix& linear, const Numbers& x, const Numbers& grad,
                            Numbers* grad_weight, Numbers* grad_bias) {
  Numbers grad_x(x.size());
  for (size_t n = 0; n < grad.size(); ++n) {
    (*grad_bias)[n] += grad[n];
    for (size_t k = 0; k < x.size(); ++k) {
      (*grad_weight)[n * x.size() + k] += grad[n] * x[k];
      grad_x[k] += grad[n] * linear.at(n, k);
    }
  }
  return grad_x;
}

// ---- Elements ----------------------------------------------------------------------------------

inline double normal_cdf(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0));
}
inline double normal_density(double x) {
  return std::exp(-0.5 * x * x) / std::sqrt(2 * 3.14159265358979323846);
}

// The kernels know Phi to one absolute epsilon (linear_rows.h), in the far tail too.
inline Rounded gelu(const Rounded& z) {
  const double x = z.value, cdf = normal_cdf(x);
  Rounded y = function_of(z, x * cdf, cdf + x * normal_density(x));
  y.variance += square(x);
  return y;
}
inline Rounded gelu_slope(const Rounded& z) {
  const double x = z.value, density = normal_density(x);
  Rounded y = function_of(z, normal_cdf(x) + x * density, (2 - x * x) * density);
  y.variance += 1;
  return y;
}

inline Rounded mean(const Numbers& x) {
  Rounded total;
  for (const Rounded& each : x) total += each;
  return total / double(x.size());
}

// ---- LayerNorm(x W_o^T + b_o + residual), Linear, GELU, Dropout, Linear ------------------------

struct Shape {
  int64_t B, T, hidden, width, inner, features;
};

struct Mlp {
  int64_t B, T;
  std::vector<int64_t> lengths;
  std::vector<float> input, residual, grad_out;
  Matrix out_projection, inner, last;
  std::vector<float> gamma, beta;
  std::vector<uint8_t> keep;

  Mlp(const Shape& s, bool ragged)
      : B(s.B),
        T(s.T),
        lengths(ragged ? ragged_lengths(s.B, s.T) : std::vector<int64_t>()),
        input(rows_with_padding(s.B, s.T, s.hidden, lengths, 1)),
        residual(rows_with_padding(s.B, s.T, s.width, lengths, 2)),
        grad_out(rows_with_padding(s.B, s.T, s.features, lengths, 3)),
        out_projection(s.hidden, s.width, 10),
        inner(s.width, s.inner, 20),
        last(s.inner, s.features, 30),
        gamma(random_floats(s.width, 40)),
        beta(random_floats(s.width, 50)),
        keep(static_cast<size_t>(s.B * s.T * s.inner)) {
    for (size_t i = 0; i < keep.size(); ++i) keep[i] = i % 5 != 0;
  }
};

template <class Tensor>
struct MlpResults {
  Tensor out, grad_input, grad_residual, grad_gamma, grad_beta;
  std::array<Tensor, 3> grad_weights, grad_biases;
};

inline MlpResults<Numbers> naive_mlp(const Mlp& m) {
  const auto rows = static_cast<size_t>(m.B * m.T), width = m.gamma.size();
  MlpResults<Numbers> r;
  const Matrix* linears[] = {&m.out_projection, &m.inner, &m.last};
  for (size_t l = 0; l < 3; ++l) {
    r.grad_weights[l].resize(linears[l]->weight.size());
    r.grad_biases[l].resize(linears[l]->bias.size());
  }
  r.out.resize(rows * m.last.bias.size());
  r.grad_input.resize(m.input.size());
  r.grad_residual.resize(m.residual.size());
  r.grad_gamma.resize(width);
  r.grad_beta.resize(width);

  for (int64_t row : valid_rows(m.B, m.T, m.lengths)) {
    const Numbers x = row_of(m.input, row, m.out_projection.inputs);
    const Numbers residual = row_of(m.residual, row, m.out_projection.outputs);
    Numbers n = through(m.out_projection, x), squares(width), normalised(width);
    for (size_t j = 0; j < width; ++j) n[j] += residual[j];
    const Rounded middle = mean(n);
    for (size_t j = 0; j < width; ++j) {
      n[j] = n[j] - middle;
      squares[j] = n[j] * n[j];
    }
    const Rounded deviation = sqrt(mean(squares) + double(kNormEps));
    for (size_t j = 0; j < width; ++j) {
      n[j] = n[j] / deviation;
      normalised[j] = n[j] * m.gamma[j] + m.beta[j];
    }
    const Numbers z = through(m.inner, normalised);
    Numbers factor(z.size()), kept(z.size());
    for (size_t j = 0; j < z.size(); ++j) {
      factor[j] = m.keep[static_cast<size_t>(row) * z.size() + j] ? double(kKeepScale) : 0.0;
      kept[j] = gelu(z[j]) * factor[j];
    }
    put_row(through(m.last, kept), row, &r.out);

    const Numbers grad_out = row_of(m.grad_out, row, m.last.outputs);
    Numbers grad = back_through(m.last, kept, grad_out, &r.grad_weights[2], &r.grad_biases[2]);
    for (size_t j = 0; j < z.size(); ++j) grad[j] = grad[j] * factor[j] * gelu_slope(z[j]);
    grad = back_through(m.inner, normalised, grad, &r.grad_weights[1], &r.grad_biases[1]);
    Numbers along(width);
    for (size_t j = 0; j < width; ++j) {
      r.grad_gamma[j] += grad[j] * n[j];
      r.grad_beta[j] += grad[j];
      grad[j] = grad[j] * m.gamma[j];
      along[j] = grad[j] * n[j];
    }
    const Rounded shift = mean(grad), slope = mean(along);
    for (size_t j = 0; j < width; ++j) grad[j] = (grad[j] - shift - n[j] * slope) / deviation;
    put_row(grad, row, &r.grad_residual);
    grad = back_through(m.out_projection, x, grad, &r.grad_weights[0], &r.grad_biases[0]);
    put_row(grad, row, &r.grad_input);
  }
  return r;
}
