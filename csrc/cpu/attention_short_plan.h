// The backward pass of short bags, each of them worked off by one thread or shared by all.
//
// Every gradient is a product of its own from stored P and dS, summed in an order that its rows'
// place in the bag sets. So how the rows are cut changes no bit, and it may depend on the threads.
#pragma once

#include <vector>

#include "cpu/attention_heads.h"

namespace ladnet::attention {

// All steps for one bag, by this thread. `sums` receives its share of the gradients of w and b.
void run_short(const BackwardHeads& heads, const BackwardHead& head, void* scratch, double sums[2]);

// Bags that are shared. P and dS are filled first, then multiplied; items of a step may be worked
// off in any order. Each thread packs what it reads of a bag into memory of its own: what another
// thread has written takes longer to fetch.
class ShortBags {
 public:
  ShortBags(const BackwardHeads& heads, const std::vector<size_t>& segments, int threads);

  int64_t fill_items() const { return static_cast<int64_t>(fill_.size()); }
  int64_t multiply_items() const { return static_cast<int64_t>(multiply_.size()); }
  // `packed` belongs to the thread and stays between its items; it takes the packed_bytes of any of
  // the bags.
  void fill(int64_t item, int thread, char* packed);
  void multiply(int64_t item, int thread, char* packed, void* scratch);
  // After the last item.
  void sum_prior_gradients(size_t bag, double sums[2]) const;

 private:
  struct Item {
    size_t bag;
    Gradient gradient;
    int64_t first, last;  // panels
  };
  // Which bag a thread has packed, a cache line apart.
  struct alignas(64) Packed {
    size_t bag = SIZE_MAX;
  };

  BackwardHead head(size_t bag, char* packed) const;
  void pack(const BackwardHead& head, size_t bag, int thread);

  const BackwardHeads& heads_;
  const std::vector<size_t>& segments_;
  Buffer results_;
  std::vector<char*> places_;  // of each bag's results
  std::vector<Item> fill_, multiply_;
  std::vector<Packed> packed_;
};

}  // namespace ladnet::attention
