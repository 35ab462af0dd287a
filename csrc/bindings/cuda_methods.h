// What the losses add to the module ladnet_fast._cuda.
#pragma once

#include "bindings/methods.h"

namespace ladnet::python {

void add_cuda_ddl(Methods& methods);

}  // namespace ladnet::python
