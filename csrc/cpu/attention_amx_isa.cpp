// Both passes in bf16 products with fp32 sums by the tile registers of AMX.
//
// Compiled, and tested with emulated registers; not yet run on a processor that has them.
#include "cpu/attention_amx.h"

namespace ladnet::LADNET_ISA {
namespace {

constexpr attention::ForwardKernels forward_table() {
  constexpr attention::ForwardKernels kTable = ForwardBlock<AmxTiles>::table();
  attention::ForwardKernels kernels = kTable;
  kernels.run = &InSession<kTable.run>::run;
  return kernels;
}

// What packs and finishes makes no products.
constexpr attention::BackwardKernels backward_table() {
  constexpr attention::BackwardKernels kTable = ShortPairs<AmxTiles>::table();
  attention::BackwardKernels kernels = kTable;
  kernels.run = &InSession<kTable.run>::run;
  kernels.fill_matrices = &InSession<kTable.fill_matrices>::run;
  kernels.multiply = &InSession<kTable.multiply>::run;
  return kernels;
}

}  // namespace

extern const attention::ForwardKernels attention_forward_bf16;
const attention::ForwardKernels attention_forward_bf16 = forward_table();
extern const attention::BackwardKernels attention_backward_bf16;
const attention::BackwardKernels attention_backward_bf16 = backward_table();

}  // namespace ladnet::LADNET_ISA
