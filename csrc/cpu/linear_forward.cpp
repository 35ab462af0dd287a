// Plans the forward pass: an item of work is a block of snippets, which passes all layers.
#include <algorithm>

#include "cpu/linear_plan.h"
#include "cpu/parallel.h"

namespace ladnet::linear {

void forward(const Problem& problem, Rows<const float> input,
             const std::vector<OutputPart>& outputs) {
  const Kernels& kernels = LADNET_SELECT(linear_kernels);
  const std::vector<RowIndex> rows = list_rows(problem);
  const PackedLayers packed(problem, kernels, false);
  const auto layer_count = static_cast<int64_t>(packed.layers().size());
  const auto row_count = static_cast<int64_t>(rows.size());
  const int64_t step = block_rows(row_count);
  const int64_t floats = kernels.forward_scratch(packed.layers().data(), layer_count, step);
  const int threads = std::max(problem.threads, 1);
  const int64_t bytes = buffer_bytes(sizeof(float), floats);
  const Buffer scratch(checked_product(bytes, threads));

  parallel_for(divide_up(row_count, step), threads, [&](int64_t item, int thread) {
    const int64_t first = item * step;
    kernels.forward({packed.layers().data(), layer_count, input, outputs.data(),
                     static_cast<int64_t>(outputs.size()), rows.data() + first,
                     std::min(step, row_count - first),
                     scratch.as<float>() + thread * (bytes / static_cast<int64_t>(sizeof(float)))});
  });
  for (const OutputPart& part : outputs) clear_padding(problem, part.rows, part.width);
  for (const Layer& layer : packed.layers()) clear_padding(problem, layer.pre, layer.outputs);
}

}  // namespace ladnet::linear
