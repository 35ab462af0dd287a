#include "cpu/dispatch.h"

#include <cstdlib>
#include <stdexcept>

// The tile registers need the system's permission; asking for it is written for Linux alone.
#if defined(LADNET_HAVE_AMX) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace ladnet {
#ifdef LADNET_TRAP_TILES
namespace amx {
void trap_tiles();
}  // namespace amx
#endif
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

// What keeps the tile registers from being used, or null. Asks for the permission to use them,
// which all threads of the process then have.
const char* tiles_problem() {
#if defined(LADNET_HAVE_AMX) && defined(LADNET_EMULATE_TILES)
  return __builtin_cpu_supports("avx512bf16") ? nullptr : "this processor lacks AVX512_BF16";
#elif defined(LADNET_HAVE_AMX) && defined(__linux__)
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;  // CPUID's leaf 7, edx
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool known = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0;
  const bool has_tiles = known && (edx & kAmxTile) != 0;
#ifdef LADNET_TRAP_TILES
  if (!has_tiles && __builtin_cpu_supports("avx512bf16")) {
    amx::trap_tiles();
    return nullptr;
  }
#endif
  if (!has_tiles) return "this processor lacks AMX_TILE";
  if ((edx & kAmxBf16) == 0) return "this processor lacks AMX_BF16";
  if (!__builtin_cpu_supports("avx512bf16")) return "this processor lacks AVX512_BF16";
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) {
    return "Linux refuses the permission (5.16 is the first that can give it)";
  }
  return nullptr;
#elif defined(LADNET_HAVE_AMX)
  return "on this system they are not supported";
#else
  return "this build has no kernels for them";
#endif
}

Bf16Products choose_bf16_products(InstructionSet set) {
  bool possible = false, faster = false;
#ifdef LADNET_HAVE_AVX512_BF16
  possible = set == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bf16");
  faster = __builtin_cpu_is("amd");
#endif
  const char* forced = std::getenv("LADNET_BF16");
  if (forced == nullptr || *forced == '\0') {
    return possible && faster ? Bf16Products::kPairs : Bf16Products::kWiden;
  }
  const std::string name = forced;
  if (name == "widen") return Bf16Products::kWiden;
  if (name == "pairs") {
    if (possible) return Bf16Products::kPairs;
    throw std::runtime_error(
        "LADNET_BF16=pairs needs a processor with AVX512_BF16, a build that has it, and the "
        "instruction set avx512; in use is " +
        name_of(set) + ". Unset LADNET_BF16 to take the faster.");
  }
  if (name == "tiles") {
    const std::string other = "the instruction set in use is " + name_of(set);
    const char* problem = set == InstructionSet::kAvx512 ? tiles_problem() : other.c_str();
    if (problem == nullptr) return Bf16Products::kTiles;
    throw std::runtime_error(
        std::string("LADNET_BF16=tiles needs a processor with AMX_TILE, AMX_BF16 and AVX512_BF16, "
                    "Linux's permission to use tiles, a build that has them, and the instruction "
                    "set avx512; ") +
        problem + ". Unset LADNET_BF16 to take the faster of the other ways.");
  }
  throw std::runtime_error(
      "the environment variable LADNET_BF16 must be pairs, widen or tiles; got '" + name +
      "'. Unset it to take the faster of the first two.");
}

struct Choice {
  InstructionSet set;
  Bf16Products bf16;
};

const Choice& choice() {
  static const Choice chosen = [] {
    const InstructionSet set = choose();
    return Choice{set, choose_bf16_products(set)};
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

Bf16Products bf16_products() {
  return choice().bf16;
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

std::string name_of(Bf16Products products) {
  switch (products) {
    case Bf16Products::kTiles:
      return "tiles";
    case Bf16Products::kPairs:
      return "pairs";
    default:
      return "widen";
  }
}

}  // namespace ladnet
