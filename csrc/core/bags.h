// Where the bags of a batch lie: padded with lengths, or packed end to end.
#pragma once

#include <stdint.h>

#include <vector>

namespace ladnet {

// Snippets first .. first + length - 1 of batch entry `batch`.
struct Bag {
  int64_t batch;
  int64_t first;
  int64_t length;
};

// Lists the bags of a (batches, T) layout. `lengths` has one entry per batch entry, `cu_seqlens`
// has `offsets` entries and belongs to batch entry 0; at most one of them is given, and without
// either every bag has T snippets. Values are trusted: Python has checked them.
inline std::vector<Bag> list_bags(int64_t batches, int64_t T, const int64_t* lengths,
                                  const int64_t* cu_seqlens, int64_t offsets) {
  std::vector<Bag> bags;
  if (cu_seqlens != nullptr) {
    for (int64_t n = 0; n + 1 < offsets; ++n) {
      bags.push_back({0, cu_seqlens[n], cu_seqlens[n + 1] - cu_seqlens[n]});
    }
    return bags;
  }
  for (int64_t b = 0; b < batches; ++b) {
    bags.push_back({b, 0, lengths != nullptr ? lengths[b] : T});
  }
  return bags;
}

}  // namespace ladnet
