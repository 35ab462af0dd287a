#include "cpu/attention_toeplitz.h"

#include <algorithm>
#include <cmath>

#include "cpu/attention_kernels.h"

namespace ladnet::attention {
namespace {

constexpr int64_t kNarrowest = 192;  // radius
constexpr int64_t kSmallest = 32;    // block
constexpr int64_t kUsual = 128;

// Interpolation over rows 0 .. block - 1, and half a row on both sides, at Chebyshev's points.
// `Wide` has more digits than the tables: the polynomials' recurrence loses some.
template <class Wide>
class Points {
 public:
  explicit Points(int64_t block) : block_(static_cast<Wide>(block)) {
    for (int p = 0; p < kRank; ++p) {
      const Wide angle = std::acos(Wide(-1)) * (Wide(p) + Wide(0.5)) / kRank;
      places_[p] = Wide(0.5) * block_ * (1 + std::cos(angle)) - Wide(0.5);
      for (int k = 0; k < kRank; ++k) polynomials_[p][k] = std::cos(Wide(k) * angle);
    }
  }

  Wide place(int p) const { return places_[p]; }

  // What each point contributes at row x: Lagrange's polynomials, as sums of Chebyshev's.
  void basis(int64_t x, double weights[kRank]) const {
    const Wide at = (static_cast<Wide>(x) + Wide(0.5)) * 2 / block_ - 1;
    Wide polynomials[kRank] = {1, at};
    for (int k = 2; k < kRank; ++k) {
      polynomials[k] = 2 * at * polynomials[k - 1] - polynomials[k - 2];
    }
    for (int p = 0; p < kRank; ++p) {
      Wide sum = Wide(0.5);
      for (int k = 1; k < kRank; ++k) sum += polynomials_[p][k] * polynomials[k];
      weights[p] = static_cast<double>(sum * 2 / kRank);
    }
  }

 private:
  const Wide block_;
  Wide places_[kRank];
  Wide polynomials_[kRank][kRank];
};

// basis (block, kRank), and the distance of point q of a block from point p of the same.
template <class Wide>
void interpolate(int64_t block, double* basis, double distances[kRank][kRank]) {
  const Points<Wide> points(block);
  for (int64_t x = 0; x < block; ++x) points.basis(x, basis + x * kRank);
  for (int q = 0; q < kRank; ++q) {
    for (int p = 0; p < kRank; ++p) {
      distances[q][p] = static_cast<double>(points.place(q) - points.place(p));
    }
  }
}

}  // namespace

int64_t toeplitz_block(double w, double b, int64_t length, int64_t radius, bool wide_type) {
  if (!std::isfinite(w) || !std::isfinite(b)) return 0;
  if (radius < kNarrowest || 32 * radius < length) return 0;
  const double reach = static_cast<double>(radius), turn = w == 0.0 ? -1.0 : -b / w;  // d^2
  double steps = std::sqrt(std::fabs(w));
  if (turn > 0.0) {
    const double farthest = static_cast<double>(length);
    if (turn <= farthest * farthest) return 0;
    // G grows up to there, and its derivatives with it.
    steps *= std::max(1.0, std::sqrt(std::fabs(w)) * reach);
  }
  const double smooth = (wide_type ? 0.2 : 1.0) / std::max(steps, 1e-300);
  const int64_t wanted = std::max(kUsual, length / 16);
  int64_t block = kSmallest;
  if (smooth < static_cast<double>(block)) return 0;
  while (2 * block <= wanted && static_cast<double>(2 * block) <= smooth) block *= 2;
  return block;
}

Toeplitz::Toeplitz(const Problem& problem, const std::vector<Segment>& segments,
                   const std::vector<BandTables>& bands, int64_t shortest, const Tensor& rows,
                   const Tensor* others)
    : problem_(problem),
      segments_(segments),
      kernels_(toeplitz_kernels(problem.dtype)),
      rows_(rows),
      others_(others),
      element_bytes_(real_bytes(problem.dtype)),
      padded_(round_up(problem.d, kernels_.lanes)),
      places_(segments.size()) {
  if (problem.prior != Prior::kAdditive) return;
  const auto real_at = [&](const void* values, int64_t at) {
    return problem.dtype == Dtype::kFloat64 ? static_cast<const double*>(values)[at]
                                            : double(static_cast<const float*>(values)[at]);
  };
  std::map<std::pair<int64_t, int64_t>, int64_t> most;  // blocks
  int64_t bytes = 0;
  for (size_t s = 0; s < segments.size(); ++s) {
    const int64_t head = segments[s].head, length = segments[s].bag.length;
    if (length < shortest) continue;
    Place& place = places_[s];
    place.block =
        toeplitz_block(real_at(problem.w, head), real_at(problem.b, head), length,
                       band_of(bands, segments[s]).radius, problem.dtype == Dtype::kFloat64);
    if (place.block == 0) continue;
    place.offset = bytes;
    place.first_item = items_.size();
    const int64_t blocks = blocks_of(s);
    bytes += buffer_bytes(element_bytes_, others != nullptr ? 3 : 2, blocks * kRank, padded_);
    for (int64_t block = 0; block < blocks; ++block) items_.push_back({s, block});
    int64_t& known = most[{head, place.block}];
    known = std::max(known, blocks);
  }
  memory_ = Buffer(bytes);
  gradients_.resize(2 * items_.size());
  for (const auto& [key, blocks] : most) {
    make_tables(static_cast<size_t>(key.first), key.second, blocks);
  }
}

void Toeplitz::make_tables(size_t head, int64_t block, int64_t blocks) {
  const bool wide = problem_.dtype == Dtype::kFloat64;
  const auto real = [&](const void* values) {
    return wide ? static_cast<const double*>(values)[head]
                : double(static_cast<const float*>(values)[head]);
  };
  const double w = real(problem_.w), b = real(problem_.b);
  Tables& tables = tables_[{static_cast<int64_t>(head), block}];
  // Beyond the radius of the band G is nothing.
  const double cut = wide ? 45.0 : 24.0;
  const double cut_of_slopes = std::min(cut + std::fabs(b), wide ? 708.0 : 87.0);
  const int64_t radius =
      band_radius(w, b, block * blocks, others_ != nullptr ? cut_of_slopes : cut);
  tables.reach = std::min(blocks - 1, radius / block + 1);
  const int64_t matrix = kRank * kRank, count = (2 * tables.reach + 1) * matrix;
  const int64_t basis_bytes = buffer_bytes(element_bytes_, block, kRank);
  const int64_t matrix_bytes = buffer_bytes(element_bytes_, count);
  tables.memory = Buffer(basis_bytes + 3 * matrix_bytes);
  tables.basis = tables.memory.as<char>();
  tables.gain = tables.basis + basis_bytes;
  tables.slope_w = tables.gain + matrix_bytes;
  tables.slope_b = tables.slope_w + matrix_bytes;
  const auto put = [&](char* table, int64_t at, double value) {
    if (wide) {
      reinterpret_cast<double*>(table)[at] = value;
    } else {
      reinterpret_cast<float*>(table)[at] = static_cast<float>(value);
    }
  };
  std::vector<double> basis(static_cast<size_t>(block * kRank));
  double distances[kRank][kRank];
  if (wide) {
    interpolate<long double>(block, basis.data(), distances);
  } else {
    interpolate<double>(block, basis.data(), distances);
  }
  for (size_t at = 0; at < basis.size(); ++at) {
    put(tables.basis, static_cast<int64_t>(at), basis[at]);
  }
  // The exponent has one sign in the whole bag, but for distance 0 where b is 0.
  const double decides = b != 0.0 ? b : w;
  const double side = decides > 0.0 ? 1.0 : decides < 0.0 ? -1.0 : 0.0;
  tables.diagonal_b = b == 0.0 ? -side : 0.0;
  for (int64_t apart = -tables.reach; apart <= tables.reach; ++apart) {
    for (int q = 0; q < kRank; ++q) {
      for (int p = 0; p < kRank; ++p) {
        const double d = static_cast<double>(apart * block) + distances[q][p];
        const double G = std::exp(-side * (w * d * d + b));
        const int64_t at = (apart + tables.reach) * matrix + q * kRank + p;
        put(tables.gain, at, G);
        put(tables.slope_w, at, -side * G * d * d);
        put(tables.slope_b, at, -side * G);
      }
    }
  }
}

ToeplitzTask Toeplitz::task(size_t s) const {
  const Segment& segment = segments_[s];
  const Tables& tables = tables_.at({segment.head, block_of(s)});
  const int64_t blocks = blocks_of(s);
  char* memory = memory_.as<char>() + places_[s].offset;
  const int64_t bytes = element_bytes_ * blocks * kRank * padded_;
  ToeplitzTask task;
  task.length = segment.bag.length;
  task.d = problem_.d;
  task.block = block_of(s);
  task.blocks = blocks;
  task.reach = tables.reach;
  task.diagonal_b = tables.diagonal_b;
  task.basis = tables.basis;
  task.gain = tables.gain;
  task.slope_w = tables.slope_w;
  task.slope_b = tables.slope_b;
  task.rows = rows_of(problem_, rows_, segment);
  task.moments = memory;
  task.results = memory + bytes;
  task.other_moments = nullptr;
  if (others_ != nullptr) {
    task.others = rows_of(problem_, *others_, segment);
    task.other_moments = memory + 2 * bytes;
  }
  return task;
}

FarPrior Toeplitz::prior(size_t s) const {
  if (!serves(s)) return {};
  const ToeplitzTask whole = task(s);
  return {whole.block, whole.basis, whole.results};
}

void Toeplitz::run() {
  const auto count = static_cast<int64_t>(items_.size());
  parallel_phases({{count, true}, {count, true}}, problem_.threads, [&](int phase, int64_t i, int) {
    const Item& item = items_[static_cast<size_t>(i)];
    const ToeplitzTask whole = task(item.segment);
    if (phase == 0) {
      kernels_.gather_moments(whole, item.block);
    } else {
      kernels_.combine(whole, item.block, &gradients_[2 * static_cast<size_t>(i)]);
    }
  });
}

void Toeplitz::add_gradients(size_t s, double sums[2]) const {
  if (!serves(s)) return;
  for (int64_t block = 0; block < blocks_of(s); ++block) {
    const size_t at = 2 * (places_[s].first_item + static_cast<size_t>(block));
    for (size_t i = 0; i < 2; ++i) sums[i] += gradients_[at + i];
  }
}

}  // namespace ladnet::attention
