// The losses on raw buffers: the logarithm, top-k against a sort, and both passes of a ragged batch
// against naive loops, with guarded, poisoned outputs, on one thread and on several.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "check.h"
#include "core/dtype.h"
#include "cpu/ddl.h"
#include "cpu/ddl_plan.h"
#include "cpu/ddl_topk.h"
#include "ddl_oracle.h"

namespace {

// Standard deviations of the error that the oracle allows; the largest seen is 2.9.
constexpr double kAllowed = 6.0;

using namespace ladnet;
using namespace ladnet::ddl;

template <class A>
void check_logarithm(double allowed) {
  constexpr A infinity = std::numeric_limits<A>::infinity();
  std::mt19937_64 engine(1);
  std::uniform_real_distribution<double> exponent(std::numeric_limits<A>::min_exponent - 10,
                                                  std::numeric_limits<A>::max_exponent - 1);
  for (int i = 0; i < 200000; ++i) {
    // Half of them near 1, where the result is small and its relative error shows most.
    const A x = static_cast<A>(i % 2 == 0 ? std::exp2(exponent(engine))
                                          : 1.0 + std::exp2(exponent(engine) / 64.0 - 3.0));
    const long double exact = std::log(static_cast<long double>(x));
    const long double error = std::fabs(static_cast<long double>(natural_log(x)) - exact);
    CHECK(error <= allowed * std::numeric_limits<A>::epsilon() * std::fabs(exact),
          "log(%a) is off by %Lg", static_cast<double>(x), error);
  }
  CHECK(natural_log(A(1)) == A(0), "log(1)");
  CHECK(natural_log(A(0)) == -infinity, "log(0)");
  CHECK(natural_log(infinity) == infinity, "log(inf)");
  CHECK(std::isnan(natural_log(A(-1))), "log(-1)");
  CHECK(std::isnan(natural_log(std::numeric_limits<A>::quiet_NaN())), "log(NaN)");
}

// Values with ties, both zeros, both infinities and NaN.
template <class A>
std::vector<A> awkward_values(int64_t count, unsigned seed, bool finite) {
  std::vector<A> values;
  for (double x : random_normal(count, seed)) values.push_back(static_cast<A>(std::round(4 * x)));
  const A infinity = std::numeric_limits<A>::infinity();
  const A nan = std::numeric_limits<A>::quiet_NaN();
  const A special[] = {A(-0.0), A(0), infinity, -infinity, nan, -nan};
  for (int64_t i = 0; !finite && i < count; i += 7) {
    values[static_cast<size_t>(i)] = special[i / 7 % 6];
  }
  return values;
}

template <class A>
void check_top_k(int64_t count, bool finite) {
  const ScoreKernels<A>& kernels = score_kernels_for<A>();
  const std::vector<A> values = awkward_values<A>(count, 7, finite);
  std::vector<Key<A>> keys(values.size());
  kernels.score_keys(values.data(), count, keys.data());
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const A x = values[static_cast<size_t>(a)];
    const A y = values[static_cast<size_t>(b)];
    return std::isnan(x) ? !std::isnan(y) : x > y;
  });
  for (int64_t k : {int64_t{0}, int64_t{1}, count / 17 + 1, count / 2, count - 1, count}) {
    if (k < 0 || k > count) continue;
    const Chosen<A> one = choose_largest(keys.data(), count, k, 1, kernels);
    const Chosen<A> three = choose_largest(keys.data(), count, k, 3, kernels);
    CHECK(std::memcmp(&one.sum, &three.sum, sizeof(double)) == 0, "threads change the sum");
    double sum = 0.0;
    for (int64_t rank = 0; rank < count; ++rank) {
      const int64_t i = order[static_cast<size_t>(rank)];
      const Key<A> key = keys[static_cast<size_t>(i)];
      CHECK(is_chosen(one.cut.threshold, one.cut.last_tie, key, i) == (rank < k),
            "element %lld of %lld, k = %lld", static_cast<long long>(i),
            static_cast<long long>(count), static_cast<long long>(k));
      if (rank < k) sum += static_cast<double>(values[static_cast<size_t>(i)]);
    }
    const bool same = std::isnan(sum) ? std::isnan(one.sum) : sum == one.sum;
    CHECK(same, "sum %g instead of %g", one.sum, sum);
  }
}

// Memory with a guard on both sides and NaN inside.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : bytes_(bytes), memory_(bytes + 2 * kGuard, kPoison) {
    std::fill_n(memory_.begin(), kGuard, kMark);
    std::fill_n(memory_.end() - kGuard, kGuard, kMark);
  }
  void* data() { return memory_.data() + kGuard; }
  template <class T>
  T* as() {
    return static_cast<T*>(data());
  }
  size_t size() const { return bytes_; }
  bool intact() const {
    const auto is_mark = [](unsigned char byte) { return byte == kMark; };
    return std::all_of(memory_.begin(), memory_.begin() + kGuard, is_mark) &&
           std::all_of(memory_.end() - kGuard, memory_.end(), is_mark);
  }
  bool same_as(Guarded& other) {
    return bytes_ == other.bytes_ && std::memcmp(data(), other.data(), bytes_) == 0;
  }

 private:
  static constexpr ptrdiff_t kGuard = 256;
  static constexpr unsigned char kMark = 0xa5;
  static constexpr unsigned char kPoison = 0xff;
  size_t bytes_;
  std::vector<unsigned char> memory_;
};

struct Results {
  Guarded terms, score_grads, dynamics, grad_scores, grad_features;

  Results(size_t real, size_t storage, size_t snippets, size_t width)
      : terms(3 * real),
        score_grads(3 * snippets * real),
        dynamics(snippets * real),
        grad_scores(snippets * real),
        grad_features(snippets * width * storage) {}
};

template <class A>
void check_finite(Guarded& values, const char* name) {
  CHECK(values.intact(), "%s: written outside", name);
  for (size_t i = 0; i < values.size() / sizeof(A); ++i) {
    CHECK(std::isfinite(values.as<A>()[i]), "%s: element %zu was not written", name, i);
  }
}

// What the oracle leaves to the rounding of the results: the last one, to the features' type.
Storage storage_of(Dtype dtype) {
  if (dtype == Dtype::kBFloat16) return {0x1p-8, 0};
  if (dtype == Dtype::kFloat16) return {0x1p-11, 0x1p-25};
  return {};
}

// Terms and gradients against the naive loops; `first` holds where each bag starts.
template <class F, class A>
void check_against_oracle(std::vector<NaiveBag> bags, const std::vector<int64_t>& first,
                          int64_t width, Dtype dtype, const Options& options, const A* weights,
                          Results& run) {
  const double epsilon = std::numeric_limits<A>::epsilon();
  Numbers grad_scores(run.grad_scores.size() / sizeof(A));
  Numbers grad_features(run.grad_features.size() / sizeof(F));
  for (NaiveBag& bag : bags) {
    bag.grad_scores.resize(bag.scores.size());
    bag.grad_rows.assign(bag.scores.size(), Numbers(static_cast<size_t>(width)));
  }
  const Rounded terms[] = {naive_mil(bags, options.topk_divisor, double(weights[0])),
                           naive_ranking(bags, options, double(weights[1])),
                           naive_alignment(bags, options, double(weights[2]))};
  for (int64_t i = 0; i < 3; ++i) {
    check_rounded("terms", i, double(run.terms.as<A>()[i]), terms[i], epsilon, kAllowed);
  }
  for (size_t n = 0; n < bags.size(); ++n) {  // padding has no gradient
    for (size_t t = 0; t < bags[n].scores.size(); ++t) {
      const size_t snippet = static_cast<size_t>(first[n]) + t;
      grad_scores[snippet] = bags[n].grad_scores[t];
      for (size_t c = 0; c < bags[n].grad_rows[t].size(); ++c) {
        grad_features[snippet * static_cast<size_t>(width) + c] = bags[n].grad_rows[t][c];
      }
    }
  }
  for (size_t i = 0; i < grad_scores.size(); ++i) {
    check_rounded("grad_scores", int64_t(i), double(run.grad_scores.as<A>()[i]), grad_scores[i],
                  epsilon, kAllowed);
  }
  for (size_t i = 0; i < grad_features.size(); ++i) {
    check_rounded("grad_features", int64_t(i), double(load_as<A>(run.grad_features.as<F>()[i])),
                  grad_features[i], epsilon, kAllowed, storage_of(dtype));
  }
}

constexpr Options kOptions{0.5, 1e-6, 16, Pairing::kAllPairs, Select::kTopK, Detach::kNone};

// A padded batch whose padding is NaN, or the same bags packed.
template <class F, class A>
void check_passes(Dtype dtype, int64_t width, bool packed, const Options& options = kOptions) {
  const std::vector<int64_t> lengths = {70, 1, 2, 300, 33};
  const int64_t N = static_cast<int64_t>(lengths.size());
  std::vector<int64_t> cu_seqlens = {0};
  for (int64_t length : lengths) cu_seqlens.push_back(cu_seqlens.back() + length);
  const int64_t T = packed ? cu_seqlens.back() : 300;
  const int64_t snippets = packed ? T : N * T;
  const int64_t stride = width + 3;

  // Exactly as large as the views need, so that a sanitizer sees every read beyond them.
  std::vector<F> features(static_cast<size_t>((snippets - 1) * stride + width));
  std::vector<A> scores(static_cast<size_t>(snippets));
  const std::vector<double> draws = random_normal(static_cast<int64_t>(features.size()), 3);
  for (size_t i = 0; i < features.size(); ++i) store_to(&features[i], draws[i]);
  for (size_t i = 0; i < scores.size(); ++i) {
    scores[i] = static_cast<A>(1.0 / (1.0 + std::exp(draws[i % draws.size()])));
  }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (int64_t n = 0; !packed && n < N; ++n) {
    for (int64_t t = lengths[static_cast<size_t>(n)]; t < T; ++t) {
      const int64_t snippet = n * T + t;
      scores[static_cast<size_t>(snippet)] = static_cast<A>(nan);
      for (int64_t c = 0; c < width; ++c) {
        store_to(&features[static_cast<size_t>(snippet * stride + c)], nan);
      }
    }
  }
  const bool labels[] = {true, false, true, false, true};
  const Batch batch{N,
                    T,
                    width,
                    scores.data(),
                    features.data(),
                    dtype,
                    T * stride,
                    stride,
                    packed ? nullptr : lengths.data(),
                    packed ? cu_seqlens.data() : nullptr};
  const A weights[] = {A(1), A(0.5), A(2)};
  std::vector<NaiveBag> bags;
  std::vector<int64_t> first;
  for (size_t n = 0; n < lengths.size(); ++n) {
    first.push_back(packed ? cu_seqlens[n] : int64_t(n) * T);
    bags.push_back({labels[n], {}, {}, {}, {}});
    for (int64_t t = first[n]; t < first[n] + lengths[n]; ++t) {
      bags[n].scores.push_back(double(scores[static_cast<size_t>(t)]));
      std::vector<double> row;
      for (int64_t c = 0; c < width; ++c) {
        row.push_back(double(load_as<A>(features[static_cast<size_t>(t * stride + c)])));
      }
      bags[n].rows.push_back(row);
    }
  }

  std::vector<Results> runs;
  for (int threads : {1, 3}) {
    runs.emplace_back(sizeof(A), sizeof(F), static_cast<size_t>(snippets),
                      static_cast<size_t>(width));
    Results& run = runs.back();
    forward(batch, labels, options, threads, run.terms.data(), run.score_grads.data(),
            run.dynamics.data());
    backward(batch, options.eps, options.detach, threads, weights, run.score_grads.data(),
             run.dynamics.data(), run.grad_scores.data(), run.grad_features.data());
    check_finite<A>(run.terms, "terms");
    check_finite<A>(run.score_grads, "score_grads");
    check_finite<A>(run.dynamics, "dynamics");
    check_finite<A>(run.grad_scores, "grad_scores");
    CHECK(run.grad_features.intact(), "grad_features: written outside");
    for (int64_t i = 0; i < snippets * width; ++i) {
      CHECK(std::isfinite(load_as<A>(run.grad_features.template as<F>()[i])),
            "grad_features: element %lld was not written", static_cast<long long>(i));
    }
  }
  Results both(sizeof(A), sizeof(F), static_cast<size_t>(snippets), static_cast<size_t>(width));
  const double grad_alignment = options.detach == Detach::kFeature ? 0.0 : double(weights[2]);
  forward(batch, labels, options, 2, both.terms.data(), both.score_grads.data(),
          both.dynamics.data(), grad_alignment, both.grad_features.data());
  backward(batch, options.eps, options.detach, 2, weights, both.score_grads.data(),
           both.dynamics.data(), both.grad_scores.data(), nullptr);
  CHECK(runs[0].terms.same_as(both.terms), "one pass changes the terms");
  CHECK(runs[0].score_grads.same_as(both.score_grads), "one pass changes score_grads");
  CHECK(runs[0].dynamics.same_as(both.dynamics), "one pass changes the dynamics");
  CHECK(runs[0].grad_scores.same_as(both.grad_scores), "one pass changes grad_scores");
  CHECK(runs[0].grad_features.same_as(both.grad_features), "one pass changes grad_features");
  CHECK(both.grad_features.intact(), "grad_features: one pass writes outside");
  check_against_oracle<F, A>(bags, first, width, dtype, options, weights, runs[0]);
  CHECK(runs[0].terms.same_as(runs[1].terms), "threads change the terms");
  CHECK(runs[0].score_grads.same_as(runs[1].score_grads), "threads change score_grads");
  CHECK(runs[0].dynamics.same_as(runs[1].dynamics), "threads change the dynamics");
  CHECK(runs[0].grad_scores.same_as(runs[1].grad_scores), "threads change grad_scores");
  CHECK(runs[0].grad_features.same_as(runs[1].grad_features), "threads change grad_features");
}

}  // namespace

int main() {
  require_instruction_set();
  check_logarithm<float>(3.0);
  check_logarithm<double>(3.0);
  for (int64_t count : {1, 2, 15, 16, 17, 256, 257, 5000, 40000}) {
    for (bool finite : {true, false}) {
      check_top_k<float>(count, finite);
      check_top_k<double>(count, finite);
    }
  }
  for (int64_t width : {0, 1, 4, 7, 16, 31, 64, 1100}) {
    for (bool packed : {false, true}) {
      check_passes<float, float>(Dtype::kFloat32, width, packed);
      check_passes<double, double>(Dtype::kFloat64, width, packed);
      check_passes<BFloat16, float>(Dtype::kBFloat16, width, packed);
      check_passes<Float16, float>(Dtype::kFloat16, width, packed);
    }
  }
  for (Pairing pairing : {Pairing::kBatchMean, Pairing::kAllPairs, Pairing::kOneToOne}) {
    for (Select select : {Select::kTopK, Select::kAll}) {
      for (Detach detach : {Detach::kNone, Detach::kScore, Detach::kFeature}) {
        const Options options{0.5, 1e-3, 7, pairing, select, detach};
        check_passes<float, float>(Dtype::kFloat32, 5, true, options);
        check_passes<double, double>(Dtype::kFloat64, 5, false, options);
      }
    }
  }
  return 0;
}
