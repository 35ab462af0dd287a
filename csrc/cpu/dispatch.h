// Which instruction set serves: the best that was built and that the processor has, or the one that
// the environment variable LADNET_CPU names; and which way bf16 is multiplied, which LADNET_BF16
// overrules.
#pragma once

#include <string>
#include <vector>

namespace ladnet {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// The one in use, chosen at the first call. Throws std::runtime_error if LADNET_CPU names one that
// does not exist, was not built, or that the processor lacks; likewise LADNET_BF16.
InstructionSet instruction_set();

// How attention multiplies bf16: widened to fp32, or in pairs, by an instruction of AVX-512 or by
// the tile registers of AMX; those two only beside kAvx512. Pairs are chosen where they are faster
// than widening: on AMD's processors their instruction does twice the work of a multiply-add in the
// same time, on Intel's (measured on family 6, model 207) half of it. LADNET_BF16 overrules that,
// and alone chooses tiles.
enum class Bf16Products { kWiden, kPairs, kTiles };

Bf16Products bf16_products();

std::string name_of(InstructionSet set);
std::string name_of(Bf16Products products);

// All that could be chosen here, the slowest first.
std::vector<InstructionSet> available_instruction_sets();

}  // namespace ladnet

// Refers to `symbol` in the namespace of the instruction set in use, e.g.
// LADNET_SELECT(attention_kernels) is baseline::, avx2:: or avx512::attention_kernels. Those need
// declaring first: LADNET_DECLARE_FOR_EACH_SET(extern const AttentionKernels attention_kernels;)
#ifdef LADNET_HAVE_AVX2
#define LADNET_IF_AVX2(...) __VA_ARGS__
#else
#define LADNET_IF_AVX2(...)
#endif
#ifdef LADNET_HAVE_AVX512
#define LADNET_IF_AVX512(...) __VA_ARGS__
#else
#define LADNET_IF_AVX512(...)
#endif

#define LADNET_DECLARE_FOR_EACH_SET(...)      \
  namespace baseline {                        \
  __VA_ARGS__                                 \
  }                                           \
  LADNET_IF_AVX2(namespace avx2{__VA_ARGS__}) \
  LADNET_IF_AVX512(namespace avx512{__VA_ARGS__})

#define LADNET_SELECT(symbol) LADNET_SELECT_FOR(::ladnet::instruction_set(), symbol)

#define LADNET_SELECT_FOR(set, symbol)                                             \
  (LADNET_IF_AVX512((set) == ::ladnet::InstructionSet::kAvx512 ? avx512::symbol :) \
       LADNET_IF_AVX2((set) == ::ladnet::InstructionSet::kAvx2 ? avx2::symbol :) baseline::symbol)
