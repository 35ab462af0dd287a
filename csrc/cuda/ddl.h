// The losses of discriminative dynamics learning on a GPU: what the bindings call.
//
// Pointers are device pointers; shapes, dtypes and devices have been checked by the Python that
// calls. Scores, gradients of scores and terms are float32; features are float32, bfloat16 or
// float16. Lengths stay on the device: sizes of grids and of the workspace come from shapes alone,
// so that nothing here waits for the device, allocates, or changes between replays of a CUDA graph.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#include <vector>

#include "core/ddl_batch.h"

namespace ladnet::ddl::gpu {

// How work is cut; the results do not depend on it (`chunk`: but for the order of float64 sums).
struct Tuning {
  int64_t chunk = 0;  // snippets from which one block selects; 0: chosen from the sizes
  int64_t strip = 0;  // rows that a group of lanes walks through; 0: chosen from sizes and device
  int64_t part = 0;   // snippets of a block of the last launch, a multiple of 128; 0: chosen
  int64_t multiprocessors = 1;  // of the device
};

// One kernel on its way to the device.
struct Launch {
  const char* kernel;
  int64_t blocks;
  int threads;
};

// What `forward` and `backward` launch, in order.
std::vector<Launch> forward_launches(const Batch& batch, Pairing pairing, const Tuning& tuning);
std::vector<Launch> backward_launches(const Batch& batch, Detach detach, const Tuning& tuning);

// Bytes of scratch memory, aligned to 256, that `forward` needs.
int64_t workspace_bytes(const Batch& batch, const Tuning& tuning);

// Writes terms[3] (MIL, ranking, alignment), score_grads (3, snippets) unless null, and
// feature_dynamics (snippets). Throws std::runtime_error naming a kernel that was not launched.
void forward(const Batch& batch, const bool* labels, const Options& options, const Tuning& tuning,
             void* workspace, cudaStream_t stream, float* terms, float* score_grads,
             float* feature_dynamics);

// Writes grad_scores (snippets) and grad_features (snippets, C), the latter in the features' type,
// from what forward left behind.
void backward(const Batch& batch, double eps, Detach detach, const Tuning& tuning,
              cudaStream_t stream, const float* grad_terms, const float* score_grads,
              const float* feature_dynamics, float* grad_scores, void* grad_features);

}  // namespace ladnet::ddl::gpu
