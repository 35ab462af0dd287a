// The Python module ladnet_fast._cpu: pointers, sizes and strides in, nothing of torch.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cpu/dispatch.h"

void bind_attention(pybind11::module_& module);
void bind_ddl(pybind11::module_& module);
void bind_linear(pybind11::module_& module);

PYBIND11_MODULE(_cpu, module) {
  module.doc() = "Kernels for CPUs. Every argument has been checked by the Python that calls.";
  module.def(
      "instruction_set", [] { return ladnet::name_of(ladnet::instruction_set()); },
      "Name of the instruction set in use; RuntimeError if LADNET_CPU asks for a missing one.");
  module.def(
      "available_instruction_sets",
      [] {
        std::vector<std::string> names;
        for (ladnet::InstructionSet set : ladnet::available_instruction_sets()) {
          names.push_back(ladnet::name_of(set));
        }
        return names;
      },
      "Names that LADNET_CPU accepts on this processor, the slowest first.");
  module.def("has_bf16_dot", &ladnet::has_bf16_dot,
             "Whether bf16 products use an instruction of their own.");
  bind_attention(module);
  bind_ddl(module);
  bind_linear(module);
}
