// Both passes against loops in double, with every tensor in memory of exactly its size, so that
// AddressSanitizer sees each access beside it.
#include <algorithm>
#include <cstring>

#include "check.h"
#include "core/dtype.h"
#include "cpu/attention.h"

namespace {

using namespace ladnet;
using attention::Prior;

struct Case {
  Dtype dtype;
  Prior prior;
  int64_t batches, heads, T, d;
  double w, b;
  std::vector<int64_t> lengths;
  std::vector<int64_t> cu_seqlens;
  int threads;
};

struct Values {
  std::vector<double> q, k, v, grad_out;
  std::vector<double> out, lse, grad_q, grad_k, grad_v;
  double grad_w = 0, grad_b = 0;  // of all heads, which share w and b
};

std::vector<char> encode(const std::vector<double>& values, Dtype dtype) {
  std::vector<char> bytes(values.size() * size_of(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    char* to = bytes.data() + i * size_of(dtype);
    const float single = static_cast<float>(values[i]);
    const uint16_t half = dtype == Dtype::kFloat16 ? float_to_half(single) : float_to_bf16(single);
    if (dtype == Dtype::kFloat64) std::memcpy(to, &values[i], 8);
    if (dtype == Dtype::kFloat32) std::memcpy(to, &single, 4);
    if (size_of(dtype) == 2) std::memcpy(to, &half, 2);
  }
  return bytes;
}

std::vector<double> decode(const std::vector<char>& bytes, Dtype dtype) {
  std::vector<double> values(bytes.size() / size_of(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const char* from = bytes.data() + i * size_of(dtype);
    float single;
    uint16_t half;
    if (dtype == Dtype::kFloat64) std::memcpy(&values[i], from, 8);
    if (dtype == Dtype::kFloat32) std::memcpy(&single, from, 4), values[i] = single;
    if (size_of(dtype) == 2) {
      std::memcpy(&half, from, 2);
      values[i] = dtype == Dtype::kFloat16 ? half_to_float(half) : bf16_to_float(half);
    }
  }
  return values;
}

// One bag and head whose rows begin at `base` and are `d` apart.
void naive(const Case& c, int64_t base, int64_t lse_base, int64_t T, Values* x) {
  const int64_t d = c.d;
  const double scale = 0.3;
  const auto dot = [&](const std::vector<double>& a, int64_t i, const std::vector<double>& b,
                       int64_t j) {
    double total = 0;
    for (int64_t n = 0; n < d; ++n) total += a[base + i * d + n] * b[base + j * d + n];
    return total;
  };
  std::vector<double> P(T * T), G(T * T, 0.0), dP(T * T), dS(T * T);
  for (int64_t i = 0; i < T; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < T; ++j) {
      const double d2 = double(i - j) * double(i - j);
      if (c.prior != Prior::kNone) G[i * T + j] = std::exp(-std::fabs(c.w * d2 + c.b));
      const double logit = scale * dot(x->q, i, x->k, j);
      sum += P[i * T + j] = std::exp(logit + (c.prior == Prior::kLogit ? G[i * T + j] : 0));
    }
    x->lse[lse_base + i] = std::log(sum);
    double delta = 0;
    for (int64_t j = 0; j < T; ++j) {
      P[i * T + j] /= sum;
      dP[i * T + j] = dot(x->grad_out, i, x->v, j);
      delta += P[i * T + j] * dP[i * T + j];
    }
    for (int64_t j = 0; j < T; ++j) {
      dS[i * T + j] = P[i * T + j] * (dP[i * T + j] - delta);
      const double u = c.w * double(i - j) * double(i - j) + c.b;
      const double slope = (u > 0 ? -1.0 : u < 0 ? 1.0 : 0.0) * G[i * T + j];
      const double dG = c.prior == Prior::kLogit ? dS[i * T + j] : dP[i * T + j];
      x->grad_w += dG * slope * double(i - j) * double(i - j);
      x->grad_b += dG * slope;
    }
  }
  for (int64_t i = 0; i < T; ++i) {
    for (int64_t j = 0; j < T; ++j) {
      const double s = dS[i * T + j] * scale;
      const double a = P[i * T + j] + (c.prior == Prior::kAdditive ? G[i * T + j] : 0);
      for (int64_t n = 0; n < d; ++n) {
        x->out[base + i * d + n] += a * x->v[base + j * d + n];
        x->grad_v[base + j * d + n] += a * x->grad_out[base + i * d + n];
        x->grad_q[base + i * d + n] += s * x->k[base + j * d + n];
        x->grad_k[base + j * d + n] += s * x->q[base + i * d + n];
      }
    }
  }
}

void compare(const char* name, const std::vector<double>& actual, const std::vector<double>& exact,
             double tolerance) {
  CHECK(actual.size() == exact.size(), "%s", name);
  double size = 1;
  for (double value : exact) size = std::max(size, std::fabs(value));
  for (size_t i = 0; i < exact.size(); ++i) {
    CHECK(std::fabs(actual[i] - exact[i]) <= tolerance * size, "%s[%zu] is %g, expected %g", name,
          i, actual[i], exact[i]);
  }
}

void run(const Case& c) {
  const int64_t rows = c.batches * c.heads * c.T, count = rows * c.d;
  const Dtype real = c.dtype == Dtype::kFloat64 ? Dtype::kFloat64 : Dtype::kFloat32;
  Values exact;
  std::vector<char> q, k, v, grad_out;
  const auto draw = [&](unsigned seed, std::vector<char>* stored) {
    *stored = encode(random_normal(count, seed), c.dtype);
    return decode(*stored, c.dtype);
  };
  exact.q = draw(1, &q);
  exact.k = draw(2, &k);
  exact.v = draw(3, &v);
  exact.grad_out = draw(4, &grad_out);
  for (auto* x : {&exact.out, &exact.grad_q, &exact.grad_k, &exact.grad_v}) x->resize(count);
  exact.lse.resize(rows);
  for (int64_t bh = 0; bh < c.batches * c.heads; ++bh) {
    for (size_t n = 0; n < std::max<size_t>(c.cu_seqlens.size(), 2) - 1; ++n) {
      int64_t first = 0, length = c.T;
      if (!c.lengths.empty()) length = c.lengths[bh / c.heads];
      if (!c.cu_seqlens.empty()) {
        first = c.cu_seqlens[n];
        length = c.cu_seqlens[n + 1] - first;
      }
      naive(c, (bh * c.T + first) * c.d, bh * c.T + first, length, &exact);
    }
  }

  const std::vector<double> nan(count, std::nan(""));
  std::vector<char> out = encode(nan, c.dtype), part = out, grad_q = out, grad_k = out;
  std::vector<char> grad_v = out, lse = encode(std::vector<double>(rows, std::nan("")), real);
  const std::vector<char> w = encode(std::vector<double>(c.heads, c.w), real);
  const std::vector<char> b = encode(std::vector<double>(c.heads, c.b), real);
  std::vector<char> grad_w = w, grad_b = b;
  const auto view = [&](std::vector<char>& x) {
    return attention::Tensor{x.data(), c.heads * c.T * c.d, c.T * c.d, c.d};
  };
  attention::Problem problem;
  problem.dtype = c.dtype;
  problem.prior = c.prior;
  problem.scale = 0.3;
  problem.batches = c.batches;
  problem.heads = c.heads;
  problem.T = c.T;
  problem.d = c.d;
  problem.lengths = c.lengths.empty() ? nullptr : c.lengths.data();
  problem.cu_seqlens = c.cu_seqlens.empty() ? nullptr : c.cu_seqlens.data();
  problem.offsets = static_cast<int64_t>(c.cu_seqlens.size());
  problem.w = w.data();
  problem.b = b.data();
  problem.threads = c.threads;
  const bool additive = c.prior == Prior::kAdditive, none = c.prior == Prior::kNone;
  attention::forward(problem, {view(q), view(k), view(v), view(out),
                               additive ? view(part) : attention::Tensor{}, lse.data()});
  attention::backward(
      problem, {view(grad_out), view(q), view(k), view(v), view(additive ? part : out), lse.data(),
                view(grad_q), view(grad_k), view(grad_v), none ? nullptr : grad_w.data(),
                none ? nullptr : grad_b.data()});

  const double tolerance = c.dtype == Dtype::kFloat64    ? 1e-13
                           : c.dtype == Dtype::kFloat32  ? 1e-5
                           : c.dtype == Dtype::kBFloat16 ? 0.03
                                                         : 0.004;
  compare("out", decode(out, c.dtype), exact.out, tolerance);
  compare("lse", decode(lse, real), exact.lse, std::min(tolerance, 1e-5));
  compare("grad_q", decode(grad_q, c.dtype), exact.grad_q, tolerance);
  compare("grad_k", decode(grad_k, c.dtype), exact.grad_k, tolerance);
  compare("grad_v", decode(grad_v, c.dtype), exact.grad_v, tolerance);
  if (none) return;
  double total_w = 0, total_b = 0;
  for (double value : decode(grad_w, real)) total_w += value;
  for (double value : decode(grad_b, real)) total_b += value;
  // Sums that cancel: their terms are up to d^2 large.
  compare("grad_w", {total_w}, {exact.grad_w}, tolerance * 1000);
  compare("grad_b", {total_b}, {exact.grad_b}, tolerance * 30);
}

}  // namespace

int main() {
  require_instruction_set();
  for (Dtype dtype : {Dtype::kFloat32, Dtype::kFloat64, Dtype::kBFloat16, Dtype::kFloat16}) {
    for (Prior prior : {Prior::kNone, Prior::kAdditive, Prior::kLogit}) {
      for (int64_t d : {1, 7, 16, 40}) run({dtype, prior, 1, 2, 37, d, 0.02, 0.1, {}, {}, 1});
      run({dtype, prior, 3, 2, 67, 17, -0.01, 0.3, {67, 0, 1}, {}, 3});
      run({dtype, prior, 1, 2, 90, 33, 0.0, 0.5, {}, {0, 1, 1, 50, 90}, 2});
      run({dtype, prior, 1, 1, 130, 256, 0.1, 0.0, {}, {}, 2});
    }
  }
  // Several parts of keys, more than threads, in one round and in two.
  run({Dtype::kFloat32, Prior::kAdditive, 1, 1, 1100, 8, 0.01, 0.0, {}, {}, 4});
  run({Dtype::kFloat32, Prior::kLogit, 2, 1, 1030, 5, 0.01, 0.0, {1030, 1025}, {}, 3});
}
