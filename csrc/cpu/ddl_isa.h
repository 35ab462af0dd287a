// Common head of the loss kernels that are compiled once per instruction set.
//
// LADNET_ISA names the namespace of this compilation. Nothing with external linkage may be defined
// in these files outside that namespace, and no standard header with inline functions included:
// the linker would keep one copy, perhaps with instructions that the running processor lacks.
#pragma once

#include "cpu/ddl_kernels.h"

#if !defined(LADNET_ISA)
#error "compile this file with -DLADNET_ISA=baseline, avx2 or avx512"
#endif

namespace ladnet::ddl::LADNET_ISA {

extern const FeatureTable feature_kernels;
extern const ScoreTable score_kernels;

}  // namespace ladnet::ddl::LADNET_ISA
