// Both passes in bf16 products with fp32 sums, for processors that multiply pairs of bf16.
#include "cpu/attention_bf16_forward.h"
#include "cpu/attention_bf16_short.h"

namespace ladnet::LADNET_ISA {

extern const attention::ForwardKernels attention_forward_bf16;
const attention::ForwardKernels attention_forward_bf16 = ForwardBlock<Bf16Pairs>::table();
extern const attention::BackwardKernels attention_backward_bf16;
const attention::BackwardKernels attention_backward_bf16 = ShortPairs<Bf16Pairs>::table();

}  // namespace ladnet::LADNET_ISA
