#include "cpu/attention_heads.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace ladnet::attention {
namespace {

constexpr int64_t kShort = 768;  // snippets; P and dS take 5 MB together

}  // namespace

BackwardHeads::BackwardHeads(const Problem& problem, const BackwardTensors& tensors)
    : problem_(problem),
      tensors_(tensors),
      kernels_(backward_kernels(problem.dtype)),
      segments_(list_segments(problem)),
      padded_(round_up(problem.d, kernels_.lanes)),
      in_place_(size_of(problem.dtype) == static_cast<size_t>(kernels_.element_bytes) &&
                problem.d % kernels_.lanes == 0),
      prior_gradient_(tensors.grad_w != nullptr) {
  const TableType real = real_type(problem.dtype);
  const bool logit = problem.prior == Prior::kLogit;
  bands_ = list_bands(problem, segments_, kernels_.rows + kernels_.columns,
                      {problem.prior == Prior::kAdditive, logit, prior_gradient_, real, real});
  for (const Segment& segment : segments_) {
    const bool is_left = tensors.lse != nullptr && tensors.attended.data != nullptr;
    if (!is_left && segment.bag.length > longest_without_sums(problem.dtype)) {
      throw std::invalid_argument("a bag of " + std::to_string(segment.bag.length) +
                                  " snippets needs what the forward pass leaves: attended and lse");
    }
  }
  // To short bags' probabilities any prior is added.
  toeplitz_.emplace(problem, segments_, bands_, kShort + 1, tensors.v, &tensors.grad_out);
}

int64_t longest_without_sums(Dtype dtype) {
  return backward_kernels(dtype).recomputes_sums ? kShort : 0;
}

bool BackwardHeads::is_short(int64_t length) const {
  return kernels_.fill_matrices != nullptr && length <= kShort;
}

int64_t BackwardHeads::packed_bytes(int64_t length) const {
  const int64_t queries = query_panels(length) * kernels_.rows;
  const int64_t keys = key_panels(length) * kernels_.columns;
  return 2 * bytes(queries, problem_.d) + 2 * bytes(queries, 1) + 2 * bytes(keys, problem_.d) +
         (in_place_ ? 0 : 3 * bytes(length, padded_));
}

int64_t BackwardHeads::result_bytes(int64_t length) const {
  const int64_t panels = query_panels(length);
  if (!is_short(length)) return bytes(panels * kernels_.rows, padded_);
  return 2 * round_up(kernels_.matrix_bytes(length), Buffer::kAlignment) +
         buffer_bytes(2 * sizeof(double), panels);
}

BackwardHead BackwardHeads::head(size_t s, char* packed, char* results) const {
  const Segment& segment = segments_[s];
  const int64_t length = segment.bag.length, d = problem_.d;
  const int64_t queries = query_panels(length) * kernels_.rows;
  const int64_t keys = key_panels(length) * kernels_.columns;
  const auto take = [&](int64_t count, int64_t width) {
    char* at = packed;
    packed += bytes(count, width);
    return at;
  };
  BackwardHead head;
  head.prior = problem_.prior;
  head.far = toeplitz_->prior(s);
  const bool wide = head.far.block > 0;
  head.prior_gradient = prior_gradient_ && !wide;
  head.length = length;
  head.d = d;
  head.scale = problem_.scale;
  if (!wide) head.band = band_of(bands_, segment);
  head.q = rows_of(problem_, tensors_.q, segment);
  head.k = rows_of(problem_, tensors_.k, segment);
  head.v = rows_of(problem_, tensors_.v, segment);
  head.grad_out = rows_of(problem_, tensors_.grad_out, segment);
  head.attended = rows_of(problem_, tensors_.attended, segment);
  head.lse = lse_of(problem_, tensors_.lse, segment);
  head.grad_q = mutable_rows_of(problem_, tensors_.grad_q, segment);
  head.grad_k = mutable_rows_of(problem_, tensors_.grad_k, segment);
  head.grad_v = mutable_rows_of(problem_, tensors_.grad_v, segment);
  head.queries = take(queries, d);
  head.grads = take(queries, d);
  head.lse_log2 = take(queries, 1);
  head.delta = take(queries, 1);
  head.keys = take(keys, d);
  head.values = take(keys, d);
  const auto operand = [&](const ConstRows& rows) -> Operand {
    if (in_place_) return {rows.data, rows.stride / kernels_.element_bytes};
    return {take(length, padded_), padded_};
  };
  head.query_rows = operand(head.q);
  head.key_rows = operand(head.k);
  head.grad_rows = operand(head.grad_out);
  head.grad_queries = results;
  if (is_short(length)) {
    const int64_t matrix = round_up(kernels_.matrix_bytes(length), Buffer::kAlignment);
    head.probabilities = results;
    head.slopes = results + matrix;
    head.panel_gradients = reinterpret_cast<double (*)[2]>(results + 2 * matrix);
  }
  return head;
}

void BackwardHeads::pack(const BackwardHead& head, int64_t first, int64_t last) const {
  const int64_t panels = query_panels(head.length), columns = kernels_.columns;
  if (!is_short(head.length)) {
    kernels_.pack_queries(head, std::min(first, panels), std::min(last, panels));
  }
  const int64_t keys = key_panels(head.length);
  kernels_.pack_keys(head, std::min(first, keys), std::min(last, keys));
  if (in_place_) return;
  const int64_t begin = std::min(first * columns, head.length);
  const int64_t end = std::min(last * columns, head.length);
  const auto widen = [&](const ConstRows& rows, const Operand& to) {
    kernels_.widen_rows(rows, problem_.d, begin, end, const_cast<void*>(to.data));
  };
  widen(head.q, head.query_rows);
  widen(head.k, head.key_rows);
  widen(head.grad_out, head.grad_rows);
}

int64_t BackwardHeads::panels_to_pack(int64_t length) const {
  return is_short(length) ? key_panels(length) : std::max(query_panels(length), key_panels(length));
}

}  // namespace ladnet::attention
