// The prior G = exp(-|w d^2 + b|) as a table over the signed distance d, and how far it reaches.
#pragma once

#include <stdint.h>

#include "cpu/attention_types.h"
#include "cpu/buffer.h"

namespace ladnet::attention {

// The largest distance below `length` with |w d^2 + b| <= cut; -1 if there is none. The largest,
// not the first behind which the prior falls: for w < 0 < b it grows before it falls. With a NaN or
// infinite w or b the band is everything, so that the result shows it.
int64_t band_radius(double w, double b, int64_t length, double cut);

enum class TableType { kFloat32, kFloat64, kBFloat16 };

// Which tables of the prior a pass reads; see Band.
struct TableNeeds {
  bool gain;       // additive
  bool gain_log2;  // logit
  bool slopes;     // gradients of w and b
  TableType gain_type;
  TableType real_type;  // of the logits and slopes
};

// The tables of one head, for all distances between `length` snippets, and `margin` entries more on
// both sides, which a kernel may read: the rows and columns of a tile.
class BandTables {
 public:
  BandTables(double w, double b, int64_t length, int64_t margin, const TableNeeds& needs);

  // For a bag of `length` snippets, at most the length that the tables were made for.
  Band band(int64_t length) const;

 private:
  Band band_;
  Buffer memory_;
};

}  // namespace ladnet::attention
