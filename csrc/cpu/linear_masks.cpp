// Dropout's masks: from PyTorch's generator, bit for bit as PyTorch draws them, in a tenth of the
// time.
#include <cmath>
#include <cstring>

#include "cpu/linear_plan.h"

namespace ladnet::linear {
namespace {

// What torch.Generator.get_state() returns for a CPU begins with this.
struct GeneratorState {
  uint64_t seed;
  int32_t left;  // words before the next turn, and one
  int32_t seeded;
  uint64_t next;  // the word that is drawn next
  uint64_t words[kTwisterWords];
};

}  // namespace

void draw_keeps(void* generator_state, double keep, int64_t count, uint8_t* keeps) {
  GeneratorState state;
  std::memcpy(&state, generator_state, sizeof(state));
  Twister twister;
  for (int i = 0; i < kTwisterWords; ++i) twister.words[i] = static_cast<uint32_t>(state.words[i]);
  twister.used = state.left == 1 ? kTwisterWords : static_cast<int>(state.next);
  // number * 2^-53 < keep, both sides exact, for a whole number.
  const auto threshold = static_cast<uint64_t>(std::ceil(std::ldexp(keep, 53)));
  LADNET_SELECT(linear_kernels).draw_keeps(twister, threshold, count, keeps);
  for (int i = 0; i < kTwisterWords; ++i) state.words[i] = twister.words[i];
  state.next = static_cast<uint64_t>(twister.used);
  state.left = kTwisterWords + 1 - twister.used;
  std::memcpy(generator_state, &state, sizeof(state));
}

}  // namespace ladnet::linear
