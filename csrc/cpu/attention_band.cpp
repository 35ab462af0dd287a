#include "cpu/attention_band.h"

#include <algorithm>
#include <cmath>

namespace ladnet::attention {
namespace {

// The exponent |w d^2 + b| beyond which the prior is left out. For outputs and the gradients of q,
// k and v it is chosen so that the prior is smaller than the rounding error of every result: 4e-11
// for sums in fp32, 3e-20 in fp64. The gradients of w and b have no other summands than the prior,
// so for them the prior is left out where it is that much smaller than its largest value. That is
// exp(-|b|) where w and b agree in sign and 1 where they differ, unless it underflows.
double cut_of(const TableNeeds& needs, double w, double b) {
  const bool wide = needs.real_type == TableType::kFloat64;
  const double cut = wide ? 45.0 : 24.0;
  const bool falls_from_zero = w == 0.0 || (w > 0.0) == (b > 0.0);
  if (!needs.slopes || !falls_from_zero) return cut;
  return std::min(cut + std::fabs(b), wide ? 708.0 : 87.0);
}

int64_t bytes_of(TableType type) {
  return type == TableType::kFloat64 ? 8 : type == TableType::kFloat32 ? 4 : 2;
}

void put(char* table, TableType type, int64_t distance, double value) {
  switch (type) {
    case TableType::kFloat64:
      reinterpret_cast<double*>(table)[distance] = value;
      break;
    case TableType::kFloat32:
      reinterpret_cast<float*>(table)[distance] = static_cast<float>(value);
      break;
    case TableType::kBFloat16:
      reinterpret_cast<uint16_t*>(table)[distance] = float_to_bf16(static_cast<float>(value));
      break;
  }
}

}  // namespace

int64_t band_radius(double w, double b, int64_t length, double cut) {
  if (!std::isfinite(w) || !std::isfinite(b)) return length - 1;
  if (w == 0.0) return std::fabs(b) <= cut ? length - 1 : -1;
  const double farthest = std::max((cut - b) / w, (-cut - b) / w);  // d^2
  if (farthest < 0.0) return -1;
  const double radius = std::floor(std::sqrt(farthest));
  return radius < static_cast<double>(length) ? static_cast<int64_t>(radius) : length - 1;
}

BandTables::BandTables(double w, double b, int64_t length, int64_t margin,
                       const TableNeeds& needs) {
  band_.radius = band_radius(w, b, length, cut_of(needs, w, b));
  if (band_.radius < 0) return;

  const int64_t reach = band_.radius + margin, entries = 2 * reach + 1;
  const bool low = needs.gain && needs.gain_type == TableType::kBFloat16;
  const int64_t gain_bytes = buffer_bytes(bytes_of(needs.gain_type), entries);
  const int64_t real_bytes = buffer_bytes(bytes_of(needs.real_type), entries);
  memory_ = Buffer((needs.gain ? gain_bytes : 0) + (low ? gain_bytes : 0) +
                   (needs.gain_log2 ? real_bytes : 0) + (needs.slopes ? 2 * real_bytes : 0));
  char* next = memory_.as<char>();
  const auto take = [&](bool wanted, TableType type) -> char* {
    if (!wanted) return nullptr;
    char* centre = next + reach * bytes_of(type);
    next += buffer_bytes(bytes_of(type), entries);
    return centre;
  };
  char* const gain = take(needs.gain, needs.gain_type);
  char* const gain_low = take(low, needs.gain_type);
  char* const gain_log2 = take(needs.gain_log2, needs.real_type);
  char* const slope_w = take(needs.slopes, needs.real_type);
  char* const slope_b = take(needs.slopes, needs.real_type);
  band_.gain = gain;
  band_.gain_low = gain_low;
  band_.gain_log2 = gain_log2;
  band_.slope_w = slope_w;
  band_.slope_b = slope_b;

  const double log2e = 1.4426950408889634;
  for (int64_t d = 0; d <= reach; ++d) {
    // Squared in floating point: an integer square would overflow for long videos. Beyond the
    // radius tiles read zeros.
    const bool counts = d <= band_.radius;
    const double d2 = static_cast<double>(d) * static_cast<double>(d);
    const double exponent = w * d2 + b;
    const double G = counts ? std::exp(-std::fabs(exponent)) : 0.0;
    const double by_b = !counts ? 0.0 : exponent > 0 ? -G : exponent < 0 ? G : 0 * exponent;
    for (const int64_t at : {d, -d}) {
      if (gain != nullptr) put(gain, needs.gain_type, at, G);
      if (gain_low != nullptr) {
        const double rounded = bf16_to_float(float_to_bf16(static_cast<float>(G)));
        put(gain_low, needs.gain_type, at, G - rounded);
      }
      if (gain_log2 != nullptr) put(gain_log2, needs.real_type, at, G * log2e);
      if (slope_w != nullptr) put(slope_w, needs.real_type, at, by_b * d2);
      if (slope_b != nullptr) put(slope_b, needs.real_type, at, by_b);
    }
  }
}

Band BandTables::band(int64_t length) const {
  Band band = band_;
  band.radius = std::min(band.radius, length - 1);
  return band;
}

}  // namespace ladnet::attention
