// Atomic operations. One thread runs at a time, so they need no lock; they are real atomics all the
// same, because that is how ThreadSanitizer knows them. Relaxed: they order no other memory.
#pragma once

#include <type_traits>

namespace cuda_on_cpu {

// Applies `next` to the value at `address`; returns the old one.
template <class T, class Function>
T exchange(T* address, Function next) {
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  T wanted = next(old);
  while (!__atomic_compare_exchange(address, &old, &wanted, true, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
    wanted = next(old);
  }
  return old;
}

// Keeps an argument out of template deduction: atomicAdd(&counter, 1) is one of counter's type.
template <class T>
using Same = std::common_type_t<T>;

}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_ATOMIC(name, expression)                                                      \
  template <class T>                                                                              \
  T name(T* address, cuda_on_cpu::Same<T> value) {                                                \
    return cuda_on_cpu::exchange(address, [value](T old) { return static_cast<T>(expression); }); \
  }
CUDA_ON_CPU_ATOMIC(atomicAdd, old + value)
CUDA_ON_CPU_ATOMIC(atomicSub, old - value)
CUDA_ON_CPU_ATOMIC(atomicMax, old > value ? old : value)
CUDA_ON_CPU_ATOMIC(atomicMin, old < value ? old : value)
CUDA_ON_CPU_ATOMIC(atomicAnd, old& value)
CUDA_ON_CPU_ATOMIC(atomicOr, old | value)
CUDA_ON_CPU_ATOMIC(atomicXor, old ^ value)
CUDA_ON_CPU_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
CUDA_ON_CPU_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
CUDA_ON_CPU_ATOMIC(atomicExch, (static_cast<void>(old), value))
#undef CUDA_ON_CPU_ATOMIC

template <class T>
T atomicCAS(T* address, cuda_on_cpu::Same<T> expected, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::exchange(
      address, [=](T old) { return old == expected ? static_cast<T>(value) : old; });
}

// A fence waits for nobody, and so it makes no thread's write visible in time: no edge.
inline void __threadfence() {}
inline void __threadfence_block() {}
