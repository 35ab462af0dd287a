// The prior G = exp(-|w d^2 + b|) as a table over the signed distance d, and how far it reaches.
#pragma once

#include <stdint.h>

#include "cpu/attention_types.h"
#include "cpu/buffer.h"

namespace ladnet::attention {

// No distance beyond this and below `length` has |w d^2 + b| <= cut; -1 if none has at all. Not the
// first beyond which
// the prior falls: for w < 0 < b it grows before it dies. NaN and infinities reach everywhere, so
// that they show.
int64_t band_radius(double w, double b, int64_t length, double cut);

enum class TableType { kFloat32, kFloat64, kBFloat16 };

// What a pass reads of the prior; see Band.
struct TableNeeds {
  bool gain;       // additive
  bool gain_log2;  // logit
  bool slopes;     // gradients of w and b
  TableType gain_type;
  TableType real_type;  // of the logits and slopes
};

// The tables of one head, as far as `length` snippets can be apart; `margin` is how much farther a
// kernel may read: the rows and columns of a tile.
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
