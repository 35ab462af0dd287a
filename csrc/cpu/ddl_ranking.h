// The ranking loss between bags, from their energies E (mean of the chosen ds^2).
#pragma once

#include <vector>

#include "cpu/ddl.h"

namespace ladnet::ddl {

struct Ranking {
  double loss;
  std::vector<double> slopes;  // d loss / d E, one per bag
};

// 0 without slopes where one of the classes is absent.
Ranking rank_bags(const std::vector<double>& energies, const bool* labels, const Options& options,
                  int threads);

}  // namespace ladnet::ddl
