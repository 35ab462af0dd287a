// The attention kernels of one instruction set; CMake compiles this file once for each.
#include "cpu/attention_forward.h"
#include "cpu/attention_short.h"

namespace ladnet::LADNET_ISA {

extern const attention::Kernels attention_kernels;
const attention::Kernels attention_kernels = {
    ForwardBlock<Plain<float>>::table(), ForwardBlock<Plain<double>>::table(),
    BackwardShort<float>::table(),       BackwardShort<double>::table(),
    ToeplitzBlock<float>::table(),       ToeplitzBlock<double>::table(),
};

}  // namespace ladnet::LADNET_ISA
