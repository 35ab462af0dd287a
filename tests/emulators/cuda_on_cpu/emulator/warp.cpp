#include "warp.h"

namespace cuda_on_cpu {
namespace {

uint64_t combine(const Request& lane, int index, uint64_t so_far, bool is_first) {
  const uint64_t value = lane.value;
  const bool is_less = lane.is_signed ? int64_t(value) < int64_t(so_far) : value < so_far;
  const bool is_more = lane.is_signed ? int64_t(value) > int64_t(so_far) : value > so_far;
  switch (lane.kind) {
    case Collective::kBallot:
      return so_far | uint64_t(value != 0) << index;
    case Collective::kReduceAdd:
      return so_far + value;
    case Collective::kReduceOr:
      return so_far | value;
    case Collective::kReduceXor:
      return so_far ^ value;
    case Collective::kReduceAnd:
      return is_first ? value : so_far & value;
    case Collective::kReduceMin:
      return is_first || is_less ? value : so_far;
    case Collective::kReduceMax:
      return is_first || is_more ? value : so_far;
    default:
      return 0;
  }
}

}  // namespace

const char* name_of(Collective kind) {
  static const char* const kNames[] = {
      "__syncwarp",        "__shfl_*_sync",     "__ballot/any/all_sync", "__match_any_sync",
      "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync",     "__reduce_and_sync",
      "__reduce_or_sync",  "__reduce_xor_sync",
  };
  return kNames[static_cast<int>(kind)];
}

void compute(Request* const lanes[32]) {
  uint64_t total = 0;
  bool is_first = true;
  for (int l = 0; l < 32; ++l) {
    if (lanes[l] == nullptr) continue;
    total = combine(*lanes[l], l, total, is_first);
    is_first = false;
  }
  for (int l = 0; l < 32; ++l) {
    Request* lane = lanes[l];
    if (lane == nullptr) continue;
    lane->result = total;
    if (lane->kind == Collective::kShuffle) {
      const Request* source = lanes[lane->source_lane];
      lane->result = source != nullptr ? source->value : ~uint64_t(0);
    }
    if (lane->kind == Collective::kMatchAny) {
      lane->result = 0;
      for (int other = 0; other < 32; ++other) {
        if (lanes[other] != nullptr && lanes[other]->value == lane->value) {
          lane->result |= uint64_t(1) << other;
        }
      }
    }
  }
}

}  // namespace cuda_on_cpu
