#include "cpu/dispatch.h"

#include <cstdlib>
#include <stdexcept>

namespace ladnet {
namespace {

bool processor_has(InstructionSet set) {
  switch (set) {
    case InstructionSet::kBaseline:
      return true;
#ifdef LADNET_HAVE_AVX2
    case InstructionSet::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#ifdef LADNET_HAVE_AVX512
    case InstructionSet::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    default:
      return false;
  }
}

InstructionSet choose() {
  const std::vector<InstructionSet> available = available_instruction_sets();
  const char* forced = std::getenv("LADNET_CPU");
  if (forced == nullptr || *forced == '\0') return available.back();
  std::string names;
  for (InstructionSet set : available) {
    if (name_of(set) == forced) return set;
    names += (names.empty() ? "" : ", ") + name_of(set);
  }
  throw std::runtime_error("the environment variable LADNET_CPU must be one of " + names +
                           " on this processor and in this build; got '" + forced +
                           "'. Unset it to take the best.");
}

}  // namespace

std::vector<InstructionSet> available_instruction_sets() {
  std::vector<InstructionSet> sets;
  for (InstructionSet set :
       {InstructionSet::kBaseline, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (processor_has(set)) sets.push_back(set);
  }
  return sets;
}

InstructionSet instruction_set() {
  static const InstructionSet chosen = choose();
  return chosen;
}

bool has_bf16_dot() {
#ifdef LADNET_HAVE_AVX512_BF16
  return instruction_set() == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

std::string name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    default:
      return "baseline";
  }
}

}  // namespace ladnet
