// Both passes against loops in double, with every tensor in memory of exactly its size, so that
// AddressSanitizer sees each access beside it.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>

#include "check.h"
#include "core/dtype.h"
#include "cpu/attention.h"
#include "cpu/attention_toeplitz.h"

namespace {

using namespace ladnet;
using attention::Prior;

constexpr double kEpsilon32 = std::numeric_limits<float>::epsilon();
constexpr double kEpsilon64 = std::numeric_limits<double>::epsilon();

// Roundings that the sums for w and b may be off by: at most 3.8 and 0.9 were seen. The additive
// prior's products over the head size round as often; the logit prior's band is wider by itself.
constexpr double kAdditiveRoundings = 8;
constexpr double kLogitRoundings = 2;

double epsilon_of(Dtype dtype) {
  return dtype == Dtype::kFloat64    ? kEpsilon64
         : dtype == Dtype::kFloat32  ? kEpsilon32
         : dtype == Dtype::kBFloat16 ? 0x1p-7
                                     : 0x1p-10;
}

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
  std::vector<double> w, b;  // of each head, as are the next two
  std::vector<double> grad_w, grad_b;
  // What is summed to them: magnitudes along a row, which err together, and squares over the rows.
  std::vector<double> squares_w, squares_b;
  std::vector<double> out, lse, grad_q, grad_k, grad_v;
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

// One bag and head whose rows begin at `base` and are `d` apart. Pointers, and a table of the
// prior: most of the program's time goes by in here.
ORACLE void naive(const Case& c, int64_t head, int64_t base, int64_t lse_base, int64_t T,
                  Values* x) {
  const int64_t d = c.d;
  const double w = x->w[head], b = x->b[head];
  const double scale = 0.3;
  const double *q = x->q.data() + base, *k = x->k.data() + base, *v = x->v.data() + base,
               *g = x->grad_out.data() + base;
  double *out = x->out.data() + base, *grad_q = x->grad_q.data() + base;
  double *grad_k = x->grad_k.data() + base, *grad_v = x->grad_v.data() + base;
  std::vector<double> prior(T, 0.0);  // of each distance
  for (int64_t n = 0; n < T && c.prior != Prior::kNone; ++n) {
    prior[n] = std::exp(-std::fabs(w * double(n) * double(n) + b));
  }
  long double grad_w = 0, grad_b = 0;  // of so many that a sum in double would round too often
  std::vector<double> row_P(T), row_dP(T);
  double *P = row_P.data(), *dP = row_dP.data();
  const double* G = prior.data();
  for (int64_t i = 0; i < T; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < T; ++j) {
      double logit = 0, slope = 0;
      for (int64_t n = 0; n < d; ++n) {
        logit += q[i * d + n] * k[j * d + n];
        slope += g[i * d + n] * v[j * d + n];
      }
      logit *= scale;
      sum += P[j] = std::exp(logit + (c.prior == Prior::kLogit ? G[i < j ? j - i : i - j] : 0));
      dP[j] = slope;
    }
    x->lse[lse_base + i] = std::log(sum);
    double delta = 0, delta_size = 0;
    for (int64_t j = 0; j < T; ++j) {
      P[j] /= sum;
      delta += P[j] * dP[j];
      delta_size += P[j] * std::fabs(dP[j]);
    }
    double size_w = 0, size_b = 0, row_w = 0, row_b = 0;
    for (int64_t j = 0; j < T; ++j) {
      const double dS = P[j] * (dP[j] - delta);
      const double d2 = double(i - j) * double(i - j);
      const double u = w * d2 + b;
      const double near = G[i < j ? j - i : i - j];
      const double slope = (u > 0 ? -1.0 : u < 0 ? 1.0 : 0.0) * near;
      const bool logit = c.prior == Prior::kLogit;
      const double dG = logit ? dS : dP[j];
      const double size = std::fabs(dP[j]);
      const double dG_size = logit ? P[j] * (size + delta_size) : size;
      row_w += dG * slope * d2;
      row_b += dG * slope;
      size_w += dG_size * std::fabs(slope) * d2;
      size_b += dG_size * std::fabs(slope);
      const double s = dS * scale;
      const double a = P[j] + (c.prior == Prior::kAdditive ? near : 0);
      for (int64_t n = 0; n < d; ++n) {
        out[i * d + n] += a * v[j * d + n];
        grad_v[j * d + n] += a * g[i * d + n];
        grad_q[i * d + n] += s * k[j * d + n];
        grad_k[j * d + n] += s * q[i * d + n];
      }
    }
    grad_w += row_w;
    grad_b += row_b;
    x->squares_w[head] += size_w * size_w;
    x->squares_b[head] += size_b * size_b;
  }
  x->grad_w[head] += static_cast<double>(grad_w);
  x->grad_b[head] += static_cast<double>(grad_b);
}

// LADNET_ORACLE names a file of inputs and of what the loops above made of them, case after case:
// written where there is none, else read. Emulated, the loops would take most of a minute.
class Kept {
 public:
  Kept() {
    const char* path = std::getenv("LADNET_ORACLE");
    if (path == nullptr || std::getenv("LADNET_BF16") != nullptr) return;  // not all cases run then
    file_ = std::fopen(path, "rb");
    reading_ = file_ != nullptr;
    if (!reading_) file_ = std::fopen(path, "wb");
    CHECK(file_ != nullptr, "%s can neither be read nor written", path);
  }
  // To be called behind the last case.
  void finish() {
    if (file_ == nullptr) return;
    CHECK(!reading_ || std::fgetc(file_) == EOF, "the file has more cases");
    CHECK(std::fclose(file_) == 0, "the file was not written");
  }

  // Reads what was kept and returns true, or returns false: then it has to be computed and `add`ed.
  bool read(const std::vector<std::vector<double>*>& values) {
    if (!reading_) return false;
    for (auto* x : values) {
      uint64_t size = 0;
      CHECK(std::fread(&size, sizeof size, 1, file_) == 1 && size == x->size(),
            "the file is of other cases: %zu values, not %zu", size_t(size), x->size());
      CHECK(std::fread(x->data(), sizeof(double), size, file_) == size, "the file ends early");
    }
    return true;
  }

  void add(const std::vector<std::vector<double>*>& values) {
    if (file_ == nullptr || reading_) return;
    for (auto* x : values) {
      const uint64_t size = x->size();
      CHECK(std::fwrite(&size, sizeof size, 1, file_) == 1 &&
                std::fwrite(x->data(), sizeof(double), size, file_) == size,
            "the file could not be written");
    }
  }

 private:
  std::FILE* file_ = nullptr;
  bool reading_ = false;
};

Kept& kept() {
  static Kept file;
  return file;
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

// A sum that cancels, of the prior's parameter of each head: judged by the size of what is summed.
void compare_sums(const char* name, const std::vector<double>& actual,
                  const std::vector<double>& exact, const std::vector<double>& squares,
                  double epsilon, double roundings) {
  for (size_t h = 0; h < exact.size(); ++h) {
    const double error = std::fabs(actual[h] - exact[h]);
    const double allowed = roundings * epsilon * std::sqrt(squares[h]);
    CHECK(error <= allowed, "%s[%zu] is %.9g, expected %.9g: off by %g, allowed %g", name, h,
          actual[h], exact[h], error, allowed);
  }
}

void run(const Case& c) {
  // Nothing else depends on that variable, and all of it runs without.
  if (std::getenv("LADNET_BF16") != nullptr && c.dtype != Dtype::kBFloat16) return;
  const int64_t rows = c.batches * c.heads * c.T, count = rows * c.d;
  const Dtype real = c.dtype == Dtype::kFloat64 ? Dtype::kFloat64 : Dtype::kFloat32;
  Values exact;
  for (auto* x : {&exact.q, &exact.k, &exact.v, &exact.grad_out, &exact.out, &exact.grad_q,
                  &exact.grad_k, &exact.grad_v}) {
    x->resize(count);
  }
  exact.lse.resize(rows);
  std::vector<double> w_b[2];
  for (int64_t h = 0; h < c.heads; ++h) {
    w_b[0].push_back(c.w * (1 + 0.25 * double(h)));
    w_b[1].push_back(c.b * (1 + 0.25 * double(h)));
  }
  const std::vector<char> w = encode(w_b[0], real), b = encode(w_b[1], real);
  exact.w = decode(w, real);
  exact.b = decode(b, real);
  for (auto* x : {&exact.grad_w, &exact.grad_b, &exact.squares_w, &exact.squares_b}) {
    x->resize(c.heads);
  }
  const std::vector<std::vector<double>*> values = {
      &exact.q,      &exact.k,         &exact.v,        &exact.grad_out, &exact.out,
      &exact.lse,    &exact.grad_q,    &exact.grad_k,   &exact.grad_v,   &exact.grad_w,
      &exact.grad_b, &exact.squares_w, &exact.squares_b};
  const bool known = kept().read(values);
  unsigned seed = 0;
  for (auto* x : {&exact.q, &exact.k, &exact.v, &exact.grad_out}) {
    if (!known) *x = decode(encode(random_normal(count, ++seed), c.dtype), c.dtype);
  }
  for (int64_t bh = 0; bh < c.batches * c.heads && !known; ++bh) {
    for (size_t n = 0; n < std::max<size_t>(c.cu_seqlens.size(), 2) - 1; ++n) {
      int64_t first = 0, length = c.T;
      if (!c.lengths.empty()) length = c.lengths[bh / c.heads];
      if (!c.cu_seqlens.empty()) {
        first = c.cu_seqlens[n];
        length = c.cu_seqlens[n + 1] - first;
      }
      naive(c, bh % c.heads, (bh * c.T + first) * c.d, bh * c.T + first, length, &exact);
    }
  }
  if (!known) kept().add(values);
  std::vector<char> q = encode(exact.q, c.dtype), k = encode(exact.k, c.dtype);
  std::vector<char> v = encode(exact.v, c.dtype), grad_out = encode(exact.grad_out, c.dtype);

  const std::vector<double> nan(count, std::nan(""));
  std::vector<char> out = encode(nan, c.dtype), part = out, grad_q = out, grad_k = out;
  std::vector<char> grad_v = out, lse = encode(std::vector<double>(rows, std::nan("")), real);
  std::vector<char> grad_w = encode(std::vector<double>(c.heads, std::nan("")), real);
  std::vector<char> grad_b = grad_w;
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
  // dG of the additive prior comes from the inputs alone, that of the logit prior also from the
  // attention's output as it was stored and from lse, which enters P.
  double roundings = kAdditiveRoundings;
  double epsilon = real == Dtype::kFloat64 ? kEpsilon64 : kEpsilon32;
  if (c.prior == Prior::kLogit) {
    double lse_size = 0;
    for (double value : exact.lse) lse_size = std::max(lse_size, std::fabs(value));
    roundings = kLogitRoundings;
    epsilon = epsilon_of(c.dtype) + epsilon * lse_size;
  }
  compare_sums("grad_w", decode(grad_w, real), exact.grad_w, exact.squares_w, epsilon, roundings);
  compare_sums("grad_b", decode(grad_b, real), exact.grad_b, exact.squares_b, epsilon, roundings);
}

// Products in blocks serve priors that are smooth and wide, others the tables of the band.
void test_which_priors_are_wide() {
  const auto block = [](double w, double b, int64_t length) {
    const int64_t radius = attention::band_radius(w, b, length, 24.0);
    return attention::toeplitz_block(w, b, length, radius, false);
  };
  CHECK(block(0.0, 0.5, 4096) == 256, "%d", int(block(0.0, 0.5, 4096)));
  CHECK(block(1e-6, 0.1, 4096) > 0 && block(-1e-6, -0.1, 4096) > 0, "as wide as the bag");
  CHECK(block(1e-9, -0.1, 4096) > 0, "the exponent's sign changes beyond the bag");
  CHECK(block(1e-6, -0.1, 4096) == 0, "it changes within the bag");
  CHECK(block(0.01, 0.1, 4096) == 0, "narrow");
  CHECK(block(0.0, 30.0, 4096) == 0, "nothing is left of it");
  CHECK(block(std::nan(""), 0.1, 4096) == 0 && block(0.0, INFINITY, 4096) == 0, "not finite");
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
  // Short bags by all threads and one thread each, in blocks of keys and with a last half tile.
  for (Dtype dtype : {Dtype::kFloat32, Dtype::kFloat64, Dtype::kBFloat16}) {
    for (int threads : {1, 2, 3}) {
      run({dtype, Prior::kAdditive, 1, 2, 205, 32, 0.01, 0.1, {}, {}, threads});
      run({dtype, Prior::kLogit, 3, 1, 100, 5, -0.01, -0.1, {100, 1, 33}, {}, threads});
    }
  }
  test_which_priors_are_wide();
  for (Dtype dtype : {Dtype::kFloat32, Dtype::kFloat64, Dtype::kBFloat16}) {
    for (double w : {0.0, 2e-6, -1e-5}) {
      run({dtype, Prior::kAdditive, 1, 1, 801, 5, w, w < 0 ? -0.3 : 0.2, {}, {}, 2});
    }
    run({dtype, Prior::kAdditive, 1, 1, 801, 16, 1e-6, 0.0, {}, {}, 3});
  }
  run({Dtype::kFloat32, Prior::kAdditive, 1, 1, 1250, 3, -1e-7, 0.5, {}, {0, 400, 1250}, 2});
  // Several parts of keys, more than threads, in one round and in two.
  run({Dtype::kFloat32, Prior::kAdditive, 1, 1, 1100, 8, 0.01, 0.0, {}, {}, 4});
  run({Dtype::kFloat32, Prior::kLogit, 2, 1, 1030, 5, 0.01, 0.0, {1030, 1025}, {}, 3});
  run({Dtype::kBFloat16, Prior::kAdditive, 1, 1, 1101, 3, 0.01, 0.0, {}, {}, 4});
  run({Dtype::kBFloat16, Prior::kLogit, 2, 1, 1030, 18, 0.01, 0.0, {1030, 1025}, {}, 3});
  // Odd bags of more than one block of keys and queries, whose last pairs lack a partner.
  for (Prior prior : {Prior::kNone, Prior::kAdditive, Prior::kLogit}) {
    run({Dtype::kBFloat16, prior, 1, 1, 397, 32, 0.02, 0.1, {}, {0, 193, 194, 397}, 2});
  }
  kept().finish();
}
