// Losses, the part that reads the features: dynamics of neighbouring rows and their gradient.
//
// Compiled once per instruction set. A row comes from memory once, and is still in the first-level
// cache when its neighbour and its gradient need it.

#include "cpu/ddl_feature_rows.h"

namespace ladnet::ddl::LADNET_ISA {
namespace {

template <class F>
struct AccumulationOf {
  using type = float;
};
template <>
struct AccumulationOf<double> {
  using type = double;
};
template <class F>
using Accumulation = typename AccumulationOf<F>::type;

static_assert(kRowGroup == 8);

constexpr int64_t kCacheLine = 64;

// How far ahead rows are prefetched. The processor's own prefetching stops at the ends of pages,
// and the bursts in which rows are measured disturb it.
constexpr int64_t kPrefetchBytes = 16 << 10;

// Loops over a group become vector instructions if they are still loops when the compiler looks for
// such.
#if defined(__clang__)
#define LADNET_KEEP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define LADNET_KEEP_LOOP _Pragma("GCC unroll 1")
#endif

// What was measured of the steps from row `from` on, one after another. Entries beyond `count` mean
// nothing.
template <class A>
struct Steps {
  int64_t from = 0;
  int count = 0;
  A lengths[kRowGroup];  // |e|^2
  A before[kRowGroup];   // the rows' inverse norms
  A after[kRowGroup];

  // df of all entries.
  void find_dynamics(A* dynamics) const {
    LADNET_KEEP_LOOP
    for (int i = 0; i < kRowGroup; ++i) {
      const bool zeros = (before[i] == A(0)) | (after[i] == A(0));
      const A at_zero = zero_row_dynamics(before[i], after[i]);
      const A df = clamped_dynamics(lengths[i]);
      dynamics[i] = zeros ? at_zero : df;
    }
  }
};

// The rows around the current one and the steps between them, a group at a time. A root, a division
// and a slope each wait for a whole sum: so the norms of a group are measured before the steps of
// the group ahead of it, and nothing that was measured is used at once. With kPulls also what the
// gradient needs.
template <class F, bool kPulls>
class Window {
 public:
  using A = Accumulation<F>;

  // Rows from `first` on, none at or behind `end`. Memory of scratch: window_rows rows.
  Window(const Rows& rows, int64_t first, int64_t end, A* scratch)
      : rows_(rows),
        scratch_(scratch),
        first_(first),
        taken_(first),
        end_(end),
        group_(row_group(rows.padded)),
        ring_(window_rows(rows.padded) - 1),
        ahead_(1 + kPrefetchBytes / (1 + rows.width * int64_t(sizeof(F)))) {
    measure(first);
  }

  // Whether all steps were taken.
  bool is_at_end() const { return taken_ == end_; }

  // Takes the steps to the next rows.
  Steps<A> advance() {
    const int count = int(count_from(taken_));
    finish_norms(count);
    const int64_t begin = taken_ > first_ ? taken_ - 1 : first_;
    taken_ += count;
    measure(taken_);

    Steps<A> result;
    result.from = begin;
    result.count = int(taken_ - 1 - begin);
    Vec<A> lengths[kRowGroup], along[kRowGroup];
    int i = 0;
    for (; i + kBlock <= result.count; i += kBlock) take<kBlock>(begin + i, lengths + i, along + i);
    for (; i < result.count; ++i) take<1>(begin + i, lengths + i, along + i);
    for (; i < kRowGroup; ++i) lengths[i] = along[i] = broadcast(A(0));
    sum_eight<A>(lengths, result.lengths);
    for (i = 0; i < result.count; ++i) {
      result.before[i] = row_[place(begin + i)].inverse;
      result.after[i] = row_[place(begin + i + 1)].inverse;
    }
    for (; i < kRowGroup; ++i) result.before[i] = result.after[i] = A(1);
    if constexpr (kPulls) {
      A products[kRowGroup];
      sum_eight<A>(along, products);
      for (i = 0; i < result.count; ++i) {
        begin_along_[place(begin + i)] = products[i];
        end_along_[place(begin + i)] = products[i] + result.lengths[i];
      }
    }
    return result;
  }

  // The gradients of `count` rows from t on. slopes[i] is that of the step before row t + i,
  // slopes[i + 1] of the step after it; 0 where the bag, of `length` rows, has none.
  template <bool kStream>
  void write_rows(int64_t t, int count, int64_t length, const A* slopes, F* out) const {
    int i = 0;
    for (; i + kBlock <= count; i += kBlock) {
      write<kStream, kBlock>(t + i, length, slopes + i, out + i * rows_.width);
    }
    for (; i < count; ++i) write<kStream, 1>(t + i, length, slopes + i, out + i * rows_.width);
  }

 private:
  // Measures the squares of the group that begins at row t.
  void measure(int64_t t) {
    const int64_t count = count_from(t);
    Vec<A> squares[kRowGroup];
    int i = 0;
    for (; i < count; ++i) {
      prefetch(t + i);
      squares[i] = square<A>(data(t + i), rows_.width, copy(t + i));
    }
    for (; i < kRowGroup; ++i) squares[i] = broadcast(A(1));
    sum_eight<A>(squares, squares_);
  }
  int64_t count_from(int64_t t) const { return end_ - t < group_ ? end_ - t : group_; }

  // Makes rows of the group whose squares were measured last.
  void finish_norms(int count) {
    A inverses[kRowGroup];
    int unusual = 0;
    LADNET_KEEP_LOOP
    for (int i = 0; i < kRowGroup; ++i) {
      unusual += !is_safe_norm(squares_[i]);
      inverses[i] = inverse_root(squares_[i]);
    }
    for (int i = 0; i < count; ++i) {
      const int64_t t = taken_ + i;
      Row<A>& row = row_[place(t)];
      row = {copy(t), copy(t), inverses[i], inverses[i]};
      if constexpr (kSame<F, A>) row.whole = data(t);
    }
    if (__builtin_expect(unusual == 0, 1)) return;
    for (int i = 0; i < count; ++i) {
      if (is_safe_norm(squares_[i])) continue;
      const int64_t t = taken_ + i;
      const RowNorm<A> norm = measure_unusual<F, A>(data(t), rows_, copy(t));
      row_[place(t)] = {copy(t), copy(t), norm.inverse, norm.inverse * norm.scale};
    }
  }

  template <int kSteps>
  void take(int64_t t, Vec<A>* lengths, Vec<A>* along) const {
    const Row<A>* rows[kSteps + 1];
    for (int i = 0; i <= kSteps; ++i) rows[i] = &row_[place(t + i)];
    measure_steps<A, kPulls, kSteps>(rows, rows_.width, lengths, along);
  }

  template <bool kStream, int kCount>
  void write(int64_t t, int64_t length, const A* slopes, F* out) const {
    const Row<A>* rows[kCount + 2];
    for (int i = 0; i < kCount; ++i) rows[i + 1] = &row_[place(t + i)];
    // At the ends of a bag the row stands in for its missing neighbour.
    rows[0] = t > 0 ? &row_[place(t - 1)] : rows[1];
    rows[kCount + 1] = t + kCount < length ? &row_[place(t + kCount)] : rows[kCount];
    Pull<A> pulls[kCount];
    for (int i = 0; i < kCount; ++i) {
      const int64_t at = t + i;
      const A before = slopes[i] * rows[i + 1]->factor, after = slopes[i + 1] * rows[i + 1]->factor;
      // <u, pull>; see ddl.md.
      const A along = (at > 0 ? before * end_along_[place(at - 1)] : A(0)) -
                      (at + 1 < length ? after * begin_along_[place(at)] : A(0));
      pulls[i] = {before, after, along};
    }
    write_gradients<F, kStream, kCount>(rows, pulls, rows_.width, out);
  }

  // Fetches what lies far ahead of row t.
  void prefetch(int64_t t) const {
    t += ahead_;
    if (t >= end_) return;
    const char* const bytes = reinterpret_cast<const char*>(data(t));
    const int64_t size = rows_.width * int64_t(sizeof(F));
    for (int64_t byte = 0; byte < size; byte += kCacheLine) __builtin_prefetch(bytes + byte);
  }

  const F* data(int64_t t) const { return static_cast<const F*>(rows_.data) + t * rows_.stride; }
  int64_t place(int64_t t) const { return t & ring_; }
  A* copy(int64_t t) const { return scratch_ + place(t) * rows_.padded; }

  const Rows rows_;
  A* const scratch_;
  const int64_t first_;
  int64_t taken_;  // the first row to which no step was taken yet
  const int64_t end_;
  const int64_t group_;
  const int64_t ring_;  // mask
  const int64_t ahead_;
  A squares_[kRowGroup];  // of the rows from taken_ on
  Row<A> row_[kMostWindowRows];
  A begin_along_[kMostWindowRows];  // of a step: <u, e>
  A end_along_[kMostWindowRows];    // <u_next, e>, which is <u, e> + |e|^2
};

template <class F>
void dynamics(const Rows& rows, int64_t begin, int64_t end, Accumulation<F>* out,
              Accumulation<F>* scratch) {
  using A = Accumulation<F>;
  if (begin >= end) return;
  Window<F, false> window(rows, begin, end + 1, scratch);
  Steps<A> last;
  const auto write = [&] {
    A dynamics[kRowGroup];
    last.find_dynamics(dynamics);
    for (int i = 0; i < last.count; ++i) out[last.from + i] = dynamics[i];
  };
  while (!window.is_at_end()) {
    const Steps<A> steps = window.advance();
    if (last.count > 0) write();
    last = steps;
  }
  write();
}

// The gradient of rows begin .. end - 1. find_slopes(steps, slopes) fills the slopes of all entries
// of steps, which come in the bag's order from step begin - 1 on.
template <class F, bool kStream, class FindSlopes>
LADNET_INLINE void gradient_rows(const Rows& rows, int64_t length, int64_t begin, int64_t end,
                                 F* out, Accumulation<F>* scratch, const FindSlopes& find_slopes) {
  using A = Accumulation<F>;
  const int64_t first = begin > 0 ? begin - 1 : 0;
  Window<F, true> window(rows, first, end < length ? end + 1 : length, scratch);
  int64_t t = begin;
  Steps<A> last;
  A slopes[kRowGroup + 2] = {};  // that of the step to row t, and of the last steps
  // A row follows when the step from it has been taken.
  const auto write_rows = [&](int extra) {
    // The step to row `begin` has no row to follow.
    const int skipped = last.from < begin && last.count > 0 ? 1 : 0;
    const int count = last.count - skipped + extra;
    window.template write_rows<kStream>(t, count, length, slopes + skipped, out);
    t += count;
    out += count * rows.width;
    slopes[0] = slopes[last.count];
  };
  while (!window.is_at_end()) {
    const Steps<A> steps = window.advance();
    write_rows(0);
    find_slopes(steps, slopes + 1);
    last = steps;
  }
  slopes[last.count + 1] = A(0);
  write_rows(end == length ? 1 : 0);
}

template <class F, bool kStream>
void gradient_of_slopes(const Rows& rows, int64_t length, int64_t begin, int64_t end,
                        const Accumulation<F>* given, F* out, Accumulation<F>* scratch) {
  gradient_rows<F, kStream>(rows, length, begin, end, out, scratch,
                            [&](const auto& steps, Accumulation<F>* slopes) {
                              for (int i = 0; i < steps.count; ++i) {
                                slopes[i] = given[steps.from + i - begin + 1];
                              }
                            });
}

// Dynamics and gradient in one pass, each as the pass of its own computes it.
template <class F, bool kStream>
void both_rows(const Rows& rows, int64_t length, int64_t begin, int64_t end,
               const AlignmentScores<Accumulation<F>>& alignment, Accumulation<F>* dynamics, F* out,
               Accumulation<F>* scratch) {
  using A = Accumulation<F>;
  gradient_rows<F, kStream>(
      rows, length, begin, end, out, scratch, [&](const auto& steps, A* slopes) {
        A df[kRowGroup], changes[kRowGroup] = {};
        steps.find_dynamics(df);
        for (int i = 0; i < steps.count; ++i) {
          const int64_t t = steps.from + i;
          changes[i] = alignment.scores[t] - alignment.scores[t + 1];
          if (t >= begin) dynamics[t] = df[i];
        }
        LADNET_KEEP_LOOP
        for (int i = 0; i < kRowGroup; ++i) {
          slopes[i] =
              alignment.weight * alignment_slope(magnitude(changes[i]), df[i], alignment.eps);
        }
      });
}

// Whether rows may be streamed: that needs every vector aligned, so every row too.
template <class F>
bool may_stream(const Rows& rows, const void* out) {
  return kSame<F, Accumulation<F>> && reinterpret_cast<uintptr_t>(out) % kVectorBytes == 0 &&
         rows.width % kLanes<Accumulation<F>> == 0;
}

template <class F>
void gradient(const Rows& rows, int64_t length, int64_t begin, int64_t end,
              const Accumulation<F>* slopes, bool stream, void* out, Accumulation<F>* scratch) {
  F* const to = static_cast<F*>(out);
  if constexpr (kSame<F, Accumulation<F>>) {
    if (stream && may_stream<F>(rows, out)) {
      gradient_of_slopes<F, true>(rows, length, begin, end, slopes, to, scratch);
      finish_streaming();
      return;
    }
  }
  gradient_of_slopes<F, false>(rows, length, begin, end, slopes, to, scratch);
}

template <class F>
void both(const Rows& rows, int64_t length, int64_t begin, int64_t end,
          const AlignmentScores<Accumulation<F>>& alignment, Accumulation<F>* dynamics, bool stream,
          void* out, Accumulation<F>* scratch) {
  F* const to = static_cast<F*>(out);
  if constexpr (kSame<F, Accumulation<F>>) {
    if (stream && may_stream<F>(rows, out)) {
      both_rows<F, true>(rows, length, begin, end, alignment, dynamics, to, scratch);
      finish_streaming();
      return;
    }
  }
  both_rows<F, false>(rows, length, begin, end, alignment, dynamics, to, scratch);
}

template <class F>
constexpr FeatureKernels<Accumulation<F>> kernels() {
  return {dynamics<F>, gradient<F>, both<F>};
}

}  // namespace

const FeatureTable feature_kernels = {kernels<float>(), kernels<double>(), kernels<BFloat16>(),
                                      kernels<Float16>()};

}  // namespace ladnet::ddl::LADNET_ISA
