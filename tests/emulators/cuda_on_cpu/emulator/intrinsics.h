// Device functions that the toolkit's headers define for nvcc alone. Approximate ones are exact.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <cmath>
#include <type_traits>

// ---- Loads and stores with cache hints ----

template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}
template <class T>
void __stcs(T* to, T value) {
  *to = value;
}
template <class T>
void __stcg(T* to, T value) {
  *to = value;
}

// ---- Numbers ----

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(b) < static_cast<C>(a) ? static_cast<C>(b) : static_cast<C>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(b) : static_cast<C>(a);
}

inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x) {
  return __builtin_popcountll(x);
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline int __clz(int x) {
  return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
inline int __clzll(long long x) {
  return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x));
}

inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}

namespace cuda_on_cpu {

template <class To, class From>
To reinterpret(From from) {
  static_assert(sizeof(To) == sizeof(From), "the size stays");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

}  // namespace cuda_on_cpu

inline int __float_as_int(float x) {
  return cuda_on_cpu::reinterpret<int>(x);
}
inline unsigned __float_as_uint(float x) {
  return cuda_on_cpu::reinterpret<unsigned>(x);
}
inline float __int_as_float(int x) {
  return cuda_on_cpu::reinterpret<float>(x);
}
inline float __uint_as_float(unsigned x) {
  return cuda_on_cpu::reinterpret<float>(x);
}
inline long long __double_as_longlong(double x) {
  return cuda_on_cpu::reinterpret<long long>(x);
}
inline double __longlong_as_double(long long x) {
  return cuda_on_cpu::reinterpret<double>(x);
}
