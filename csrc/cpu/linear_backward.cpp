// Plans the backward pass: an item of work is a partition, a run of blocks that add the gradients
// of the parameters up in its own memory. Partitions are summed in their order at the end.
#include <algorithm>
#include <cstring>

#include "cpu/linear_plan.h"
#include "cpu/pages.h"
#include "cpu/parallel.h"

namespace ladnet::linear {
namespace {

constexpr int64_t kPartitionRows = 128;  // per partition, at least
constexpr int64_t kSummedRows = 16;      // rows of a weight's gradient that one item sums

// Floats of a partition's sums.
struct Layout {
  Layout(const std::vector<Layer>& layers, const Kernels& kernels) {
    for (const Layer& layer : layers) {
      const int64_t width = round_up(layer.outputs, kernels.columns);
      stride.push_back(round_up(layer.inputs, kernels.columns));
      weight.push_back(take(checked_product(round_up(layer.outputs, kernels.rows), stride.back())));
      bias.push_back(take(width));
      norm_weight.push_back(take(width));
      norm_bias.push_back(take(width));
    }
  }

  LayerSums at(float* sums, size_t l) const {
    return {sums + weight[l], sums + bias[l], sums + norm_weight[l], sums + norm_bias[l]};
  }

  std::vector<int64_t> stride, weight, bias, norm_weight, norm_bias;
  int64_t size = 0;

 private:
  int64_t take(int64_t floats) {
    const int64_t here = size;
    size += round_up(floats, 16);
    return here;
  }
};

// to[j] = sum over partitions of from[p * step + j], in the order of p.
void add_partitions(const float* from, int64_t partitions, int64_t step, int64_t count, float* to) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
  for (int64_t p = 1; p < partitions; ++p) {
    const float* part = from + p * step;
    for (int64_t j = 0; j < count; ++j) to[j] += part[j];
  }
}

// Adds up all partitions; an item of work is a few rows of one weight's gradient.
struct Row {
  int64_t from;
  float* to;
  int64_t count;
};

std::vector<Row> list_results(const Layout& layout, const Problem& problem,
                              const std::vector<LayerGrads>& grads) {
  std::vector<Row> results;
  for (size_t l = 0; l < grads.size(); ++l) {
    const LayerSpec& spec = problem.layers[l];
    int64_t row = 0;
    for (size_t w = 0; w < spec.weights.size(); ++w) {
      const int64_t outputs = spec.weights[w].outputs;
      results.push_back({layout.bias[l] + row, grads[l].biases[w], outputs});
      for (int64_t n = 0; n < outputs; ++n, ++row) {
        results.push_back({layout.weight[l] + row * layout.stride[l],
                           grads[l].weights[w] + n * spec.inputs, spec.inputs});
      }
    }
    if (spec.epilogue == Epilogue::kNormalise) {
      results.push_back({layout.norm_weight[l], grads[l].norm_weight, row});
      results.push_back({layout.norm_bias[l], grads[l].norm_bias, row});
    }
  }
  return results;
}

}  // namespace

void backward(const Problem& problem, Rows<const float> input, const std::vector<InputPart>& grads,
              Rows<float> grad_input, Rows<float> grad_residual,
              const std::vector<LayerGrads>& parameters) {
  const Kernels& kernels = LADNET_SELECT(linear_kernels);
  const std::vector<RowIndex> rows = list_rows(problem);
  const PackedLayers packed(problem, kernels, true);
  const auto layer_count = static_cast<int64_t>(packed.layers().size());
  const auto row_count = static_cast<int64_t>(rows.size());
  const int64_t step = block_rows(row_count);
  const int64_t blocks = divide_up(row_count, step);
  const int64_t partitions =
      std::clamp(divide_up(row_count, kPartitionRows), int64_t{1}, problem.partitions);
  const bool wanted = !parameters.empty();
  const Layout layout(packed.layers(), kernels);
  const int threads = std::max(problem.threads, 1);
  const int64_t bytes = buffer_bytes(
      sizeof(float), kernels.backward_scratch(packed.layers().data(), layer_count, step));
  const Buffer scratch(checked_product(bytes, threads));
  const int64_t sum_bytes = wanted ? buffer_bytes(sizeof(float), layout.size, partitions) : 0;
  const Buffer sums(sum_bytes);
  prefer_huge_pages(sums.as<void>(), sum_bytes);

  parallel_for(partitions, threads, [&](int64_t partition, int thread) {
    float* own = sums.as<float>() + partition * layout.size;
    LayerSums layer_sums[kMaxLayers];
    for (size_t l = 0; l < packed.layers().size(); ++l) layer_sums[l] = layout.at(own, l);
    const int64_t begin = blocks * partition / partitions;
    const int64_t end = blocks * (partition + 1) / partitions;
    if (wanted && begin == end) {
      std::memset(own, 0, static_cast<size_t>(layout.size) * sizeof(float));
    }
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * step;
      kernels.backward(
          {packed.layers().data(), layer_count, input, grads.data(),
           static_cast<int64_t>(grads.size()), grad_input, grad_residual,
           wanted ? layer_sums : nullptr, block == begin, rows.data() + first,
           std::min(step, row_count - first),
           scratch.as<float>() + thread * (bytes / static_cast<int64_t>(sizeof(float)))});
    }
  });
  clear_padding(problem, grad_input, problem.layers.front().inputs);
  clear_padding(problem, grad_residual, packed.layers().front().outputs);

  const std::vector<Row> results = list_results(layout, problem, parameters);
  const auto result_count = static_cast<int64_t>(results.size());
  parallel_for(divide_up(result_count, kSummedRows), threads, [&](int64_t item, int) {
    const int64_t end = std::min((item + 1) * kSummedRows, result_count);
    for (int64_t i = item * kSummedRows; i < end; ++i) {
      const Row& row = results[static_cast<size_t>(i)];
      add_partitions(sums.as<float>() + row.from, partitions, layout.size, row.count, row.to);
    }
  });
}

}  // namespace ladnet::linear
