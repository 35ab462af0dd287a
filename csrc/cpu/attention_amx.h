// bf16 products by the tile registers of AMX, and how their operands are stored.
//
// A right operand is what Bf16Pairs has: rows of pairs. A left one is read by rows along the depth,
// so that panels of queries lie row after row, and P and dS, where their columns are a left
// operand, are stored transposed.
#pragma once

#include "cpu/attention_bf16_forward.h"
#include "cpu/attention_bf16_short.h"
#include "cpu/tiles.h"

namespace ladnet::LADNET_ISA {
namespace {

// The operands of add_product; see Plain.
struct AmxTiles : Bf16Pairs {
  static constexpr bool kTileRegisters = true;
  // Rows begin at a cache line: a tile register is loaded line by line.
  static constexpr int kGap = 32;
  // Pairs of the depth of one product, which are the rows of a right register.
  static constexpr int kDepth = 16;
  static constexpr int kLine = 64;

  // tile += a b, the rows of `a` `a_stride` elements apart. Rows and columns of `b` as in
  // add_product.
  template <int kVectors>
  LADNET_INLINE void add_tile_product(Accumulators<float, kVectors>& tile, const Element* a,
                                      int64_t a_stride, const Element* b, int64_t b_stride,
                                      int64_t pairs) {
    tiles::set_zero<0>();
    if constexpr (kVectors == 2) tiles::set_zero<1>();
    for (; pairs >= kDepth; pairs -= kDepth) {
      multiply<kVectors>(a, a_stride, b, kPack * kLanes<float>, b_stride);
      a += kDepth * kPack;
      b += kDepth * b_stride;
    }
    if (pairs > 0) add_rest<kVectors>(a, a_stride, b, b_stride, pairs);
    alignas(kLine) float sums[kVectors][kRows * kLanes<float>];
    tiles::store<0>(sums[0], kLine);
    if constexpr (kVectors == 2) tiles::store<1>(sums[1], kLine);
    LADNET_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LADNET_UNROLL
      for (int h = 0; h < kVectors; ++h) tile[i][h] += load(sums[h] + i * kLanes<float>);
    }
  }

 private:
  // kDepth pairs; columns of `b` that belong to the second vector are `next` elements on.
  template <int kVectors>
  LADNET_INLINE void multiply(const Element* a, int64_t a_stride, const Element* b, int64_t next,
                              int64_t b_stride) {
    constexpr int64_t kBytes = sizeof(Element);
    tiles::load<2>(a, a_stride * kBytes);
    tiles::load<3>(b, b_stride * kBytes);
    tiles::multiply<0, 2, 3>();
    if constexpr (kVectors == 2) {
      tiles::load<4>(b + next, b_stride * kBytes);
      tiles::multiply<1, 2, 4>();
    }
  }

  // The last pairs, fewer than kDepth. Both operands are copied beside zeros: beyond its end
  // an operand need not be memory, and what is there need not be finite.
  template <int kVectors>
  static void add_rest(const Element* a, int64_t a_stride, const Element* b, int64_t b_stride,
                       int64_t pairs) {
    constexpr int kRow = kDepth * kPack;
    alignas(kLine) Element left[kRows * kRow];
    alignas(kLine) Element right[kVectors * kDepth * kRow];
    const auto mask = static_cast<__mmask16>((1u << pairs) - 1);
    for (int i = 0; i < kRows; ++i) {
      _mm512_store_si512(left + i * kRow, _mm512_maskz_loadu_epi32(mask, a + i * a_stride));
    }
    for (int h = 0; h < kVectors; ++h) {
      for (int64_t k = 0; k < kDepth; ++k) {
        const __m512i row =
            k < pairs ? load_columns(b + k * b_stride + h * kRow) : _mm512_setzero_si512();
        _mm512_store_si512(right + (h * kDepth + k) * kRow, row);
      }
    }
    multiply<kVectors>(left, kRow, right, kDepth * kRow, kRow);
  }
};

// kRows rows of a panel one after the other, each of an even number of elements; zeros beyond
// `length` and beside an odd head size.
inline void pack_row_panel(const ConstRows& stored, int64_t length, int64_t d, int64_t panel,
                           uint16_t* to) {
  const int64_t depth = round_to(d, 2);
  for (int64_t t = panel * kRows; t < (panel + 1) * kRows; ++t, to += depth) {
    const int64_t kept = t < length ? d : 0;
    if (kept > 0) {
      memcpy(to, stored.data + t * stored.stride, static_cast<size_t>(d) * sizeof(*to));
    }
    for (int64_t c = kept; c < depth; ++c) to[c] = 0;
  }
}

template <>
struct ForwardFormat<AmxTiles> : ForwardPairs<AmxTiles> {
  template <int kWidth>
  static void pack_panel(const ConstRows& stored, int64_t length, int64_t d, int64_t panel, double,
                         Element* to) {
    if constexpr (kWidth == kRows) {
      pack_row_panel(stored, length, d, panel, to);
    } else {
      pack_pair_panel<kWidth>(stored, length, d, panel, to);
    }
  }
};

// Transposed: within a block of queries and keys (i, j) lies at j * kStride + i.
template <>
struct BackwardFormat<AmxTiles> : PairBlocks<AmxTiles> {
  // Of 96 queries, whose products need no rest of the depth.
  static constexpr int kPanels = 8;
  static_assert(kPanels * kRows % (AmxTiles::kDepth * AmxTiles::kPack) == 0 &&
                kQueries % (kPanels * kRows) == 0);

  static void pack_panel(const ConstRows& stored, int64_t length, int64_t d, int64_t panel,
                         Element* to) {
    pack_row_panel(stored, length, d, panel, to);
  }

  static int64_t place(int64_t i, int64_t j) { return j * kStride + i; }
  static int64_t place_in_bag(int64_t length, int64_t i, int64_t j) {
    const int64_t query_blocks = (length + kQueries - 1) / kQueries;
    return (j / kKeys * query_blocks + i / kQueries) * part_elements(length) +
           place(i % kQueries, j % kKeys);
  }
  static int64_t bag_elements(int64_t length) {
    const int64_t blocks = (length + kKeys - 1) / kKeys;
    static_assert(kQueries == kKeys);
    return blocks * blocks * part_elements(length);
  }

  template <int kVectors>
  LADNET_INLINE void store_columns(const Accumulators<float, kVectors>& tile, Element* to) {
    LADNET_UNROLL
    for (int h = 0; h < kVectors; ++h, to += kLanes<float> * kStride) {
      __m512i pairs[kRows / 2];
      LADNET_UNROLL
      for (int i = 0; i < kRows; i += 2) pairs[i / 2] = pair_up(tile[i][h], tile[i + 1][h]);
      store_transposed(pairs, to);
    }
  }

  template <int kVectors>
  LADNET_INLINE void add_column_product(Accumulators<float, kVectors>& tile, const Element* a,
                                        const Element* b, int64_t b_stride, int64_t pairs) {
    add_product<AmxTiles, kStride, 2>(tile, a, b, b_stride, pairs);
  }

 private:
  // One block of queries and keys. Products by columns read up to a tile beyond the last key.
  static int64_t part_elements(int64_t length) {
    return lesser(kKeys, round_to(length + kRows, kWide)) * kStride;
  }

  // Six pairs of queries for each of 16 keys, as 16 rows of twelve queries.
  LADNET_INLINE void store_transposed(const __m512i (&pairs)[kRows / 2], Element* to) {
    static_assert(kRows == 12);
    const __m512i a = _mm512_unpacklo_epi32(pairs[0], pairs[1]);
    const __m512i b = _mm512_unpackhi_epi32(pairs[0], pairs[1]);
    const __m512i c = _mm512_unpacklo_epi32(pairs[2], pairs[3]);
    const __m512i d = _mm512_unpackhi_epi32(pairs[2], pairs[3]);
    // Element l of `first[n]` has the first four pairs of key 4 l + n, and that of `last` the other
    // two of keys 4 l + n and 4 l + n + 1.
    alignas(64) __m128i first[4][4];
    alignas(64) uint64_t last[2][8];
    _mm512_store_si512(first[0], _mm512_unpacklo_epi64(a, c));
    _mm512_store_si512(first[1], _mm512_unpackhi_epi64(a, c));
    _mm512_store_si512(first[2], _mm512_unpacklo_epi64(b, d));
    _mm512_store_si512(first[3], _mm512_unpackhi_epi64(b, d));
    _mm512_store_si512(last[0], _mm512_unpacklo_epi32(pairs[4], pairs[5]));
    _mm512_store_si512(last[1], _mm512_unpackhi_epi32(pairs[4], pairs[5]));
    LADNET_UNROLL
    for (int key = 0; key < 16; ++key) {
      Element* row = to + key * kStride;
      memcpy(row, &first[key % 4][key / 4], 16);
      memcpy(row + 8, &last[key % 4 / 2][key / 4 * 2 + key % 2], 8);
    }
  }
};

// The registers as AmxTiles uses them, of the thread that makes and destroys this.
class TileSession {
 public:
  TileSession() { tiles::configure(kShapes); }
  ~TileSession() { tiles::release(); }
  TileSession(const TileSession&) = delete;
  TileSession& operator=(const TileSession&) = delete;

 private:
  static constexpr tiles::Shapes kShapes = {
      1,
      0,
      {},
      {AmxTiles::kLine, AmxTiles::kLine, AmxTiles::kLine, AmxTiles::kLine, AmxTiles::kLine},
      {kRows, kRows, kRows, AmxTiles::kDepth, AmxTiles::kDepth}};
};

// InSession<&kernel>::run is that kernel in a session of its own.
template <auto kKernel>
struct InSession;
template <class... Arguments, void (*kKernel)(Arguments...)>
struct InSession<kKernel> {
  static void run(Arguments... arguments) {
    const TileSession session;
    kKernel(arguments...);
  }
};

}  // namespace
}  // namespace ladnet::LADNET_ISA
