// The Python module ladnet_fast._cpu: pointers, sizes and strides in, nothing of torch.
#include "cpu/dispatch.h"

#include <string>

#include "bindings/methods.h"

namespace python = ladnet::python;

namespace {

PyObject* instruction_set(python::Call& call) {
  call.finish();
  return python::text(ladnet::name_of(ladnet::instruction_set()));
}

PyObject* available_instruction_sets(python::Call& call) {
  call.finish();
  PyObject* const names = PyList_New(0);
  if (names == nullptr) throw python::ErrorIsSet();
  for (const ladnet::InstructionSet set : ladnet::available_instruction_sets()) {
    PyObject* const name = python::text(ladnet::name_of(set));
    const int failed = name == nullptr ? -1 : PyList_Append(names, name);
    Py_XDECREF(name);
    if (failed != 0) {
      Py_DECREF(names);
      throw python::ErrorIsSet();
    }
  }
  return names;
}

PyObject* has_bf16_dot(python::Call& call) {
  call.finish();
  return PyBool_FromLong(ladnet::bf16_products() != ladnet::Bf16Products::kWiden);
}

PyObject* bf16_products(python::Call& call) {
  call.finish();
  return python::text(ladnet::name_of(ladnet::bf16_products()));
}

}  // namespace

PyMODINIT_FUNC PyInit__cpu() {
  using python::method;
  static PyModuleDef definition{
      PyModuleDef_HEAD_INIT,
      "_cpu",
      "Kernels for CPUs. Every argument has been checked by the Python that calls.",
      -1,
      nullptr,
      nullptr,
      nullptr,
      nullptr,
      nullptr};
  static python::Methods methods;
  methods = {
      method<instruction_set>(
          "instruction_set",
          "Name of the instruction set in use; RuntimeError if LADNET_CPU asks for a missing one."),
      method<available_instruction_sets>(
          "available_instruction_sets",
          "Names that LADNET_CPU accepts on this processor, the slowest first."),
      method<has_bf16_dot>(
          "has_bf16_dot",
          "Whether the processor has an instruction for bf16 products, which is then used."),
      method<bf16_products>("bf16_products",
                            "How attention multiplies bf16, a name that LADNET_BF16 accepts."),
  };
  python::add_attention(methods);
  python::add_ddl(methods);
  python::add_linear(methods);
  return python::make_module(&definition, &methods);
}
