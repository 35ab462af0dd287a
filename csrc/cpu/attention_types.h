// The interface between the planning code (attention_*.cpp) and the kernels of each instruction
// set.
//
// Plain data and function pointers, no standard library: the kernels' translation units include
// this file with the flags of their instruction set.
//
// Names: a tile is kRows x kColumns accumulators in registers, a panel is one tile's worth of rows
// stored depth-major (element (k, i) at k * width + i), a block is what stays in cache.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/dtype.h"

namespace ladnet::attention {

enum class Prior : int { kNone = 0, kAdditive = 1, kLogit = 2 };

// Rows of one bag and head as torch stores them; the last axis has unit stride.
struct ConstRows {
  const char* data;
  int64_t stride;  // bytes
  Dtype dtype;
};
struct MutableRows {
  char* data;  // null where the result is not wanted
  int64_t stride;
  Dtype dtype;
};

// Rows that a product can read directly: elements of the type it computes in, padded to whole
// vectors.
struct Operand {
  const void* data;
  int64_t stride;  // elements
};

// Tables over the signed distance j - i of one head; each pointer is at distance 0. Beyond `radius`
// the prior is below the rounding of every result; the tables reach a tile further, with zeros.
// radius < 0: no prior anywhere.
struct Band {
  int64_t radius = -1;
  const void* gain = nullptr;       // G, in the element type of the forward or backward product
  const void* gain_low = nullptr;   // what bf16 G lost to rounding, as bf16
  const void* gain_log2 = nullptr;  // G log2(e), added to logits
  const void* slope_w = nullptr;    // dG/dw
  const void* slope_b = nullptr;    // dG/db
};

// The product of a wide prior in blocks: row x of a block is basis (block, kRank) times the block's
// results (kRank rows as the products read them). block = 0: the tables of Band serve.
constexpr int kRank = 12;
struct FarPrior {
  int64_t block = 0;
  const void* basis = nullptr;
  const void* results = nullptr;
};

// ---- Forward -----------------------------------------------------------------------------------

// One block of query rows of one bag and head.
struct ForwardTask {
  Prior prior;
  int64_t length;  // snippets of the bag
  int64_t d;
  double scale;
  Band band;
  FarPrior far;
  ConstRows q;
  const void* keys;  // panels of kColumns keys
  Operand values;
  MutableRows out;
  MutableRows softmax_out;
  void* lse;            // null where it is not wanted
  int64_t first_panel;  // in units of kRows query rows
  int64_t panels;
  void* scratch;
};

struct ForwardKernels {
  int64_t rows;     // query rows of a tile
  int64_t columns;  // keys of a tile
  int64_t lanes;    // vectors have so many elements
  int64_t pack;     // elements of the depth stored side by side: 2 for bf16 pairs, else 1
  int64_t element_bytes;
  int64_t (*scratch_bytes)(int64_t panels, int64_t d);
  // Panels first .. last - 1 of the keys, from `columns` rows each.
  void (*pack_keys)(ConstRows k, int64_t length, int64_t d, int64_t first, int64_t last,
                    void* keys);
  // Rows first .. last - 1, where first is a multiple of `pack`.
  void (*pack_values)(ConstRows v, int64_t length, int64_t d, int64_t first, int64_t last,
                      void* values);
  void (*run)(const ForwardTask& task);
  int64_t inside_keys;  // bags up to this length have the prior added to their probabilities
};

// ---- Backward ----------------------------------------------------------------------------------

// One bag and head.
struct BackwardHead {
  Prior prior;
  bool prior_gradient;
  int64_t length;
  int64_t d;
  double scale;
  Band band;
  FarPrior far;
  ConstRows q, k, v, grad_out;
  ConstRows attended;  // A = softmax(S) V; like lse null where the sums are computed anew
  const void* lse;
  MutableRows grad_q, grad_k, grad_v;
  // Panels, filled by pack_queries and pack_keys.
  void* queries;
  void* grads;
  void* lse_log2;
  void* delta;
  void* keys;
  void* values;
  // The same as rows.
  Operand query_rows, key_rows, grad_rows;
  void* grad_queries;  // sums, as tiles
  // Of a short bag instead: P and dS between all of its queries and keys.
  void* probabilities = nullptr;
  void* slopes = nullptr;
  double (*panel_gradients)[2] = nullptr;  // what each query panel adds to those of w and b
};

enum class Gradient : int { kValues = 0, kKeys = 1, kQueries = 2 };

struct BackwardKernels {
  int64_t rows;
  int64_t columns;
  int64_t lanes;
  int64_t element_bytes;
  int64_t (*scratch_bytes)(int64_t d);
  void (*widen_rows)(ConstRows rows, int64_t d, int64_t first, int64_t last, void* to);
  void (*pack_queries)(const BackwardHead& head, int64_t first, int64_t last);
  void (*pack_keys)(const BackwardHead& head, int64_t first, int64_t last);
  // For the keys of panels first .. last - 1: writes their gradients and their shares of the
  // gradient of all queries (tiles that are overwritten), and adds their shares of the gradients of
  // w and b (in fp64).
  void (*run)(const BackwardHead& head, int64_t first, int64_t last, void* grad_queries,
              double prior_gradient[2], void* scratch);
  void (*finish_queries)(const BackwardHead& head, int64_t first, int64_t last,
                         const void* grad_queries, void* scratch);
  // For short bags, null where a kernel doesn't serve them in this way. The bytes of P, or of dS:
  int64_t (*matrix_bytes)(int64_t length) = nullptr;
  // Packs the query panels first .. last - 1 and fills their rows of P, dS and panel_gradients.
  void (*fill_matrices)(const BackwardHead& head, int64_t first, int64_t last) = nullptr;
  // After that was done for all queries: writes panels of `rows` rows of one gradient.
  void (*multiply)(const BackwardHead& head, Gradient gradient, int64_t first, int64_t last,
                   void* scratch) = nullptr;
  bool recomputes_sums = false;  // fill_matrices reads neither lse nor attended
};

// ---- Wide priors -------------------------------------------------------------------------------

// One bag and head; see attention_toeplitz.h. Tables are matrices of kRank x kRank, transposed, one
// for each number of blocks from -reach to reach.
struct ToeplitzTask {
  int64_t length;
  int64_t d;
  int64_t block;
  int64_t blocks;
  int64_t reach;
  double diagonal_b;  // what slope_b has too much at distance 0
  const void* basis;
  const void* gain;
  const void* slope_w;
  const void* slope_b;
  ConstRows rows;    // V
  ConstRows others;  // dO, in the backward pass
  void* moments;
  void* other_moments;  // null in the forward pass
  void* results;
};

struct ToeplitzKernels {
  int64_t lanes;
  void (*gather_moments)(const ToeplitzTask& task, int64_t block);
  void (*combine)(const ToeplitzTask& task, int64_t block, double sums[2]);
};

// What one instruction set offers, for fp32 and fp64 arithmetic.
struct Kernels {
  ForwardKernels forward32;
  ForwardKernels forward64;
  BackwardKernels backward32;
  BackwardKernels backward64;
  ToeplitzKernels toeplitz32;
  ToeplitzKernels toeplitz64;
};

}  // namespace ladnet::attention
