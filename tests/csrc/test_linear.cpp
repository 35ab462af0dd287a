// Linear layers, forward and backward, against naive loops. Every buffer has exactly the size of
// its tensor, so that AddressSanitizer sees a read or write beyond a row's end; padding is NaN, and
// so is every result before it is written.
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "cpu/linear.h"
#include "linear_oracle.h"

using namespace ladnet::linear;

namespace {

// Standard deviations of the error of fp32 that are allowed; the largest seen is 2.1.
constexpr double kAllowed = 6.0;

std::vector<float> unwritten(int64_t rows, int64_t width) {
  return std::vector<float>(static_cast<size_t>(rows * width), std::nanf(""));
}

template <class T>
Rows<T> rows_of(T* data, int64_t T_, int64_t width) {
  return {data, T_ * width, width};
}

MlpResults<std::vector<float>> native_mlp(const Mlp& m, int threads) {
  const int64_t M = m.B * m.T;
  const Matrix* linears[] = {&m.out_projection, &m.inner, &m.last};
  MlpResults<std::vector<float>> r;
  r.out = unwritten(M, m.last.outputs);
  r.grad_input = unwritten(M, m.out_projection.inputs);
  r.grad_residual = unwritten(M, m.out_projection.outputs);
  std::vector<float> pre = unwritten(M, m.inner.outputs);

  Problem problem{m.B, m.T, m.lengths.empty() ? nullptr : m.lengths.data(), threads, {}};
  problem.layers.resize(3);
  std::vector<LayerGrads> grads(3);
  for (size_t l = 0; l < 3; ++l) {
    const Matrix& linear = *linears[l];
    problem.layers[l].inputs = linear.inputs;
    problem.layers[l].weights = {
        {linear.weight.data(), linear.inputs, linear.bias.data(), linear.outputs}};
    r.grad_weights[l] = unwritten(linear.outputs, linear.inputs);
    r.grad_biases[l] = unwritten(linear.outputs, 1);
    grads[l].weights = {r.grad_weights[l].data()};
    grads[l].biases = {r.grad_biases[l].data()};
  }
  LayerSpec& normalised = problem.layers[0];
  normalised.epilogue = Epilogue::kNormalise;
  normalised.residual = rows_of(m.residual.data(), m.T, m.out_projection.outputs);
  normalised.norm_weight = m.gamma.data();
  normalised.norm_bias = m.beta.data();
  normalised.eps = kNormEps;
  r.grad_gamma = unwritten(m.out_projection.outputs, 1);
  r.grad_beta = unwritten(m.out_projection.outputs, 1);
  grads[0].norm_weight = r.grad_gamma.data();
  grads[0].norm_bias = r.grad_beta.data();
  LayerSpec& activated = problem.layers[1];
  activated.epilogue = Epilogue::kGelu;
  activated.pre = rows_of(pre.data(), m.T, m.inner.outputs);
  activated.keep = rows_of(m.keep.data(), m.T, m.inner.outputs);
  activated.keep_scale = kKeepScale;

  const auto input = rows_of(m.input.data(), m.T, m.out_projection.inputs);
  forward(problem, input, {{rows_of(r.out.data(), m.T, m.last.outputs), m.last.outputs}});
  backward(problem, input, {{rows_of(m.grad_out.data(), m.T, m.last.outputs), m.last.outputs}},
           rows_of(r.grad_input.data(), m.T, m.out_projection.inputs),
           rows_of(r.grad_residual.data(), m.T, m.out_projection.outputs), grads);
  return r;
}

void compare(const char* name, const std::vector<float>& actual, const Numbers& exact) {
  CHECK(actual.size() == exact.size(), "%s", name);
  for (size_t i = 0; i < exact.size(); ++i) {
    check_rounded(name, static_cast<int64_t>(i), actual[i], exact[i],
                  std::numeric_limits<float>::epsilon(), kAllowed);
  }
}

void check_mlp(const Shape& shape, bool ragged) {
  const Mlp mlp(shape, ragged);
  const MlpResults<Numbers> exact = naive_mlp(mlp);
  for (int threads : {1, 3}) {
    const auto actual = native_mlp(mlp, threads);
    compare("out", actual.out, exact.out);
    compare("grad_input", actual.grad_input, exact.grad_input);
    compare("grad_residual", actual.grad_residual, exact.grad_residual);
    compare("grad_gamma", actual.grad_gamma, exact.grad_gamma);
    compare("grad_beta", actual.grad_beta, exact.grad_beta);
    for (size_t l = 0; l < 3; ++l) {
      compare("grad_weight", actual.grad_weights[l], exact.grad_weights[l]);
      compare("grad_bias", actual.grad_biases[l], exact.grad_biases[l]);
    }
  }
}

// Three weights side by side, of different heights, read and differentiated in one pass.
void check_projections(int64_t B, int64_t T, int64_t inputs, bool ragged) {
  const std::vector<int64_t> lengths = ragged ? ragged_lengths(B, T) : std::vector<int64_t>();
  const std::vector<float> input = rows_with_padding(B, T, inputs, lengths, 1);
  std::vector<Matrix> linears;
  std::vector<std::vector<float>> grads;
  for (int64_t i = 0; i < 3; ++i) {
    linears.emplace_back(inputs, 5 + 9 * i, static_cast<unsigned>(10 * i + 2));
    grads.push_back(rows_with_padding(B, T, 5 + 9 * i, lengths, static_cast<unsigned>(i + 50)));
  }
  for (int threads : {1, 3}) {
    Problem problem{B, T, ragged ? lengths.data() : nullptr, threads, {LayerSpec{}}};
    problem.layers[0].inputs = inputs;
    std::vector<std::vector<float>> outs, grad_weights, grad_biases;
    std::vector<OutputPart> output_parts;
    std::vector<InputPart> grad_parts;
    LayerGrads parameters;
    for (size_t i = 0; i < 3; ++i) {
      const Matrix& linear = linears[i];
      const int64_t n = linear.outputs;
      problem.layers[0].weights.push_back({linear.weight.data(), inputs, linear.bias.data(), n});
      outs.push_back(unwritten(B * T, n));
      grad_weights.push_back(unwritten(n, inputs));
      grad_biases.push_back(unwritten(n, 1));
      output_parts.push_back({rows_of(outs[i].data(), T, n), n});
      grad_parts.push_back({rows_of<const float>(grads[i].data(), T, n), n});
      parameters.weights.push_back(grad_weights[i].data());
      parameters.biases.push_back(grad_biases[i].data());
    }
    std::vector<float> grad_input = unwritten(B * T, inputs);
    const auto rows = rows_of(input.data(), T, inputs);
    forward(problem, rows, output_parts);
    backward(problem, rows, grad_parts, rows_of(grad_input.data(), T, inputs), {}, {parameters});

    Numbers exact_input(grad_input.size());
    for (size_t i = 0; i < 3; ++i) {
      const Matrix& linear = linears[i];
      Numbers out(outs[i].size()), weight(grad_weights[i].size()), bias(grad_biases[i].size());
      for (int64_t m : valid_rows(B, T, lengths)) {
        const Numbers x = row_of(input, m, inputs), g = row_of(grads[i], m, linear.outputs);
        put_row(through(linear, x), m, &out);
        const Numbers dx = back_through(linear, x, g, &weight, &bias);
        for (int64_t k = 0; k < inputs; ++k) {
          exact_input[static_cast<size_t>(m * inputs + k)] += dx[static_cast<size_t>(k)];
        }
      }
      compare("out", outs[i], out);
      compare("grad_weight", grad_weights[i], weight);
      compare("grad_bias", grad_biases[i], bias);
    }
    compare("grad_input", grad_input, exact_input);
  }
}

// PyTorch's state of a CPU generator, as far as it is read.
struct GeneratorState {
  uint64_t seed;
  int32_t left;
  int32_t seeded;
  uint64_t next;
  uint64_t words[kTwisterWords];
};

void check_masks(int64_t count, double keep) {
  constexpr uint32_t kSeed = 5;
  std::mt19937 engine(kSeed);
  GeneratorState state{kSeed, 1, 1, 0, {kSeed}};
  for (uint64_t i = 1; i < kTwisterWords; ++i) {
    const uint64_t before = state.words[i - 1];
    state.words[i] = (1812433253u * (before ^ before >> 30) + i) & 0xffffffffu;
  }
  for (int call = 0; call < 4; ++call) {
    std::vector<uint8_t> keeps(static_cast<size_t>(count));
    draw_keeps(&state, keep, count, keeps.data());
    for (uint8_t got : keeps) {
      const uint64_t high = engine();
      const uint64_t low = engine();
      const uint64_t number = (high << 32 | low) & ((uint64_t{1} << 53) - 1);
      CHECK(got == (std::ldexp(static_cast<double>(number), -53) < keep ? 1 : 0), "mask");
    }
    if (state.left > 1) {  // the next number begins at an odd word
      ++state.next;
      --state.left;
      engine.discard(1);
    }
  }
}

}  // namespace

int main() {
  require_instruction_set();
  const Shape shapes[] = {{1, 1, 5, 9, 3, 2},   {3, 43, 17, 79, 33, 5},   {2, 700, 16, 40, 24, 8},
                          {1, 129, 2, 2, 1, 1}, {2, 97, 64, 128, 96, 32}, {2, 5, 3, 7, 2, 1}};
  for (const Shape& shape : shapes) {
    for (bool ragged : {false, true}) check_mlp(shape, ragged);
  }
  for (bool ragged : {false, true}) {
    check_projections(3, 11, 7, ragged);
    check_projections(1, 1, 1, ragged);
    check_projections(2, 330, 21, ragged);
  }
  for (int64_t count : {1, 2, 311, 312, 313, 5000}) {
    for (double keep : {0.9, 1e-9}) check_masks(count, keep);
  }
  return 0;
}
