// What the forward kernels leave for each other, and where it lies in the workspace.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include "core/ddl_batch.h"
#include "core/size.h"

namespace ladnet::ddl::gpu {

// What is selected from: the k largest scores (MIL), the k largest ds^2 (ranking).
enum Quantity : int { kScores = 0, kDynamics = 1, kQuantities = 2 };

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kPasses = 32 / kDigitBits;

// How far the search for the k-th largest key has come. No bag has 2^32 snippets:
// ops/ddl_loss/cuda.py refuses such batches.
struct Search {
  uint32_t prefix;  // the digits found so far
  uint32_t wanted;  // of the keys with that prefix, so many are chosen
  uint32_t same;    // so many there are
};

// Outcome of a top-k, and the state of a search that is spread over launches.
struct Selection {
  Cut<float> cut;
  Search searches[2];  // after an even and after an odd number of digits
};

// Derivatives of the terms, one for the whole bag.
struct BagSlopes {
  double alignment_loss;  // weight of a step in the alignment loss: 1 / ((t - 1) N)
  float alignment;        // the same for its gradient
  float mil;              // d mil / d(chosen score)
  float ranking;          // d ranking / d(chosen ds^2)
};

struct Workspace {
  Selection* selections;  // (bags, 2)
  BagSlopes* slopes;      // (bags,)
  double* energies;       // (bags,)
  double* pair_losses;    // (bags,) pairing all_pairs
  int64_t* order;         // (bags,) pairing one_to_one: anomalous bags, then normal ones
  double* sums;           // (2, slots) sums of the chosen values, one per chunk
  uint32_t*
      histograms;     // (2, 2, slots, kDigits): even and odd digits; only where bags may be split
  double* alignment;  // (parts,) of the alignment loss
  unsigned* arrived;  // blocks of finish_kernel that are done; the first launch sets it to 0
  int64_t slots;
  int64_t parts;
  int64_t bytes;
};

// Lays the arrays out from `base` on, which may be null where only the size is asked for.
inline Workspace lay_out(void* base, int64_t bags, int64_t slots, int64_t parts, bool split) {
  constexpr int64_t kAlignment = 256;
  int64_t used = 0;
  const auto place = [&](auto*& array, int64_t count) {
    using Element = std::remove_pointer_t<std::remove_reference_t<decltype(array)>>;
    array = base == nullptr ? nullptr : reinterpret_cast<Element*>(static_cast<char*>(base) + used);
    used += round_up(checked_product(count, int64_t(sizeof(Element))), kAlignment);
  };
  Workspace workspace{};
  place(workspace.selections, checked_product(bags, kQuantities));
  place(workspace.slopes, bags);
  place(workspace.energies, bags);
  place(workspace.pair_losses, bags);
  place(workspace.order, bags);
  place(workspace.sums, checked_product(slots, kQuantities));
  place(workspace.histograms, split ? checked_product(slots, 2 * kQuantities, kDigits) : 0);
  place(workspace.alignment, parts);
  place(workspace.arrived, 1);
  workspace.slots = slots;
  workspace.parts = parts;
  workspace.bytes = used;
  return workspace;
}

}  // namespace ladnet::ddl::gpu
