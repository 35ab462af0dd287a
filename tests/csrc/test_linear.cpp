// Linear layers against double precision. Every buffer has exactly the size of its tensor, so that
// AddressSanitizer sees a read or write beyond a row's end.
#include "cpu/linear.h"

#include "check.h"

using namespace ladnet::linear;

namespace {

std::vector<float> random_floats(int64_t count, unsigned seed) {
  const std::vector<double> values = random_normal(count, seed);
  return {values.begin(), values.end()};
}

// u = x W^T + b of one row.
std::vector<double> apply(const std::vector<double>& x, const std::vector<float>& w,
                          const std::vector<float>& b) {
  std::vector<double> u(b.begin(), b.end());
  for (size_t n = 0; n < u.size(); ++n) {
    for (size_t k = 0; k < x.size(); ++k) u[n] += x[k] * w[n * x.size() + k];
  }
  return u;
}

struct Shape {
  int64_t B, T, hidden, width, inner, features;
};

// Residual, LayerNorm, GELU and dropout: the features of every snippet, then the gradients whose
// value the features' gradient gives directly.
void check_chain(const Shape& s, bool ragged, int threads) {
  const int64_t M = s.B * s.T;
  std::vector<int64_t> lengths(static_cast<size_t>(s.B), s.T - s.T / 3);
  lengths.back() = s.B > 1 ? 0 : lengths.back();
  const auto h = random_floats(M * s.hidden, 1), x = random_floats(M * s.width, 2),
             g = random_floats(M * s.features, 3);
  const auto w0 = random_floats(s.width * s.hidden, 4), b0 = random_floats(s.width, 5),
             w1 = random_floats(s.inner * s.width, 6), b1 = random_floats(s.inner, 7),
             w2 = random_floats(s.features * s.inner, 8), b2 = random_floats(s.features, 9),
             gamma = random_floats(s.width, 10), beta = random_floats(s.width, 11);
  std::vector<uint8_t> keep(static_cast<size_t>(M * s.inner));
  for (size_t i = 0; i < keep.size(); ++i) keep[i] = i % 5 != 0;
  std::vector<float> pre(static_cast<size_t>(M * s.inner)),
      out(static_cast<size_t>(M * s.features)), dh(h.size()), dx(x.size());

  Problem problem{s.B, s.T, ragged ? lengths.data() : nullptr, threads, {}};
  problem.layers.resize(3);
  auto& layers = problem.layers;
  layers[0].inputs = s.hidden;
  layers[0].weights = {{w0.data(), s.hidden, b0.data(), s.width}};
  layers[0].epilogue = Epilogue::kNormalise;
  layers[0].residual = {x.data(), s.T * s.width, s.width};
  layers[0].norm_weight = gamma.data();
  layers[0].norm_bias = beta.data();
  layers[0].eps = 1e-5f;
  layers[1].inputs = s.width;
  layers[1].weights = {{w1.data(), s.width, b1.data(), s.inner}};
  layers[1].epilogue = Epilogue::kGelu;
  layers[1].pre = {pre.data(), s.T * s.inner, s.inner};
  layers[1].keep = {keep.data(), s.T * s.inner, s.inner};
  layers[1].keep_scale = 1.25f;
  layers[2].inputs = s.inner;
  layers[2].weights = {{w2.data(), s.inner, b2.data(), s.features}};

  const Rows<const float> input{h.data(), s.T * s.hidden, s.hidden};
  forward(problem, input, {{{out.data(), s.T * s.features, s.features}, s.features}});
  std::vector<LayerGrads> grads(3);
  std::vector<std::vector<float>> sums;
  for (const auto* like : {&w0, &b0, &w1, &b1, &w2, &b2, &gamma, &beta}) {
    sums.emplace_back(like->size());
  }
  for (size_t l = 0; l < 3; ++l) {
    grads[l].weights = {sums[2 * l].data()};
    grads[l].biases = {sums[2 * l + 1].data()};
  }
  grads[0].norm_weight = sums[6].data();
  grads[0].norm_bias = sums[7].data();
  backward(problem, input, {{{g.data(), s.T * s.features, s.features}, s.features}},
           {dh.data(), s.T * s.hidden, s.hidden}, {dx.data(), s.T * s.width, s.width}, grads);

  std::vector<double> grad_b2(static_cast<size_t>(s.features), 0), grad_w2(w2.size(), 0);
  for (int64_t m = 0; m < M; ++m) {
    const bool valid = !ragged || m % s.T < lengths[static_cast<size_t>(m / s.T)];
    std::vector<double> y(h.begin() + m * s.hidden, h.begin() + (m + 1) * s.hidden);
    y = apply(y, w0, b0);
    double mean = 0, variance = 0;
    for (int64_t j = 0; j < s.width; ++j) {
      y[static_cast<size_t>(j)] += x[static_cast<size_t>(m * s.width + j)];
      mean += y[static_cast<size_t>(j)] / static_cast<double>(s.width);
    }
    for (double value : y) variance += (value - mean) * (value - mean);
    variance /= static_cast<double>(s.width);
    for (size_t j = 0; j < y.size(); ++j) {
      y[j] = (y[j] - mean) / std::sqrt(variance + 1e-5) * gamma[j] + beta[j];
    }
    y = apply(y, w1, b1);
    for (size_t j = 0; j < y.size(); ++j) {
      y[j] *= 0.5 * std::erfc(-y[j] / std::sqrt(2.0));
      y[j] *= keep[static_cast<size_t>(m * s.inner) + j] ? 1.25 : 0.0;
    }
    const std::vector<double> want = apply(y, w2, b2);
    for (size_t c = 0; c < want.size(); ++c) {
      const size_t at = static_cast<size_t>(m * s.features) + c;
      const double expected = valid ? want[c] : 0.0;
      CHECK(std::fabs(out[at] - expected) < 2e-4 * (1 + std::fabs(expected)), "row %d: %g, not %g",
            static_cast<int>(m), out[at], expected);
      if (!valid) continue;
      grad_b2[c] += g[at];
      for (size_t j = 0; j < y.size(); ++j) grad_w2[c * y.size() + j] += g[at] * y[j];
    }
    for (int64_t j = 0; j < s.hidden; ++j) {
      CHECK(valid || dh[static_cast<size_t>(m * s.hidden + j)] == 0, "padding has a gradient");
    }
  }
  const double scale = std::sqrt(static_cast<double>(M));
  for (size_t c = 0; c < grad_b2.size(); ++c) {
    CHECK(std::fabs(sums[5][c] - grad_b2[c]) < 1e-5 * scale, "%g, not %g", sums[5][c], grad_b2[c]);
  }
  for (size_t i = 0; i < grad_w2.size(); ++i) {
    CHECK(std::fabs(sums[4][i] - grad_w2[i]) < 5e-4 * scale, "%g, not %g", sums[4][i], grad_w2[i]);
  }
}

}  // namespace

int main() {
  require_instruction_set();
  const Shape shapes[] = {{1, 1, 5, 9, 3, 2},   {3, 43, 17, 79, 33, 5},   {2, 700, 16, 40, 24, 8},
                          {1, 129, 2, 2, 1, 1}, {2, 97, 64, 128, 96, 32}, {2, 5, 3, 7, 2, 1}};
  for (const Shape& shape : shapes) {
    for (bool ragged : {false, true}) {
      for (int threads : {1, 3}) check_chain(shape, ragged, threads);
    }
  }
  return 0;
}
