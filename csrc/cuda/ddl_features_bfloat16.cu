#include "cuda/ddl_features.cuh"

namespace ladnet::ddl::gpu {

LADNET_INSTANTIATE_FEATURES(BFloat16)

}  // namespace ladnet::ddl::gpu
