// Loops over the rows of features: what adds up to norms and steps, and the gradient of rows.
//
// What bounds these loops are loads and stores: each goes over several rows at once, whose
// neighbours stay in registers.
#pragma once

#include "cpu/ddl_isa.h"
#include "cpu/ddl_vectors.h"

namespace ladnet::ddl::LADNET_ISA {
namespace {

#define LADNET_INLINE_LAMBDA __attribute__((always_inline))

// Rows that a loop goes over at once: as many as there are registers for.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kBlock = 4;
#else
constexpr int kBlock = 2;
#endif

// A row with what it takes to bring it to length 1. Whole vectors are read at `whole`, which is the
// row itself or, where that would mean converting it again, its copy in scratch; what is behind the
// last whole vector always lies in the copy, with zeros behind.
template <class A>
struct Row {
  const A* whole;
  const A* copy;
  A inverse;
  A factor;  // of the gradient of u, to make it that of x
};

// What adds up to |x|^2; fills the part of the copy that Row promises.
template <class A, class F>
LADNET_INLINE Vec<A> square(const F* x, int64_t width, A* copy) {
  constexpr int L = kLanes<A>;
  const int64_t whole = width / L * L;
  Vec<A> even{}, odd{};
  const auto add = [&](int64_t c, Vec<A>& squares) LADNET_INLINE_LAMBDA {
    const Vec<A> a = load_row<A>(x + c);
    if constexpr (!kSame<F, A>) store(copy + c, a);
    squares = multiply_add(a, a, squares);
  };
  int64_t c = 0;
  for (; c + 4 * L <= whole; c += 4 * L) {
    add(c, even);
    add(c + L, odd);
    add(c + 2 * L, even);
    add(c + 3 * L, odd);
  }
  for (; c < whole; c += L) add(c, even);
  if (whole < width) {
    const Vec<A> a = load_end<A>(x + whole, width - whole);
    store(copy + whole, a);
    odd = multiply_add(a, a, odd);
  }
  return even + odd;
}

// Calls work(c, count, unit) for each vector of a row, c its first element, `count` of which exist;
// unit(c, i) are the elements of row i brought to length 1.
template <class A, int kCount, class Work>
LADNET_INLINE void for_vectors(const Row<A>* const (&rows)[kCount], int64_t width,
                               const Work& work) {
  constexpr int L = kLanes<A>;
  const int64_t whole = width / L * L;
  // Locals: the compiler must assume that a store changes what a row holds.
  const A* from[kCount];
  Vec<A> inverse[kCount];
  LADNET_UNROLL
  for (int i = 0; i < kCount; ++i) {
    from[i] = rows[i]->whole;
    inverse[i] = broadcast(rows[i]->inverse);
  }
  const auto unit = [&](int64_t c, int i)
                        LADNET_INLINE_LAMBDA { return load(from[i] + c) * inverse[i]; };
  for (int64_t c = 0; c < whole; c += L) work(c, L, unit);
  if (whole == width) return;
  LADNET_UNROLL
  for (int i = 0; i < kCount; ++i) from[i] = rows[i]->copy;
  work(whole, width - whole, unit);
}

// Of the steps between kSteps + 1 rows, with u their unit vectors and e = u_next - u: what adds up
// to |e|^2 and, with kPulls, to <u, e>.
template <class A, bool kPulls, int kSteps>
LADNET_INLINE void measure_steps(const Row<A>* const (&rows)[kSteps + 1], int64_t width,
                                 Vec<A>* lengths, Vec<A>* along) {
  Vec<A> squares[kSteps] = {}, products[kSteps] = {};
  for_vectors<A>(rows, width, [&](int64_t c, int64_t, const auto& unit) LADNET_INLINE_LAMBDA {
    Vec<A> u = unit(c, 0);
    LADNET_UNROLL
    for (int i = 0; i < kSteps; ++i) {
      const Vec<A> next = unit(c, i + 1), e = next - u;
      squares[i] = multiply_add(e, e, squares[i]);
      if constexpr (kPulls) products[i] = multiply_add(u, e, products[i]);
      u = next;
    }
  });
  LADNET_UNROLL
  for (int i = 0; i < kSteps; ++i) {
    lengths[i] = squares[i];
    along[i] = products[i];
  }
}

// What the gradient of a row is made of: so much of e of the step before, less so much of e of the
// step after and of u.
template <class A>
struct Pull {
  A before;
  A after;
  A along;
};

// The gradients of kCount rows, the first and the last of `rows` being their neighbours.
template <class F, bool kStream, int kCount, class A>
LADNET_INLINE void write_gradients(const Row<A>* const (&rows)[kCount + 2], const Pull<A>* pulls,
                                   int64_t width, F* out) {
  Vec<A> before[kCount], after[kCount], along[kCount];
  LADNET_UNROLL
  for (int i = 0; i < kCount; ++i) {
    before[i] = broadcast(pulls[i].before);
    after[i] = broadcast(-pulls[i].after);
    along[i] = broadcast(-pulls[i].along);
  }
  for_vectors<A>(rows, width, [&](int64_t c, int64_t count, const auto& unit) LADNET_INLINE_LAMBDA {
    Vec<A> u = unit(c, 1), e = u - unit(c, 0);
    LADNET_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const Vec<A> next = unit(c, i + 2), e_next = next - u;
      const Vec<A> gradient =
          multiply_add(e, before[i], multiply_add(e_next, after[i], u * along[i]));
      F* const to = out + i * width + c;
      if (count < kLanes<A>) {
        store_end(to, gradient, count);
      } else if constexpr (kStream) {
        store_streaming(to, gradient);
      } else {
        store_row<A>(to, gradient);
      }
      u = next;
      e = e_next;
    }
  });
}

// A row whose squares overflow, vanish or are not finite: scaled into `to`, then measured.
template <class F, class A>
__attribute__((noinline)) RowNorm<A> measure_unusual(const F* x, const Rows& rows, A* to) {
  Key<A> largest = 0;
  for (int64_t c = 0; c < rows.padded; ++c) {
    to[c] = c < rows.width ? load_as<A>(x[c]) : A(0);
    const Key<A> bits = bit_cast<Key<A>>(to[c]) & FloatBits<A>::kMagnitude;
    largest = bits > largest ? bits : largest;
  }
  const A not_a_number = key_value<A>(FloatBits<A>::kMagnitude);
  if (largest >= FloatBits<A>::kInfinity) return {A(1), not_a_number};
  const A scale = row_scale<A>(largest);
  Vec<A> squares{};
  for (int64_t c = 0; c < rows.padded; c += kLanes<A>) {
    const Vec<A> scaled = load(to + c) * scale;
    store(to + c, scaled);
    squares = multiply_add(scaled, scaled, squares);
  }
  const A total = sum<A>(squares);
  if (total == A(0)) return {A(1), A(0)};
  return {scale, inverse_root(total)};
}

}  // namespace
}  // namespace ladnet::ddl::LADNET_ISA
