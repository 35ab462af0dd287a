// Addresses cross from Python as integers from Tensor.data_ptr(), 0 for none.
#pragma once

#include <stdint.h>

template <class T>
T* pointer(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}
