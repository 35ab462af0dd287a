#include "cpu/ddl_plan.h"

#include "cpu/dispatch.h"

namespace ladnet::ddl {

LADNET_DECLARE_FOR_EACH_SET(extern const FeatureTable feature_kernels;
                            extern const ScoreTable score_kernels;)

template <>
const ScoreKernels<float>& score_kernels_for() {
  return LADNET_SELECT(score_kernels).float32;
}

template <>
const ScoreKernels<double>& score_kernels_for() {
  return LADNET_SELECT(score_kernels).float64;
}

template <>
const FeatureKernels<float>& feature_kernels_for(Dtype dtype) {
  const FeatureTable& table = LADNET_SELECT(feature_kernels);
  switch (dtype) {
    case Dtype::kBFloat16:
      return table.bfloat16;
    case Dtype::kFloat16:
      return table.float16;
    default:
      return table.float32;
  }
}

template <>
const FeatureKernels<double>& feature_kernels_for(Dtype) {
  return LADNET_SELECT(feature_kernels).float64;
}

}  // namespace ladnet::ddl
