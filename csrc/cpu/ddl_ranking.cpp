#include "cpu/ddl_ranking.h"

#include <algorithm>

#include "cpu/parallel.h"

namespace ladnet::ddl {
namespace {

double mean(const std::vector<double>& energies, const std::vector<size_t>& bags) {
  double sum = 0.0;
  for (size_t i : bags) sum += energies[i];
  return sum / double(bags.size());
}

void rank_batch_means(const std::vector<double>& energies, const std::vector<size_t>& anomalous,
                      const std::vector<size_t>& normal, double margin, Ranking& ranking) {
  const double e_anomalous = mean(energies, anomalous);
  const double e_normal = mean(energies, normal);
  const double slope = hinge_slope(margin, e_anomalous, e_normal);
  ranking.loss = hinge(margin, e_anomalous, e_normal);
  for (size_t i : anomalous) ranking.slopes[i] = -slope / double(anomalous.size());
  for (size_t i : normal) ranking.slopes[i] = slope / double(normal.size());
}

void rank_one_to_one(const std::vector<double>& energies, const std::vector<size_t>& anomalous,
                     const std::vector<size_t>& normal, double margin, Ranking& ranking) {
  const size_t pairs = std::min(anomalous.size(), normal.size());
  for (size_t i = 0; i < pairs; ++i) {
    const double e_anomalous = energies[anomalous[i]];
    const double e_normal = energies[normal[i]];
    const double slope = hinge_slope(margin, e_anomalous, e_normal) / double(pairs);
    ranking.loss += hinge(margin, e_anomalous, e_normal);
    ranking.slopes[anomalous[i]] = -slope;
    ranking.slopes[normal[i]] = slope;
  }
  ranking.loss /= double(pairs);
}

void rank_all_pairs(const std::vector<double>& energies, const std::vector<size_t>& anomalous,
                    const std::vector<size_t>& normal, double margin, int threads,
                    Ranking& ranking) {
  const double pairs = double(anomalous.size()) * double(normal.size());
  std::vector<double> losses(anomalous.size(), 0.0);
  // Every bag goes through its partners by itself: twice the hinges, no shared sums.
  parallel_for(int64_t(anomalous.size()), threads, [&](int64_t i, int) {
    const size_t bag = anomalous[size_t(i)];
    double active = 0.0;
    for (size_t other : normal) {
      losses[size_t(i)] += hinge(margin, energies[bag], energies[other]);
      active += hinge_slope(margin, energies[bag], energies[other]);
    }
    ranking.slopes[bag] = -active / pairs;
  });
  parallel_for(int64_t(normal.size()), threads, [&](int64_t i, int) {
    const size_t bag = normal[size_t(i)];
    double active = 0.0;
    for (size_t other : anomalous) {
      active += hinge_slope(margin, energies[other], energies[bag]);
    }
    ranking.slopes[bag] = active / pairs;
  });
  for (double loss : losses) ranking.loss += loss;
  ranking.loss /= pairs;
}

}  // namespace

Ranking rank_bags(const std::vector<double>& energies, const bool* labels, const Options& options,
                  int threads) {
  std::vector<size_t> anomalous;
  std::vector<size_t> normal;
  for (size_t i = 0; i < energies.size(); ++i) (labels[i] ? anomalous : normal).push_back(i);
  Ranking ranking{0.0, std::vector<double>(energies.size(), 0.0)};
  if (anomalous.empty() || normal.empty()) return ranking;
  switch (options.pairing) {
    case Pairing::kBatchMean:
      rank_batch_means(energies, anomalous, normal, options.margin, ranking);
      break;
    case Pairing::kAllPairs:
      rank_all_pairs(energies, anomalous, normal, options.margin, threads, ranking);
      break;
    case Pairing::kOneToOne:
      rank_one_to_one(energies, anomalous, normal, options.margin, ranking);
      break;
  }
  return ranking;
}

}  // namespace ladnet::ddl
