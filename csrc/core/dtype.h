// Storage types of tensors, and their conversion to and from the type that kernels compute in.
//
// bf16 and fp16 are storage only: rows are widened to fp32 when a kernel packs them and rounded to
// nearest even when it writes. Plain integer arithmetic, so that every compiler vectorises it.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/host_device.h"

namespace ladnet {

enum class Dtype : int { kFloat32 = 0, kFloat64 = 1, kBFloat16 = 2, kFloat16 = 3 };

LADNET_HOST_DEVICE size_t size_of(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? 8 : dtype == Dtype::kFloat32 ? 4 : 2;
}

template <class To, class From>
LADNET_HOST_DEVICE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

LADNET_HOST_DEVICE float bf16_to_float(uint16_t bits) {
  return bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

LADNET_HOST_DEVICE uint16_t float_to_bf16(float value) {
  const uint32_t bits = bit_cast<uint32_t>(value);
  // Rounding up could carry a NaN's payload into infinity: NaN keeps its upper half, made quiet.
  const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const uint32_t quiet = bits | 0x00400000u;
  return static_cast<uint16_t>(((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded) >> 16);
}

LADNET_HOST_DEVICE float half_to_float(uint16_t bits) {
  // The exponent field moved into place is 112 too small; a product repairs that for normal and
  // subnormal numbers alike. Infinity and NaN take the largest exponent instead.
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
  const float scaled = bit_cast<float>(magnitude) * bit_cast<float>((127u + 112u) << 23);
  const uint32_t special = magnitude | 0x7f800000u;
  const uint32_t finite = bit_cast<uint32_t>(scaled);
  const uint32_t result = magnitude >= 0x0f800000u ? special : finite;
  return bit_cast<float>(result | static_cast<uint32_t>(bits & 0x8000u) << 16);
}

LADNET_HOST_DEVICE uint16_t float_to_half(float value) {
  const uint32_t bits = bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Normal: move the exponent down by 112 and round to nearest even; a carry may reach infinity.
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Subnormal: adding 0.5 leaves the wanted bits, rounded, at the end of the mantissa.
  const float shifted = bit_cast<float>(magnitude) + 0.5f;
  const uint32_t subnormal = bit_cast<uint32_t>(shifted) - 0x3f000000u;
  const uint32_t overflow = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t result = magnitude >= 0x47800000u  ? overflow
                          : magnitude < 0x38800000u ? subnormal
                                                    : normal;
  return static_cast<uint16_t>(result | (bits >> 16 & 0x8000u));
}

// ---- A storage type as a type ------------------------------------------------------------------

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

template <class Real>
LADNET_HOST_DEVICE Real load_as(float x) {
  return static_cast<Real>(x);
}
template <class Real>
LADNET_HOST_DEVICE Real load_as(double x) {
  return static_cast<Real>(x);
}
template <class Real>
LADNET_HOST_DEVICE Real load_as(BFloat16 x) {
  return static_cast<Real>(bf16_to_float(x.bits));
}
template <class Real>
LADNET_HOST_DEVICE Real load_as(Float16 x) {
  return static_cast<Real>(half_to_float(x.bits));
}

template <class Real>
LADNET_HOST_DEVICE void store_to(float* to, Real x) {
  *to = static_cast<float>(x);
}
template <class Real>
LADNET_HOST_DEVICE void store_to(double* to, Real x) {
  *to = static_cast<double>(x);
}
template <class Real>
LADNET_HOST_DEVICE void store_to(BFloat16* to, Real x) {
  to->bits = float_to_bf16(static_cast<float>(x));
}
template <class Real>
LADNET_HOST_DEVICE void store_to(Float16* to, Real x) {
  to->bits = float_to_half(static_cast<float>(x));
}

}  // namespace ladnet
