#include "cuda/ddl_features.cuh"

namespace ladnet::ddl::gpu {

LADNET_INSTANTIATE_FEATURES(Float16)

}  // namespace ladnet::ddl::gpu
