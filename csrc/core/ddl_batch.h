// What the losses are computed from: the bags of a batch and the options.
#pragma once

#include <stdint.h>

#include "core/ddl_elements.h"
#include "core/dtype.h"

namespace ladnet::ddl {

// Padded bags of T snippets each, or (with cu_seqlens) bags packed into T snippets.
struct Batch {
  int64_t bags;
  int64_t T;
  int64_t width;              // C
  const void* scores;         // (bags, T) or (T,), contiguous
  const void* features;       // (bags, T, C) or (T, C)
  Dtype dtype;                // of the features
  int64_t batch_stride;       // elements from bag to bag; unused when packed
  int64_t row_stride;         // elements from snippet to snippet
  const int64_t* lengths;     // (bags,) or null
  const int64_t* cu_seqlens;  // (bags + 1,) or null

  LADNET_HOST_DEVICE int64_t snippets() const { return cu_seqlens != nullptr ? T : bags * T; }
};

struct Options {
  double margin;
  double eps;
  int64_t topk_divisor;
  Pairing pairing;
  Select select;
  Detach detach;
};

}  // namespace ladnet::ddl
