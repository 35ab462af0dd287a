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

bool choose_bf16_dot(InstructionSet set) {
  bool possible = false, faster = false;
#ifdef LADNET_HAVE_AVX512_BF16
  possible = set == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bf16");
  faster = __builtin_cpu_is("amd");
#else
  static_cast<void>(set);
#endif
  const char* forced = std::getenv("LADNET_BF16");
  if (forced == nullptr || *forced == '\0') return possible && faster;
  const std::string name = forced;
  if (name == "widen") return false;
  if (name != "pairs") {
    throw std::runtime_error("the environment variable LADNET_BF16 must be pairs or widen; got '" +
                             name + "'. Unset it to take the faster.");
  }
  if (!possible) {
    throw std::runtime_error(
        "LADNET_BF16=pairs needs a processor with AVX512_BF16, a build that has it, and the "
        "instruction set avx512; in use is " +
        name_of(set) + ". Unset LADNET_BF16 to take the faster.");
  }
  return true;
}

struct Choice {
  InstructionSet set;
  bool bf16_dot;
};

const Choice& choice() {
  static const Choice chosen = [] {
    const InstructionSet set = choose();
    return Choice{set, choose_bf16_dot(set)};
  }();
  return chosen;
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
  return choice().set;
}

bool has_bf16_dot() {
  return choice().bf16_dot;
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
