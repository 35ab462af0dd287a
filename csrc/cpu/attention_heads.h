// What the backward pass knows of each bag and head: its tensors, and what is packed of them.
#pragma once

#include <optional>
#include <vector>

#include "cpu/attention_kernels.h"
#include "cpu/attention_toeplitz.h"

namespace ladnet::attention {

class BackwardHeads {
 public:
  BackwardHeads(const Problem& problem, const BackwardTensors& tensors);

  const Problem& problem() const { return problem_; }
  const BackwardKernels& kernels() const { return kernels_; }
  const std::vector<Segment>& segments() const { return segments_; }
  int64_t length(size_t segment) const { return segments_[segment].bag.length; }
  // Whether products read q, k and grad_out where torch stores them.
  bool in_place() const { return in_place_; }
  // Of a row of tiles.
  int64_t padded() const { return padded_; }

  int64_t query_panels(int64_t length) const { return divide_up(length, kernels_.rows); }
  int64_t key_panels(int64_t length) const { return divide_up(length, kernels_.columns); }

  // Whether the kernels keep P and dS of all pairs of such a bag.
  bool is_short(int64_t length) const;
  // What is packed of a bag.
  int64_t packed_bytes(int64_t length) const;
  // Its queries' gradient as tiles; of a short bag P, dS and its panels' sums for w and b.
  int64_t result_bytes(int64_t length) const;

  // The segment's tensors, and its places in memory of those sizes.
  BackwardHead head(size_t segment, char* packed, char* results) const;

  // What the heads need of a wide prior, before anything else is run.
  void run_toeplitz() { toeplitz_->run(); }
  void add_toeplitz_gradients(size_t segment, double sums[2]) const {
    toeplitz_->add_gradients(segment, sums);
  }

  // Everything that comes before products, for a range of a segment's panels: keys, rows where
  // products cannot read them as they are stored, and queries, which the kernels of short bags pack
  // themselves.
  void pack(const BackwardHead& head, int64_t first, int64_t last) const;
  int64_t panels_to_pack(int64_t length) const;

 private:
  int64_t bytes(int64_t count, int64_t width) const {
    return buffer_bytes(kernels_.element_bytes, count, width);
  }

  const Problem& problem_;
  const BackwardTensors& tensors_;
  const BackwardKernels& kernels_;
  const std::vector<Segment> segments_;
  const int64_t padded_;
  const bool in_place_;
  const bool prior_gradient_;
  std::vector<BandTables> bands_;
  std::optional<Toeplitz> toeplitz_;
};

}  // namespace ladnet::attention
