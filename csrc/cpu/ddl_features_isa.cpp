// Losses, the part that reads the features: dynamics of neighbouring rows and their gradient.
//
// Compiled once per instruction set. A row comes from memory once, and is still in the first-level
// cache when its neighbour needs it.

#include "cpu/ddl_isa.h"
#include "cpu/ddl_vectors.h"

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

template <class A, class B>
constexpr bool kSame = false;
template <class A>
constexpr bool kSame<A, A> = true;

constexpr int64_t kCacheLine = 64;

// How far ahead rows are prefetched. The processor's own prefetching stops at the ends of pages,
// and the bursts in which rows are measured disturb it.
constexpr int64_t kPrefetchBytes = 16 << 10;

// A row with what it takes to bring it to length 1. Whole vectors are read at `whole`, which is the
// row itself or, where that would mean converting it again, its copy in scratch; what is behind the
// last whole vector always lies in the copy, with zeros behind.
template <class A>
struct Row {
  const A* whole;
  A* copy;
  RowNorm<A> norm;
};

// A row whose squares overflow, vanish or are not finite: scaled into the copy, then measured.
template <class F, class A>
__attribute__((noinline)) Row<A> measure_unusual(const F* x, const Rows& rows, A* copy) {
  Key<A> largest = 0;
  for (int64_t c = 0; c < rows.padded; ++c) {
    copy[c] = c < rows.width ? load_as<A>(x[c]) : A(0);
    const Key<A> bits = bit_cast<Key<A>>(copy[c]) & FloatBits<A>::kMagnitude;
    largest = bits > largest ? bits : largest;
  }
  const A not_a_number = key_value<A>(FloatBits<A>::kMagnitude);
  if (largest >= FloatBits<A>::kInfinity) return {copy, copy, {A(1), not_a_number}};
  const A scale = row_scale<A>(largest);
  Vec<A> squares{};
  for (int64_t c = 0; c < rows.padded; c += kLanes<A>) {
    const Vec<A> scaled = load(copy + c) * scale;
    store(copy + c, scaled);
    squares = multiply_add(scaled, scaled, squares);
  }
  const A total = sum<A>(squares);
  if (total == A(0)) return {copy, copy, {A(1), A(0)}};
  return {copy, copy, {scale, inverse_root(total)}};
}

// Sum of the squares of a row; fills the part of the copy that Row promises.
template <class F, class A>
LADNET_INLINE A sum_of_squares(const F* x, int64_t width, A* copy) {
  constexpr int L = kLanes<A>;
  const int64_t whole = width / L * L;
  Vec<A> even{};
  Vec<A> odd{};
  const auto add = [&](int64_t c, Vec<A>& squares) {
    const Vec<A> a = load_row<A>(x + c);
    if constexpr (!kSame<F, A>) store(copy + c, a);
    squares = multiply_add(a, a, squares);
  };
  int64_t c = 0;
  for (; c + 2 * L <= whole; c += 2 * L) {
    add(c, even);
    add(c + L, odd);
  }
  if (c < whole) add(c, even);
  if (whole < width) {
    const Vec<A> a = load_end<A>(x + whole, width - whole);
    store(copy + whole, a);
    odd = multiply_add(a, a, odd);
  }
  return sum<A>(even + odd);
}

// The rows around the current one, measured several at a time: a square root and a division wait
// for the whole sum before them, and meanwhile the processor can work on other rows.
template <class F>
class Window {
 public:
  using A = Accumulation<F>;

  // Rows from `first` on, none at or behind `end`.
  Window(const Rows& rows, int64_t first, int64_t end, A* scratch)
      : rows_(rows),
        scratch_(scratch),
        measured_(first),
        end_(end),
        group_(rows.padded >= kWideRow ? 1 : kRowGroup),
        ahead_(1 + kPrefetchBytes / (1 + rows.width * int64_t(sizeof(F)))) {}

  // Row t; those of t - 1 and t - 2 are still there.
  const Row<A>& at(int64_t t) {
    if (t >= measured_) measure_group();
    prefetch(t);
    return row_[t % kWindowRows];
  }

  // A row that `at` was called for before.
  const Row<A>& earlier(int64_t t) const { return row_[t % kWindowRows]; }

  // The first row that was not measured yet.
  int64_t measured() const { return measured_; }

  // Fetches what lies far ahead of row t.
  void prefetch(int64_t t) const {
    t += ahead_;
    if (t >= end_) return;
    const char* const bytes = reinterpret_cast<const char*>(data(t));
    const int64_t size = rows_.width * int64_t(sizeof(F));
    for (int64_t byte = 0; byte < size; byte += kCacheLine) __builtin_prefetch(bytes + byte);
  }

 private:
  void measure_group() {
    const int count = end_ - measured_ < group_ ? int(end_ - measured_) : group_;
    A squares[kRowGroup];
    for (int i = 0; i < count; ++i) {
      squares[i] = sum_of_squares(data(measured_ + i), rows_.width, copy(measured_ + i));
    }
    for (int i = 0; i < count; ++i) {
      const int64_t t = measured_ + i;
      Row<A>& row = row_[t % kWindowRows];
      if (!is_safe_norm(squares[i])) {
        row = measure_unusual<F, A>(data(t), rows_, copy(t));
        continue;
      }
      row = {copy(t), copy(t), {A(1), inverse_root(squares[i])}};
      if constexpr (kSame<F, A>) row.whole = data(t);
    }
    measured_ += count;
  }

  const F* data(int64_t t) const { return static_cast<const F*>(rows_.data) + t * rows_.stride; }
  A* copy(int64_t t) const { return scratch_ + t % kWindowRows * rows_.padded; }

  const Rows rows_;
  A* const scratch_;
  int64_t measured_;
  const int64_t end_;
  const int group_;
  const int64_t ahead_;
  Row<A> row_[kWindowRows];
};

// |u - v|^2 of two rows at length 1.
template <class A>
LADNET_INLINE A squared_distance(const Row<A>& row, const Row<A>& next, int64_t width) {
  constexpr int L = kLanes<A>;
  const int64_t whole = width / L * L;
  const A inverse = row.norm.inverse;
  const A inverse_next = next.norm.inverse;
  Vec<A> even{};
  Vec<A> odd{};
  const auto add = [&](const A* x, const A* y, Vec<A>& squares) {
    const Vec<A> difference = load(x) * inverse - load(y) * inverse_next;
    squares = multiply_add(difference, difference, squares);
  };
  int64_t c = 0;
  for (; c + 2 * L <= whole; c += 2 * L) {
    add(row.whole + c, next.whole + c, even);
    add(row.whole + c + L, next.whole + c + L, odd);
  }
  if (c < whole) add(row.whole + c, next.whole + c, even);
  if (whole < width) add(row.copy + whole, next.copy + whole, odd);
  return sum<A>(even + odd);
}

// df of two neighbours.
template <class A>
LADNET_INLINE A step_dynamics(const Row<A>& row, const Row<A>& next, int64_t width) {
  const bool zeros = (row.norm.inverse == A(0)) | (next.norm.inverse == A(0));
  return zeros ? zero_row_dynamics(row.norm.inverse, next.norm.inverse)
               : clamped_dynamics(squared_distance(row, next, width));
}

template <class F>
void dynamics(const Rows& rows, int64_t begin, int64_t end, Accumulation<F>* out,
              Accumulation<F>* scratch) {
  if (begin >= end) return;
  Window<F> window(rows, begin, end + 1, scratch);
  window.at(begin);
  for (int64_t t = begin; t < end; ++t) {
    const Row<Accumulation<F>>& next = window.at(t + 1);
    out[t] = step_dynamics(window.earlier(t), next, rows.width);
  }
}

// The gradient of one row between its neighbours; `pull` is scratch.
template <class F, bool kStream>
LADNET_INLINE void gradient_row(const Row<Accumulation<F>>& previous,
                                const Row<Accumulation<F>>& row, const Row<Accumulation<F>>& next,
                                Accumulation<F> slope_before, Accumulation<F> slope_after,
                                int64_t width, F* out, Accumulation<F>* pull) {
  using A = Accumulation<F>;
  constexpr int L = kLanes<A>;
  const int64_t whole = width / L * L;
  const A scale = row.norm.inverse * row.norm.scale;
  const A g_before = slope_before * scale;
  const A g_after = slope_after * scale;
  const A inverse_before = previous.norm.inverse;
  const A inverse = row.norm.inverse;
  const A inverse_after = next.norm.inverse;
  Vec<A> even{};
  Vec<A> odd{};
  const auto measure = [&](int64_t at, const A* before, const A* here, const A* after,
                           Vec<A>& along) {
    const Vec<A> u = load(here + at) * inverse;
    const Vec<A> each = dynamics_pull(load(before + at) * inverse_before, u,
                                      load(after + at) * inverse_after, g_before, g_after);
    store(pull + at, each);
    along = multiply_add(u, each, along);
  };
  // Locals: the compiler must assume that a store into scratch changes what `row` holds.
  const A* const x_before = previous.whole;
  const A* const x = row.whole;
  const A* const x_after = next.whole;
  const A* const x_end = row.copy;
  int64_t c = 0;
  for (; c + 2 * L <= whole; c += 2 * L) {
    measure(c, x_before, x, x_after, even);
    measure(c + L, x_before, x, x_after, odd);
  }
  if (c < whole) measure(c, x_before, x, x_after, even);
  if (whole < width) measure(whole, previous.copy, x_end, next.copy, odd);

  const A along = sum<A>(even + odd) * inverse;
  const auto gradient = [&](int64_t at, const A* from) {
    return load(pull + at) - load(from + at) * along;
  };
  for (c = 0; c < whole; c += L) {
    if constexpr (kStream) {
      store_streaming(out + c, gradient(c, x));
    } else {
      store_row(out + c, gradient(c, x));
    }
  }
  if (whole < width) store_end(out + whole, gradient(whole, x_end), width - whole);
}

template <class F, bool kStream>
void gradient_rows(const Rows& rows, int64_t length, int64_t begin, int64_t end,
                   const Accumulation<F>* slopes, F* out, Accumulation<F>* scratch) {
  using A = Accumulation<F>;
  const int64_t width = rows.width;
  const int64_t first = begin > 0 ? begin - 1 : 0;
  Window<F> window(rows, first, end < length ? end + 1 : length, scratch + rows.padded);
  for (int64_t t = first; t <= begin; ++t) window.at(t);
  for (int64_t t = begin; t < end; ++t, out += width) {
    // At the ends of a bag the row stands in for its missing neighbour, whose slope is 0.
    const Row<A>& next = window.at(t + 1 < length ? t + 1 : t);
    gradient_row<F, kStream>(window.earlier(t > 0 ? t - 1 : t), window.earlier(t), next,
                             slopes[t - begin], slopes[t - begin + 1], width, out, scratch);
  }
}

// Dynamics and gradient in one pass, each as the pass of its own computes it.
template <class F, bool kStream>
void both_rows(const Rows& rows, int64_t length, int64_t begin, int64_t end,
               const AlignmentScores<Accumulation<F>>& alignment, Accumulation<F>* dynamics, F* out,
               Accumulation<F>* scratch) {
  using A = Accumulation<F>;
  const int64_t width = rows.width;
  const int64_t first = begin > 0 ? begin - 1 : 0;
  Window<F> window(rows, first, end < length ? end + 1 : length, scratch + rows.padded);
  for (int64_t t = first; t <= begin; ++t) window.at(t);
  const auto slope = [&](int64_t t, A df) {
    const A ds = magnitude(alignment.scores[t] - alignment.scores[t + 1]);
    return alignment.weight * alignment_slope(ds, df, alignment.eps);
  };
  // slopes[i] is that of step t - 1 + i, 0 where the bag has no such step.
  A slopes[kRowGroup + 2];
  slopes[0] = A(0);
  if (first < begin) {
    slopes[0] = slope(first, step_dynamics(window.earlier(first), window.earlier(begin), width));
  }
  // A slope waits for a whole sum and a division, a row for its slopes: all steps between the rows
  // that were measured together come first.
  for (int64_t t = begin; t < end;) {
    window.at(t + 1 < length ? t + 1 : t);
    const int64_t measured = window.measured();
    const int64_t ready = measured == length ? length : measured - 1;
    const int64_t stop = ready < end ? ready : end;
    for (int64_t i = t; i < stop; ++i) {
      A& after = slopes[i - t + 1];
      after = A(0);
      if (i + 1 == length) continue;
      dynamics[i] = step_dynamics(window.earlier(i), window.earlier(i + 1), width);
      after = slope(i, dynamics[i]);
    }
    for (int64_t i = t; i < stop; ++i, out += width) {
      window.prefetch(i);
      const A* const around = slopes + (i - t);
      gradient_row<F, kStream>(window.earlier(i > 0 ? i - 1 : i), window.earlier(i),
                               window.earlier(i + 1 < length ? i + 1 : i), around[0], around[1],
                               width, out, scratch);
    }
    slopes[0] = slopes[stop - t];
    t = stop;
  }
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
      gradient_rows<F, true>(rows, length, begin, end, slopes, to, scratch);
      finish_streaming();
      return;
    }
  }
  gradient_rows<F, false>(rows, length, begin, end, slopes, to, scratch);
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
