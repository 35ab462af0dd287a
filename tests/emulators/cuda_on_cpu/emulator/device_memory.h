// Device memory: what cudaMalloc returns, filled with NaN, with a red zone on either side.
#pragma once

#include <stddef.h>

#include <string>

namespace cuda_on_cpu {

void* allocate(size_t bytes);

// False if `pointer` is not what allocate() returned; a null pointer is fine.
bool deallocate(void* pointer);

// Returns which allocation's red zone has been written to, or an empty string. AddressSanitizer
// reports reads as well, at once and with the line.
std::string check_red_zones();

}  // namespace cuda_on_cpu
