// The losses in naive loops: what csrc/cpu/ddl.h computes from bags of scores and feature rows.
#pragma once

#include <algorithm>
#include <numeric>

#include "core/ddl_batch.h"
#include "rounded.h"

using Numbers = std::vector<Rounded>;

struct NaiveBag {
  bool anomalous;
  std::vector<double> scores;
  std::vector<std::vector<double>> rows;  // of features
  Numbers grad_scores;                    // of weights[0] MIL + weights[1] ranking + ...
  std::vector<Numbers> grad_rows;
};

// The indices of the k largest. Which they are must not hang on a rounding.
inline std::vector<size_t> k_largest(const std::vector<double>& values, int64_t k) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] > values[b]; });
  const auto count = static_cast<size_t>(k);
  if (k > 0 && count < order.size()) {
    const double gap = values[order[count - 1]] - values[order[count]];
    CHECK(gap > 1e-6, "the test's data tie: %g apart", gap);
  }
  order.resize(count);
  return order;
}

inline Rounded mean_of(const std::vector<double>& values, const std::vector<size_t>& chosen) {
  Rounded sum;
  for (size_t i : chosen) sum += values[i];
  return chosen.empty() ? sum : sum / double(chosen.size());
}

// Binary cross entropy between the label and the mean of the largest scores.
inline Rounded naive_mil(std::vector<NaiveBag>& bags, int64_t divisor, double weight) {
  Rounded loss;
  const double N = double(bags.size());
  for (NaiveBag& bag : bags) {
    const auto T = static_cast<int64_t>(bag.scores.size());
    const std::vector<size_t> chosen =
        k_largest(bag.scores, bag.anomalous ? std::min(T / divisor + 1, T) : 1);
    const Rounded p = mean_of(bag.scores, chosen);
    loss += (bag.anomalous ? log(p) : log(Rounded(1) - p)) / -N;
    const Rounded slope = bag.anomalous ? Rounded(-1) / p : Rounded(1) / (Rounded(1) - p);
    for (size_t t : chosen) bag.grad_scores[t] += slope / (N * double(chosen.size())) * weight;
  }
  return loss;
}

// Pairs of bags, an anomalous and a normal one, between which the hinge stands; batch means are
// pairs of their own.
inline Rounded naive_ranking(std::vector<NaiveBag>& bags, const ladnet::ddl::Options& options,
                             double weight) {
  using ladnet::ddl::Pairing;
  std::vector<size_t> classes[2];
  std::vector<std::vector<size_t>> chosen;
  Numbers energies, slopes(bags.size());
  for (size_t i = 0; i < bags.size(); ++i) {
    classes[bags[i].anomalous].push_back(i);
    std::vector<double> squares;
    for (size_t t = 0; t + 1 < bags[i].scores.size(); ++t) {
      squares.push_back(square(bags[i].scores[t] - bags[i].scores[t + 1]));
    }
    const auto steps = static_cast<int64_t>(squares.size());
    const int64_t k = std::min((steps + 1) / options.topk_divisor + 1, steps);
    chosen.push_back(k_largest(squares, options.select == ladnet::ddl::Select::kAll ? steps : k));
    energies.push_back(mean_of(squares, chosen.back()));
  }
  Rounded loss;
  const auto hinge = [&](const Rounded& anomalous, const Rounded& normal, double share) {
    const Rounded x = Rounded(options.margin) - anomalous + normal;
    CHECK(std::fabs(x.value) > 1e-6, "the test's data meet the kink of a hinge");
    if (x.value > 0) loss += x * share;
    return x.value > 0 ? share : 0.0;
  };
  const std::vector<size_t>&normal = classes[0], &anomalous = classes[1];
  if (options.pairing == Pairing::kBatchMean) {
    Rounded sums[2];
    for (int c : {0, 1}) {
      for (size_t i : classes[c]) sums[c] += energies[i] / double(classes[c].size());
    }
    const double slope = hinge(sums[1], sums[0], 1.0);
    for (size_t i : anomalous) slopes[i] += -slope / double(anomalous.size());
    for (size_t i : normal) slopes[i] += slope / double(normal.size());
  }
  const size_t fewer = std::min(normal.size(), anomalous.size());
  for (size_t a = 0; a < anomalous.size(); ++a) {
    for (size_t n = 0; n < normal.size(); ++n) {
      double share = 0;
      if (options.pairing == Pairing::kAllPairs) {
        share = 1.0 / double(anomalous.size() * normal.size());
      } else if (options.pairing == Pairing::kOneToOne && a == n) {
        share = 1.0 / double(fewer);
      }
      if (share == 0) continue;
      const double slope = hinge(energies[anomalous[a]], energies[normal[n]], share);
      slopes[anomalous[a]] += -slope;
      slopes[normal[n]] += slope;
    }
  }
  for (size_t i = 0; i < bags.size(); ++i) {
    for (size_t t : chosen[i]) {
      const Rounded step = Rounded(bags[i].scores[t]) - bags[i].scores[t + 1];
      const Rounded grad = slopes[i] / double(chosen[i].size()) * step * (2 * weight);
      bags[i].grad_scores[t] += grad;
      bags[i].grad_scores[t + 1] += grad * -1;
    }
  }
  return loss;
}

// Unit vectors; empty for a row of zeros, which has no direction.
inline Numbers direction(const std::vector<double>& row, Rounded* norm) {
  Rounded squares;
  for (double x : row) squares += Rounded(x) * x;
  Numbers unit;
  if (squares.value == 0) return unit;
  *norm = sqrt(squares);
  for (double x : row) unit.push_back(Rounded(x) / *norm);
  return unit;
}

// Mean over the bags of the mean of -ds log(df + eps), with df = 1 - cos of neighbouring rows.
inline Rounded naive_alignment(std::vector<NaiveBag>& bags, const ladnet::ddl::Options& options,
                               double weight) {
  using ladnet::ddl::Detach;
  Rounded loss;
  for (NaiveBag& bag : bags) {
    const double share = 1.0 / (double(bag.scores.size() - 1) * double(bags.size()));
    for (size_t t = 0; t + 1 < bag.scores.size(); ++t) {
      Rounded lengths[2], df = 1.0;
      const Numbers u = direction(bag.rows[t], &lengths[0]);
      const Numbers v = direction(bag.rows[t + 1], &lengths[1]);
      bool flat = u.empty() || v.empty();
      if (!flat) {
        Rounded squares;
        for (size_t c = 0; c < u.size(); ++c) squares += (u[c] - v[c]) * (u[c] - v[c]);
        df = squares * 0.5;
        CHECK(std::fabs(df.value - 1) > 1e-6, "the test's data meet the clamp of df");
        // In one dimension rows are parallel or opposite, exactly.
        flat = df.value > 1 || df.value < 1e-12;
        if (flat) df = df.value > 1 ? 1.0 : 0.0;
      }
      const Rounded ds = Rounded(bag.scores[t]) - bag.scores[t + 1];
      const Rounded size = ds.value < 0 ? ds * -1 : ds;
      const Rounded cost = log(df + options.eps) * -1;
      loss += size * cost * share;
      if (options.detach != Detach::kScore) {
        const Rounded grad = cost * (share * weight * (ds.value < 0 ? -1 : 1));
        bag.grad_scores[t] += grad;
        bag.grad_scores[t + 1] += grad * -1;
      }
      if (flat || options.detach == Detach::kFeature) continue;
      // d cos / dx = (v - cos u) / |x| on this side of the step, (u - cos v) / |y| on the other.
      const Rounded cosine = Rounded(1) - df;
      const Rounded slope = size * (share * weight) / (df + options.eps);
      for (size_t c = 0; c < u.size(); ++c) {
        bag.grad_rows[t][c] += slope * (v[c] - cosine * u[c]) / lengths[0];
        bag.grad_rows[t + 1][c] += slope * (u[c] - cosine * v[c]) / lengths[1];
      }
    }
  }
  return loss;
}
