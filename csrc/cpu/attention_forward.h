// Forward pass: one block of query rows against all keys of its bag.
//
// Per block of keys: logits in registers, 2^(logit - m) in the product's epilogue, then the product
// with the values. m is the running maximum, raised lazily: only where a logit exceeds it by kSlack
// in base 2, and then to an integer, so that earlier sums are rescaled by a power of two, exactly.
// After the last key the outputs are divided by the sums, and the additive prior's banded product
// is added to the same accumulators. Where all keys are one block and nobody asks for the softmax
// part, the prior is added to the probabilities instead, which saves that product. The logit prior
// is added to the logits of tiles near the diagonal.
#pragma once

#include "cpu/attention_toeplitz_kernels.h"

namespace ladnet::LADNET_ISA {
namespace {

using attention::ForwardTask;
using attention::Prior;

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;

LADNET_INLINE float scalar_exp2(float x) {
  return exp2f(x);
}
LADNET_INLINE double scalar_exp2(double x) {
  return ::exp2(x);
}

// What a format needs beyond products: how queries and probabilities are stored.
template <class Format>
struct ForwardFormat;

template <class Real>
struct ForwardFormat<Plain<Real>> {
  using Element = Real;
  // Keys of a block: with the values' rows and the probabilities they fill half of a 1 MiB cache.
  static constexpr int kBlock = sizeof(Real) == 4 ? 256 : 128;
  // Probabilities have the digits for the prior.
  static constexpr bool kAddsPrior = true;

  template <int kWidth>
  static void pack_panel(const ConstRows& rows, int64_t length, int64_t d, int64_t panel,
                         double factor, Element* to) {
    LADNET_ISA::pack_panel<kWidth>(rows, length, d, panel, static_cast<Real>(factor), to);
  }
  // Queries were multiplied by the scale when they were packed.
  LADNET_INLINE Vec<Real> to_logits(Vec<Real> product, Real) { return product; }
  LADNET_INLINE void store_probabilities(Element* to, Vec<Real> left, Vec<Real> right) {
    store(to, left);
    store(to + kLanes<Real>, right);
  }
  LADNET_INLINE void store_probabilities(Element* to, Vec<Real> left) { store(to, left); }
  static void rescale(Element* row, int64_t count, Real factor) {
    for (int64_t j = 0; j < count; ++j) row[j] *= factor;
  }
  static void pack_values(ConstRows v, int64_t, int64_t d, int64_t first, int64_t last,
                          void* values) {
    widen_rows<Real>(v, d, first, last, values);
  }
  template <int kVectors>
  LADNET_INLINE void add_prior(Real* out, const attention::Band& band, int64_t i0, const Element* x,
                               int64_t stride, int64_t length) {
    add_band<Plain<Real>, kVectors>(out, band.radius, i0, x, stride, length, band.gain);
  }
};

// kBlocks: in how many blocks' worth of keys a row of probabilities is kept at a time.
template <class Format, int kBlocks = 1>
class ForwardBlock {
  using Real = typename Format::Real;
  using Element = typename Format::Element;
  using Storage = ForwardFormat<Format>;
  static constexpr int kPack = Format::kPack;
  static constexpr int kWide = kColumns<Real>;
  static constexpr int kKeys = kBlocks * Storage::kBlock;
  static constexpr int kStride = kKeys + Format::kGap;
  static constexpr Real kSlack = 10;

 public:
  static int64_t scratch_bytes(int64_t panels, int64_t d) {
    if constexpr (kBlocks == 1 && Storage::kAddsPrior) {
      return ForwardBlock<Format, 2>::scratch_bytes(panels, d);
    }
    return Layout(panels, d, nullptr).bytes;
  }

  static void pack_keys(ConstRows k, int64_t length, int64_t d, int64_t first, int64_t last,
                        void* keys) {
    const int64_t depth = round_to(d, kPack);
    for (int64_t panel = first; panel < last; ++panel) {
      Element* to = static_cast<Element*>(keys) + panel * depth * kWide;
      Storage::template pack_panel<kWide>(k, length, d, panel, 1.0, to);
    }
  }

  static void run(const ForwardTask& task) {
    if constexpr (kBlocks == 1 && Storage::kAddsPrior) {
      // One block of twice the size, if the prior can then be added to the probabilities.
      if (task.length > kKeys && ForwardBlock<Format, 2>::adds_prior_inside(task)) {
        return ForwardBlock<Format, 2>::run(task);
      }
    }
    ForwardBlock(task).run();
  }

  // Whether G is added to the probabilities: all keys are one block, whose sums are known before
  // the product, and nobody asks for the softmax part.
  static bool adds_prior_inside(const ForwardTask& task) {
    return Storage::kAddsPrior && task.prior == Prior::kAdditive && task.band.radius >= 0 &&
           task.length <= kKeys && task.softmax_out.data == nullptr;
  }

  static constexpr attention::ForwardKernels table() {
    return {kRows,
            kWide,
            kLanes<Real>,
            kPack,
            sizeof(Element),
            &scratch_bytes,
            &pack_keys,
            &Storage::pack_values,
            &ForwardBlock::run,
            Storage::kAddsPrior ? 2 * kKeys : 0};
  }

 private:
  struct Layout {
    Layout(int64_t panels, int64_t d, char* base) {
      const int64_t rows = panels * kRows, padded = round_to(d, kLanes<Real>);
      queries = take<Element>(base, rows * round_to(d, kPack));
      out = take<Real>(base, rows * padded);
      probabilities = take<Element>(base, rows * kStride);
      sums = take<Real>(base, rows * kLanes<Real>);
      shift = take<Real>(base, rows);
      limit = take<Real>(base, rows);
      stage = take<Real>(base, kRows * padded);
    }
    template <class T>
    T* take(char* base, int64_t count) {
      T* at = base == nullptr ? nullptr : reinterpret_cast<T*>(base + bytes);
      bytes += round_to(count * static_cast<int64_t>(sizeof(T)), 64);
      return at;
    }
    int64_t bytes = 0;
    Element* queries;
    Real* out;  // tiles
    Element* probabilities;
    Real* sums;   // one vector per row, added up at the end
    Real* shift;  // m
    Real* limit;  // m + kSlack: what a logit may reach without a rescale
    Real* stage;
  };

  explicit ForwardBlock(const ForwardTask& t)
      : task(t),
        scratch(t.panels, t.d, static_cast<char*>(t.scratch)),
        depth(round_to(t.d, kPack)),
        padded(round_to(t.d, kLanes<Real>)),
        factor(static_cast<Real>(t.scale * kLog2E)),
        keys(static_cast<const Element*>(t.keys)),
        values(static_cast<const Element*>(t.values.data)) {}

  void run() {
    start();
    const int64_t last = (task.length + kWide - 1) / kWide;
    const bool wide = task.far.block > 0;
    const bool prior = task.prior == Prior::kAdditive && (wide || task.band.radius >= 0);
    const bool inside = adds_prior_inside(task);
    for (int64_t first = 0; first < last; first += kKeys / kWide) {
      const int64_t tiles = lesser(kKeys / kWide, last - first);
      const int64_t count = lesser(task.length - first * kWide, tiles * kWide);
      for (int64_t c = 0; c < tiles; ++c) {
        if (count - c * kWide > kLanes<Real>) {
          for (int64_t p = 0; p < task.panels; ++p) attend<2>(p, first, c);
        } else {
          for (int64_t p = 0; p < task.panels; ++p) attend<1>(p, first, c);
        }
      }
      if constexpr (Storage::kAddsPrior) {
        for (int64_t p = 0; inside && p < task.panels; ++p) add_prior_inside(p);
      }
      for_columns<Real>(padded, [&](auto width, int64_t column) {
        for (int64_t p = 0; p < task.panels; ++p) {
          gather<decltype(width)::value>(p, column, first * kWide, count);
        }
      });
    }
    for (int64_t p = 0; p < task.panels; ++p) finish_softmax(p, prior, inside);
    if (!prior || inside) return;
    // Bands of neighbouring panels overlap: what one has read, the next finds in the cache.
    for_columns<Real>(padded, [&](auto width, int64_t column) {
      for (int64_t p = 0; p < task.panels; ++p) {
        constexpr int kVectors = decltype(width)::value;
        const int64_t i0 = (task.first_panel + p) * kRows;
        if (wide) {
          add_far<Real, kVectors>(out_tile(p, column), task.far, i0, column, task.length, padded);
        } else {
          Storage::template add_prior<kVectors>(out_tile(p, column), task.band, i0,
                                                values + column * kPack, task.values.stride,
                                                task.length);
        }
      }
    });
    Real ones[kRows];
    for (Real& one : ones) one = 1;
    for (int64_t p = 0; p < task.panels; ++p) write(p, ones, task.out);
  }

  void start() {
    for (int64_t p = 0; p < task.panels; ++p) {
      Storage::template pack_panel<kRows>(task.q, task.length, task.d, task.first_panel + p,
                                          task.scale * kLog2E, scratch.queries + p * kRows * depth);
    }
    const int64_t rows = task.panels * kRows;
    memset(scratch.sums, 0, static_cast<size_t>(rows * kLanes<Real>) * sizeof(Real));
    for (int64_t i = 0; i < rows; ++i) {
      scratch.shift[i] = Real(0);
      scratch.limit[i] = -Real(INFINITY);
    }
  }

  // Probabilities of tile c of the block that begins at tile `first`, not yet divided.
  template <int kVectors>
  void attend(int64_t p, int64_t first, int64_t c) {
    Accumulators<Real, kVectors> tile;
    set_zero<Real, kVectors>(tile);
    const int64_t i0 = (task.first_panel + p) * kRows, j0 = (first + c) * kWide;
    add_panel_product_of<Format>(task.length - i0, tile, scratch.queries + p * kRows * depth,
                                 keys + (first + c) * depth * kWide, kWide * kPack, depth / kPack);
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) tile[i][h] = Storage::to_logits(tile[i][h], factor);
    }
    if (task.prior == Prior::kLogit && is_near(i0, j0)) {
      add_gain<Real, kVectors>(tile, static_cast<const Real*>(task.band.gain_log2) + (j0 - i0));
    }
    if (__builtin_expect(j0 + kVectors * kLanes<Real> > task.length, 0)) {
      hide_padding<Real, kVectors>(tile, task.length - j0);
    }

    Element* probabilities = scratch.probabilities + p * kRows * kStride + c * kWide;
    const Real* limit = scratch.limit + p * kRows;
    auto exceeds = greater(maximum(tile[0][0], tile[0][kVectors - 1]), broadcast(limit[0]));
    LADNET_UNROLL
    for (int i = 1; i < kRows; ++i) {
      exceeds |= greater(maximum(tile[i][0], tile[i][kVectors - 1]), broadcast(limit[i]));
    }
    if (__builtin_expect(any(exceeds), 0)) {
      Real logits[kRows * kVectors * kLanes<Real>];
      store_tile<Real, kVectors>(tile, logits, kVectors * kLanes<Real>);
      raise<kVectors>(p, logits, first == 0, c * kWide);
      load_tile<Real, kVectors>(tile, logits, kVectors * kLanes<Real>);
    }
    const Real* shift = scratch.shift + p * kRows;
    Real* sums = scratch.sums + p * kRows * kLanes<Real>;
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Vec<Real> m = broadcast(shift[i]);
      Vec<Real> total = exp2(tile[i][0] - m);
      if constexpr (kVectors == 2) {
        const Vec<Real> right = exp2(tile[i][1] - m);
        Storage::store_probabilities(probabilities + i * kStride, total, right);
        total = total + right;
      } else {
        Storage::store_probabilities(probabilities + i * kStride, total);
      }
      Real* sum = sums + i * kLanes<Real>;
      store(sum, load(sum) + total);
    }
  }

  // Whether the prior counts between the rows from i0 and the keys from j0 of a tile.
  bool is_near(int64_t i0, int64_t j0) const {
    return task.band.radius >= 0 && j0 - (i0 + kRows - 1) <= task.band.radius &&
           i0 - (j0 + kWide - 1) <= task.band.radius;
  }

  // Raises m of the rows whose logits exceed their limit, and scales what they have so far: sums,
  // outputs, which the first block has none of, and the first `done` probabilities of this block.
  template <int kVectors>
  __attribute__((noinline)) void raise(int64_t p, const Real* logits, bool first_block,
                                       int64_t done) {
    constexpr int kWidth = kVectors * kLanes<Real>;
    for (int i = 0; i < kRows; ++i) {
      const int64_t row = p * kRows + i;
      const Real most = largest<Real>(
          maximum(load(logits + i * kWidth), load(logits + (i + 1) * kWidth - kLanes<Real>)));
      if (!(most > scratch.limit[row])) continue;
      const Real raised = static_cast<Real>(ceil(most));
      const bool first = scratch.limit[row] == -Real(INFINITY);
      const Real ratio = first ? Real(0) : scalar_exp2(scratch.shift[row] - raised);
      scratch.shift[row] = raised;
      scratch.limit[row] = raised + kSlack;
      Real* sum = scratch.sums + row * kLanes<Real>;
      store(sum, load(sum) * broadcast(ratio));
      for_columns<Real>(first_block ? 0 : padded, [&](auto width, int64_t column) {
        constexpr int kCount = decltype(width)::value;
        Real* out = out_tile(p, column) + i * kCount * kLanes<Real>;
        for (int h = 0; h < kCount; ++h, out += kLanes<Real>) {
          store(out, load(out) * broadcast(ratio));
        }
      });
      Storage::rescale(scratch.probabilities + row * kStride, done, ratio);
    }
  }

  Real* out_tile(int64_t p, int64_t column) const {
    return scratch.out + p * kRows * padded + kRows * column;
  }

  // Adds the values of `count` keys from key j0 on; those of the first block overwrite. Where a row
  // of probabilities is several blocks long, each is a sum of its own.
  template <int kVectors>
  void gather(int64_t p, int64_t column, int64_t j0, int64_t count) {
    constexpr int kWidth = kVectors * kLanes<Real>;
    const int64_t rows = task.length - (task.first_panel + p) * kRows;
    Real* out = out_tile(p, column);
    for (int64_t at = 0; at < count; at += Storage::kBlock) {
      const int64_t keys = lesser(Storage::kBlock, count - at);
      Accumulators<Real, kVectors> tile;
      set_zero<Real, kVectors>(tile);
      add_product_of<Format, kStride, kPack>(
          rows, tile, scratch.probabilities + p * kRows * kStride + at,
          values + (j0 + at) / kPack * task.values.stride + column * kPack, task.values.stride,
          (keys + kPack - 1) / kPack);
      if (j0 + at == 0) {
        store_tile<Real, kVectors>(tile, out, kWidth);
      } else {
        add_tile<Real, kVectors>(tile, out, kWidth);
      }
    }
  }

  // The sums' reciprocals; lse.
  void finish_sums(int64_t p, Real* inverse) {
    const int64_t i0 = (task.first_panel + p) * kRows;
    for (int i = 0; i < kRows; ++i) {
      const int64_t row = p * kRows + i;
      const Real total = sum<Real>(load(scratch.sums + row * kLanes<Real>));
      inverse[i] = 1 / total;
      if (task.lse != nullptr && i0 + i < task.length) {
        static_cast<Real*>(task.lse)[i0 + i] =
            static_cast<Real>((scratch.shift[row] + log2(double(total))) * kLn2);
      }
    }
  }

  // Divides the probabilities of the only block by their sums and adds the prior.
  void add_prior_inside(int64_t p) {
    const int64_t i0 = (task.first_panel + p) * kRows;
    Real inverse[kRows];
    finish_sums(p, inverse);
    for (int64_t j0 = 0; j0 < task.length; j0 += kLanes<Real>) {
      Real* probabilities = scratch.probabilities + p * kRows * kStride + j0;
      const Real* gain = static_cast<const Real*>(task.band.gain) + (j0 - i0);
      const bool near = is_near(i0, j0);
      LADNET_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Vec<Real> added = near ? load(gain - i) : broadcast(Real(0));
        Real* at = probabilities + i * kStride;
        store(at, multiply_add(load(at), broadcast(inverse[i]), added));
      }
    }
  }

  // Writes the softmax part, divided by the sums, and leaves it in the tiles where a prior follows.
  void finish_softmax(int64_t p, bool prior, bool inside) {
    Real inverse[kRows];
    if (inside) {
      for (Real& one : inverse) one = 1;
    } else {
      finish_sums(p, inverse);
    }
    const bool keep = prior && !inside;
    if (keep) {
      for_columns<Real>(padded, [&](auto width, int64_t column) {
        divide<decltype(width)::value>(p, column, inverse);
      });
      for (Real& one : inverse) one = 1;
    } else {
      write(p, inverse, task.out);
    }
    if (task.softmax_out.data != nullptr) write(p, inverse, task.softmax_out);
  }

  template <int kVectors>
  void divide(int64_t p, int64_t column, const Real* inverse) {
    constexpr int kWidth = kVectors * kLanes<Real>;
    Real* out = out_tile(p, column);
    for (int i = 0; i < kRows; ++i) {
      for (int h = 0; h < kVectors; ++h) {
        Real* at = out + i * kWidth + h * kLanes<Real>;
        store(at, load(at) * broadcast(inverse[i]));
      }
    }
  }

  void write(int64_t p, const Real* factors, const MutableRows& to) {
    const int64_t i0 = (task.first_panel + p) * kRows;
    write_tiles(scratch.out + p * kRows * padded, padded, factors, i0,
                lesser(kRows, task.length - i0), task.d, scratch.stage, to);
  }

  const ForwardTask& task;
  const Layout scratch;
  const int64_t depth, padded;
  const Real factor;
  const Element* const keys;
  const Element* const values;
};

}  // namespace
}  // namespace ladnet::LADNET_ISA
