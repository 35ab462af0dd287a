// Operations that the lanes of a warp do together: shuffles, votes, matches, reductions.
#pragma once

#include <stdint.h>

namespace cuda_on_cpu {

enum class Collective : uint8_t {
  kSyncWarp,
  kShuffle,
  kBallot,
  kMatchAny,
  kReduceAdd,
  kReduceMin,
  kReduceMax,
  kReduceAnd,
  kReduceOr,
  kReduceXor,
};

const char* name_of(Collective kind);

// Where a call stands in the kernel's source.
struct Site {
  const char* file = "";
  int line = 0;
};

// What one lane brings to a collective, and what it takes away.
struct Request {
  Collective kind = Collective::kSyncWarp;
  unsigned mask = 0;       // the lanes that take part
  uint64_t value = 0;      // the low bits of the lane's operand
  int source_lane = 0;     // of a shuffle
  bool is_signed = false;  // how minima and maxima compare
  Site site;
  uint64_t result = 0;
};

// Computes every result. `lanes` holds 32 pointers, null for a lane that does not take part.
// A shuffle from such a lane gives all bits set (NaN, -1): on a GPU it is undefined.
void compute(Request* const lanes[32]);

}  // namespace cuda_on_cpu
