// The linear layers' kernels of one instruction set; CMake compiles this file once for each.
#include "cpu/linear_chain.h"
#include "cpu/linear_masks.h"

namespace ladnet::LADNET_ISA {

extern const linear::Kernels linear_kernels;
const linear::Kernels linear_kernels = {
    kRows,   kWide,    pack_weight, pack_weight_backward, forward_scratch, Backward::scratch,
    forward, backward, draw_keeps,
};

}  // namespace ladnet::LADNET_ISA
