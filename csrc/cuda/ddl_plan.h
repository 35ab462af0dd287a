// How both passes are cut into launches and blocks: from shapes, and from how many blocks the
// device can hold. The size of the workspace, the grids and the kernels' arguments come from one
// plan.
#pragma once

#include <stdint.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "core/size.h"
#include "cuda/ddl.h"
#include "cuda/ddl_layout.cuh"
#include "cuda/ddl_workspace.h"

namespace ladnet::ddl::gpu {

// ---- How a row of features is spread over lanes: by its width alone ----------------------------

struct RowShape {
  int lanes;
  int values;  // per lane
  constexpr int width() const { return lanes * values; }
  // Threads of a block: in the forward pass more, where rows leave room, because one block has to
  // find the top-k of a bag. A group of more than a warp has a block of its own: it meets at the
  // block's barriers.
  constexpr int forward_threads() const { return values > 16 ? 128 : 256; }
  constexpr int backward_threads() const { return 128; }
  // Threads that a multiprocessor holds at once, by registers (docs/gpu-resources.md), roughly: a
  // matter of speed alone.
  constexpr int forward_held() const { return values > 16 ? 512 : 768; }
  constexpr int backward_held() const { return values > 16 ? 256 : 512; }
};

constexpr RowShape kNarrow{8, 16};
constexpr RowShape kMedium{32, 16};
constexpr RowShape kWide{32, 32};
constexpr RowShape kWidest{128, 32};

inline RowShape row_shape(int64_t width) {
  for (const RowShape shape : {kNarrow, kMedium, kWide, kWidest}) {
    if (width <= shape.width()) return shape;
  }
  throw std::invalid_argument("the CUDA losses serve at most " + std::to_string(kWidest.width()) +
                              " features; got " + std::to_string(width));
}

// ---- The plan ----------------------------------------------------------------------------------

constexpr int kFinishThreads = 128;
constexpr int kJudgeThreads = 512;
constexpr int kPairThreads = 128;
constexpr int kCombineThreads = 256;

struct Plan {
  RowShape shape;
  // Forward: top-k of scores, beside the pass over the features.
  int64_t chunk;           // snippets from which one block selects
  int64_t slots;           // chunks of all bags
  bool split;              // a bag may be longer than a chunk, as far as shapes tell
  int rounds;              // launches
  int64_t strip;           // rows that a group of lanes walks through
  int64_t feature_blocks;  // of all rounds together
  // Forward: derivatives by the scores.
  int64_t part_size;  // snippets of a block
  int64_t parts;
  // Backward.
  int64_t backward_strip;
  int64_t backward_blocks;
  int64_t combine_blocks;  // with detached features

  // Feature blocks before a round.
  int64_t dealt(int round) const { return feature_blocks * round / rounds; }
  // Blocks of a round that select: from chunks, and, in the first round, from whole bags.
  int64_t chunk_blocks() const { return split ? kQuantities * slots : 0; }
  int64_t bag_blocks(const Batch& batch, int round) const {
    return round == 0 ? kQuantities * batch.bags : 0;
  }
  int64_t round_blocks(const Batch& batch, int round) const {
    return chunk_blocks() + bag_blocks(batch, round) + dealt(round + 1) - dealt(round);
  }
};

// Rows for each group of lanes, such that all groups are resident at once, but for what the longest
// strip says. Every strip reads one row (backward: two) of its neighbour, too: at least two.
inline int64_t strip_for(int64_t snippets, int64_t groups) {
  return std::clamp<int64_t>(divide_up(snippets, std::max<int64_t>(groups, 1)), 2, 64);
}

inline Plan make_plan(const Batch& batch, const Tuning& tuning) {
  constexpr int64_t kLeastChunk = 16384;
  constexpr int64_t kMostChunks = 128;  // of a bag; every block of a bag looks at all of them
  constexpr int64_t kMostParts = 768;   // one block adds them up

  Plan plan{};
  plan.shape = row_shape(batch.width);
  plan.chunk = tuning.chunk > 0
                   ? tuning.chunk
                   : std::max(kLeastChunk, round_up(divide_up(batch.T, kMostChunks), kLeastChunk));
  plan.slots = count_slots(batch, plan.chunk);
  plan.split = batch.T > plan.chunk;
  plan.rounds = plan.split ? kPasses + 1 : 1;

  const int64_t snippets = batch.snippets();
  const int64_t threads = plan.shape.forward_threads();
  const int64_t groups = threads / plan.shape.lanes;
  const int64_t held = tuning.multiprocessors * plan.shape.forward_held() / threads;
  // Blocks that select whole bags are many and short: they leave at least half of the device.
  const int64_t selecting = plan.split ? plan.chunk_blocks() : plan.bag_blocks(batch, 0);
  const int64_t blocks = plan.rounds * std::max(held - selecting, held / 2);
  plan.strip = tuning.strip > 0 ? tuning.strip : strip_for(snippets, blocks * groups);
  plan.feature_blocks = divide_up(divide_up(snippets, plan.strip), groups);

  const int64_t part = tuning.part > 0 ? tuning.part : divide_up(snippets, kMostParts);
  plan.part_size = round_up(part, kFinishThreads);
  plan.parts = divide_up(snippets, plan.part_size);

  const int64_t backward_groups = plan.shape.backward_threads() / plan.shape.lanes;
  plan.backward_strip =
      tuning.strip > 0 ? tuning.strip
                       : strip_for(snippets, tuning.multiprocessors * plan.shape.backward_held() /
                                                 plan.shape.lanes);
  plan.backward_blocks = divide_up(divide_up(snippets, plan.backward_strip), backward_groups);
  const int64_t vectors = divide_up(checked_product(snippets, batch.width), 4);
  plan.combine_blocks = std::min(divide_up(std::max(snippets, vectors), kCombineThreads),
                                 tuning.multiprocessors * 2048 / kCombineThreads);
  return plan;
}

// Whether every block of the last launch judges all bags by itself: there are few, and the hinge is
// one for all of them. Else a launch before does.
constexpr int64_t kFewBags = 256;
inline bool judges_in_finish(const Batch& batch, Pairing pairing) {
  return pairing == Pairing::kBatchMean && batch.bags <= kFewBags;
}

}  // namespace ladnet::ddl::gpu
