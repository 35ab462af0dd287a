// The losses of discriminative dynamics learning, one element at a time.
//
// Everything that a kernel does to one score, one step or one bag is written here once and compiled
// by the CPU's and the GPU's compiler alike. Notation: s a score, ds = |s_t - s_{t+1}|, df the
// feature dynamics 1 - cos(x_t, x_{t+1}), y a bag's label, t a bag's number of snippets.
#pragma once

#include <math.h>
#include <stdint.h>

#include "core/ddl_math.h"

namespace ladnet::ddl {

enum class Pairing : int { kBatchMean = 0, kAllPairs = 1, kOneToOne = 2 };
enum class Select : int { kTopK = 0, kAll = 1 };
enum class Detach : int { kNone = 0, kScore = 1, kFeature = 2 };

// ---- How many are chosen -----------------------------------------------------------------------

// k of the MIL loss: min(floor(t / divisor) + 1, t) scores of an anomalous bag, one of a normal
// one.
LADNET_HOST_DEVICE int64_t mil_count(int64_t length, int64_t divisor, bool anomalous) {
  const int64_t k = length / divisor + 1;
  return !anomalous ? 1 : (k < length ? k : length);
}

// k of the ranking loss: min(floor(t / divisor) + 1, t - 1) steps, or all t - 1.
LADNET_HOST_DEVICE int64_t ranking_count(int64_t length, int64_t divisor, Select select) {
  const int64_t k = length / divisor + 1;
  const int64_t steps = length - 1;
  return select == Select::kAll || k > steps ? steps : k;
}

// Which elements of a bag a top-k chose: all above the threshold, and of those equal to it the ones
// with an index up to `last_tie`, so that the lowest indices are chosen.
template <class A>
struct Cut {
  Key<A> threshold;
  int64_t last_tie;
};

template <class K, class Index>
LADNET_HOST_DEVICE bool is_chosen(K threshold, Index last_tie, K key, Index index) {
  return (key > threshold) | ((key == threshold) & (index <= last_tie));
}

// ---- MIL: binary cross entropy of a bag's score p ----------------------------------------------

// At least -100, as in torch.nn.BCELoss; a NaN stays NaN.
LADNET_HOST_DEVICE double clamped_log(double log_p) {
  return log_p < -100.0 ? -100.0 : log_p;
}

LADNET_HOST_DEVICE double cross_entropy(double p, double y) {
  return (y - 1.0) * clamped_log(log1p(-p)) - y * clamped_log(log(p));
}

// d cross_entropy / dp, as torch.nn.BCELoss defines it where p is 0 or 1.
LADNET_HOST_DEVICE double cross_entropy_slope(double p, double y) {
  const double spread = (1.0 - p) * p;
  return (p - y) / (spread < 1e-12 ? 1e-12 : spread);
}

// ---- Ranking: a hinge between bags -------------------------------------------------------------

// max(0, margin - e_anomalous + e_normal); a NaN stays NaN.
LADNET_HOST_DEVICE double hinge(double margin, double e_anomalous, double e_normal) {
  const double x = margin - e_anomalous + e_normal;
  return x <= 0.0 ? 0.0 : x;
}

// 1 where the hinge has a slope, 0 on its flat side and at the kink.
LADNET_HOST_DEVICE double hinge_slope(double margin, double e_anomalous, double e_normal) {
  return margin - e_anomalous + e_normal <= 0.0 ? 0.0 : 1.0;
}

// ---- Alignment: -ds log(df + eps) --------------------------------------------------------------

// d|u| / du, 0 at 0; 0 for NaN, which shows in the loss already.
template <class A>
LADNET_HOST_DEVICE A sign(A u) {
  return u > A(0) ? A(1) : (u < A(0) ? A(-1) : A(0));
}

template <class A>
LADNET_HOST_DEVICE A magnitude(A u) {
  return u < A(0) ? -u : u;
}

// df from the sum of squares |u - v|^2 of the normalised rows, clamped to [0, 1]; a NaN stays NaN.
// 1 - <u, v> would cancel for rows that are nearly parallel. Rows whose angle is within the
// rounding of u and v count as parallel, so that multiples of a row have df = 0 and no gradient,
// not noise.
template <class A>
LADNET_HOST_DEVICE A clamped_dynamics(A squares) {
  const A df = A(0.5) * squares;
  return df > A(1) ? A(1) : (df <= FloatBits<A>::kParallel ? A(0) : df);
}

// d(-ds log(df + eps)) / d df, 0 on the clamp's flat sides and kinks.
template <class A>
LADNET_HOST_DEVICE A alignment_slope(A ds, A df, A eps) {
  const bool flat = (df <= A(0)) | (df >= A(1));
  return flat ? A(0) : -ds / (df + eps);
}

// ---- Feature rows ------------------------------------------------------------------------------

// A row is used as (x * scale) * inverse, of length 1. scale is a power of two, other than 1 only
// for rows whose squares would overflow or vanish; inverse is 0 for a row of zeros.
template <class A>
struct RowNorm {
  A scale;
  A inverse;
};

// df between a row of zeros and another row: 1, since the cosine counts as 0. Takes both rows'
// inverse norms, so that a NaN stays NaN.
template <class A>
LADNET_HOST_DEVICE A zero_row_dynamics(A inverse, A inverse_next) {
  return A(1) + A(0) * (inverse + inverse_next);
}

template <class A>
LADNET_HOST_DEVICE bool is_safe_norm(A squares) {
  return squares >= FloatBits<A>::kSafeLow && squares <= FloatBits<A>::kSafeHigh;
}

// The power of two that brings the largest magnitude of a row (as bits) near 1.
template <class A>
LADNET_HOST_DEVICE A row_scale(Key<A> largest) {
  using Bits = FloatBits<A>;
  const Key<A> top = 2 * Bits::kBias;
  Key<A> exponent = top - (largest >> Bits::kMantissa);
  exponent = exponent < 1 ? 1 : (exponent > top - 1 ? top - 1 : exponent);
  return bit_cast<A>(exponent << Bits::kMantissa);
}

// One element of the pull on the normalised row u of snippet t: the gradient with respect to u of
//   g_prev df(t-1, t) + g_next df(t, t+1),  df = |u - v|^2 / 2.
// The gradient of the row itself is (pull - <u, pull> u) / |x|. The product <u, pull> has to be
// measured: from df it would follow as g df, but u is of length 1 up to rounding only, and for rows
// that are nearly parallel that rounding is as large as the pull. V is a number or a vector of
// them. (The CPU's kernels have u - v of every step at hand, and measure the products with it.)
template <class V, class A>
LADNET_HOST_DEVICE V dynamics_pull(V u_prev, V u, V u_next, A g_prev, A g_next) {
  return (u - u_prev) * g_prev + (u - u_next) * g_next;
}

}  // namespace ladnet::ddl
