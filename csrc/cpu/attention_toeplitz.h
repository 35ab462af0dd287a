// The additive prior's product with V where the prior is wide: G V in blocks, by interpolation.
//
// G_ij = g(i - j) is smooth where w d^2 + b keeps its sign: between the rows of one block and those
// of another it is a polynomial in both places to all digits, so that a block of V enters as kRank
// moments and a block of the result leaves as kRank values. csrc/README.md derives the error. The
// time is linear in T, and so that of backward: G is symmetric, and what w and b multiply in
// <dO, G V> is such a product, too.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "cpu/attention_plan.h"

namespace ladnet::attention {

// Snippets of a block, 32 or a power of two times that; 0 where the banded product serves: narrow
// priors, and those whose exponent changes its sign or isn't finite within the bag.
int64_t toeplitz_block(double w, double b, int64_t length, int64_t radius, bool wide_type);

class Toeplitz {
 public:
  // `rows` are V, `others` dO or, in the forward pass, nothing. Bags below `shortest` are not
  // served.
  Toeplitz(const Problem& problem, const std::vector<Segment>& segments,
           const std::vector<BandTables>& bands, int64_t shortest, const Tensor& rows,
           const Tensor* others);

  bool serves(size_t segment) const { return block_of(segment) > 0; }
  // What a kernel adds to a segment's outputs (of the forward pass) or to dV. Valid after run().
  FarPrior prior(size_t segment) const;
  // In two steps of all threads.
  void run();
  // A segment's share of the gradients of w and b, which `others` are needed for.
  void add_gradients(size_t segment, double sums[2]) const;

 private:
  // Tables of one w, b and block size.
  struct Tables {
    Buffer memory;
    char* basis;
    char* gain;  // between blocks that are 0, 1, ... apart
    char* slope_w;
    char* slope_b;
    int64_t reach;      // blocks
    double diagonal_b;  // what slope_b has too much at distance 0, where the exponent is 0
  };
  struct Item {
    size_t segment;
    int64_t block;
  };

  int64_t block_of(size_t segment) const { return places_[segment].block; }
  int64_t blocks_of(size_t segment) const {
    return divide_up(segments_[segment].bag.length, block_of(segment));
  }
  void make_tables(size_t head, int64_t block, int64_t blocks);
  ToeplitzTask task(size_t segment) const;

  struct Place {
    int64_t block = 0;
    int64_t offset = 0;  // of the moments of V, those of dO, and the values behind them
    size_t first_item = 0;
  };

  const Problem& problem_;
  const std::vector<Segment>& segments_;
  const ToeplitzKernels& kernels_;
  const Tensor rows_;
  const Tensor* others_;
  int64_t element_bytes_, padded_;
  std::map<std::pair<int64_t, int64_t>, Tables> tables_;  // by head and block size
  std::vector<Place> places_;
  std::vector<Item> items_;
  std::vector<double> gradients_;  // two of each item
  Buffer memory_;
};

}  // namespace ladnet::attention
