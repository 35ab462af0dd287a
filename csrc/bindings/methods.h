// What each operator adds to the module ladnet_fast._cpu.
#pragma once

#include <vector>

#include "bindings/python.h"

namespace ladnet::python {

using Methods = std::vector<PyMethodDef>;

void add_attention(Methods& methods);
void add_ddl(Methods& methods);
void add_linear(Methods& methods);

// Makes the module of all methods, which must live as long as the process. Python's error is set
// where the result is null.
inline PyObject* make_module(PyModuleDef* definition, Methods* methods) {
  methods->push_back({nullptr, nullptr, 0, nullptr});
  definition->m_methods = methods->data();
  return PyModule_Create(definition);
}

}  // namespace ladnet::python
