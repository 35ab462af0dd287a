#include "cuda/ddl_features.cuh"

namespace ladnet::ddl::gpu {

LADNET_INSTANTIATE_FEATURES(float)

}  // namespace ladnet::ddl::gpu
