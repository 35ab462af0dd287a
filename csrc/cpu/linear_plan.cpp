#include "cpu/linear_plan.h"

#include <algorithm>
#include <cstring>

#include "cpu/parallel.h"

namespace ladnet::linear {
namespace {

constexpr int64_t kPackedPanels = 2;  // that one item of packing takes

int64_t bag_length(const Problem& problem, int64_t bag) {
  return problem.lengths ? problem.lengths[bag] : problem.T;
}

int64_t outputs_of(const LayerSpec& spec) {
  int64_t outputs = 0;
  for (const Weight& weight : spec.weights) outputs += weight.outputs;
  return outputs;
}

std::vector<const float*> weight_rows(const LayerSpec& spec) {
  std::vector<const float*> rows;
  for (const Weight& weight : spec.weights) {
    for (int64_t n = 0; n < weight.outputs; ++n)
      rows.push_back(weight.data + n * weight.row_stride);
  }
  return rows;
}

}  // namespace

std::vector<RowIndex> list_rows(const Problem& problem) {
  std::vector<RowIndex> rows;
  int64_t count = 0;
  for (int64_t b = 0; b < problem.batches; ++b) count += bag_length(problem, b);
  rows.reserve(static_cast<size_t>(count));
  for (int64_t b = 0; b < problem.batches; ++b) {
    for (int64_t t = 0; t < bag_length(problem, b); ++t) rows.push_back({b, t});
  }
  return rows;
}

int64_t block_rows(int64_t row_count) {
  if (row_count >= 4096) return kMaxBlockRows;
  return row_count >= 1024 ? kMaxBlockRows / 2 : kMaxBlockRows / 4;
}

PackedLayers::PackedLayers(const Problem& problem, const Kernels& kernels, bool backward) {
  for (const LayerSpec& spec : problem.layers) {
    const int64_t inputs = spec.inputs, outputs = outputs_of(spec);
    const std::vector<const float*> rows = weight_rows(spec);
    const int64_t panels = divide_up(outputs, kernels.columns);
    const int64_t panels_back = divide_up(inputs, kernels.columns);

    memory_.emplace_back(buffer_bytes(sizeof(float), panels, kernels.columns));
    float* bias = memory_.back().as<float>();
    std::fill(bias, bias + panels * kernels.columns, 0.0f);
    float* at = bias;
    for (const Weight& weight : spec.weights) {
      at = std::copy(weight.bias, weight.bias + weight.outputs, at);
    }

    memory_.emplace_back(buffer_bytes(sizeof(float), panels, kernels.columns, inputs));
    float* packed = memory_.back().as<float>();
    parallel_for(divide_up(panels, kPackedPanels), problem.threads, [&](int64_t item, int) {
      const int64_t first = item * kPackedPanels;
      kernels.pack_weight(rows.data(), outputs, inputs, first,
                          std::min(first + kPackedPanels, panels), packed);
    });
    float* packed_back = nullptr;
    if (backward) {
      memory_.emplace_back(buffer_bytes(sizeof(float), panels_back, kernels.columns, outputs));
      packed_back = memory_.back().as<float>();
      parallel_for(divide_up(panels_back, kPackedPanels), problem.threads, [&](int64_t item, int) {
        const int64_t first = item * kPackedPanels;
        kernels.pack_weight_backward(rows.data(), outputs, inputs, first,
                                     std::min(first + kPackedPanels, panels_back), packed_back);
      });
    }
    layers_.push_back({inputs, outputs, packed, packed_back, bias, spec.epilogue, spec.pre,
                       spec.residual, spec.norm_weight, spec.norm_bias, spec.eps, spec.keep,
                       spec.keep_scale});
  }
}

void clear_padding(const Problem& problem, Rows<float> rows, int64_t width) {
  if (!rows.data || !problem.lengths) return;
  for (int64_t b = 0; b < problem.batches; ++b) {
    for (int64_t t = bag_length(problem, b); t < problem.T; ++t) {
      std::memset(rows.at({b, t}), 0, static_cast<size_t>(width) * sizeof(float));
    }
  }
}

std::string processor_vendor() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_is("amd")) return "amd";
  if (__builtin_cpu_is("intel")) return "intel";
#endif
  return "other";
}

}  // namespace ladnet::linear
