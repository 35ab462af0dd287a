"""Triton kernels compiled ahead of time, no GPU needed, and run by the interpreter.

So a kernel is executed as the compiler really built it: layouts, tensor-core fragments,
asynchronous copies and their waits. Compilation ends with the PTX; no ptxas reads it. Needs triton;
nothing else here does.

    arguments = {"X": x, "Y": y, "N": 300}
    kernel = compile_for_sm80(function, arguments, {"BLOCK": 512}, num_warps=4)
    kernel((3,), arguments)

`compile_for` does the same for sm_90 too, and functions may be Gluon's.

Arguments are given by name, as to a launch: torch tensors on the CPU, numpy arrays, numbers, None,
and tensor descriptors, Triton's or Gluon's for Hopper, of torch tensors.
Kernels write into the tensors and arrays themselves. A tensor may be a view with any strides: its
whole storage is one allocation, which other views share, and its address is where it begins there.
numpy arrays have to be contiguous; those that hold bfloat16 are uint16 and named in ``bf16``.
Accesses outside of an allocation raise `PtxError`, and so does everything else that
README.md lists. What a kernel should have written is known only if the output
was filled with NaN before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from .interpreter import Kernel, Order, Pointer, PtxError, Race, TensorMap, parse, run

Argument = Any  # Tensor | np.ndarray | TensorDescriptor | int | float | None

#: The span of a swizzle by its number in CUDA's CUtensorMapSwizzle.
_SWIZZLES = (0, 32, 64, 128)


@dataclass(frozen=True)
class CompiledKernel:
    """A kernel as Triton built it, and which of its parameters are passed at a launch."""

    ptx: str
    parsed: Kernel
    parameters: tuple[str, ...]
    num_warps: int
    shared_bytes: int
    scratch_bytes: int  # global memory that each program wants
    #: What the compiler says of the tensor maps of its descriptors, by parameter. None where it
    #: takes a descriptor apart.
    descriptors: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def __call__(
        self,
        grid: Sequence[int],
        arguments: Mapping[str, Argument],
        *,
        race: Race = "threads",
        order: Order = "first",
    ) -> int:
        """Run a whole grid; return how many instructions it took.

        ``arguments`` may hold more than the kernel's parameters: constexprs, for one. ``race`` says
        between whom races in shared memory are looked for: ``"threads"``, ``"warps"`` (threads of
        different warps only) or ``"off"``; ``order``, which of the threads that parted run first.
        """
        passed: list[Any] = []
        for name in self.parameters:
            if name in self.descriptors:
                passed += _descriptor(arguments[name], self.descriptors[name])
            else:
                passed.append(_pointer(arguments[name]))
        # Triton appends pointers to scratch memory, null where there is none.
        scratch = np.zeros(self.scratch_bytes * int(np.prod(grid)), np.uint8)
        missing = len(self.parsed.parameters) - len(passed)
        passed += [scratch if i == 0 and scratch.size else 0 for i in range(missing)]
        # With partitions of warps a block has more threads than the option num_warps says.
        threads = self.parsed.required_threads or 32 * self.num_warps
        return run(
            self.parsed, self.parsed.name, grid, (threads,), passed,
            shared_bytes=self.shared_bytes, race=race, order=order,
        )  # fmt: skip


def compile_for(
    architecture: int,
    function: Any,
    arguments: Mapping[str, Argument],
    constexprs: Mapping[str, Any],
    *,
    num_warps: int = 4,
    num_stages: int = 3,
    bf16: Collection[str] = (),
    assemble: bool = False,
    **options: Any,
) -> CompiledKernel:
    """Compile a ``@triton.jit`` or ``@gluon.jit`` function for arguments like these.

    Triton's own launcher decides from them what the compiler may assume: the types, which pointers
    and integers are divisible by 16, which integers are 1.

    Parameters
    ----------
    architecture
        Compute capability as an integer: 80 or 90.
    arguments
        By parameter name; see the top of this module.
    constexprs
        Values of the ``tl.constexpr`` parameters.
    bf16
        Names of the uint16 arrays that hold bfloat16.
    assemble
        Whether ptxas makes machine code of the PTX, which nobody runs: it must accept it.
    options
        More compiler options, e.g. ``debug=True``, which keeps ``tl.device_assert``.
    """
    given = {name: _tensor(value, name in bf16) for name, value in arguments.items()}
    options = {"num_warps": num_warps, "num_stages": num_stages, **options}
    target = GPUTarget("cuda", architecture, 32)
    backend = make_backend(target)
    bind = create_function_from_signature(function.signature, function.params, backend)
    bound, specialization, _ = bind(**given, **constexprs)
    # The launcher's own step from arguments to a source. It is private: with another release of
    # Triton than the one that is tested, look here first.
    parsed_options, signature, values, attributes = function._pack_args(
        backend, dict(options), bound, specialization, options
    )
    source_type = _gluon_source() if function.is_gluon() else ASTSource
    source = source_type(function, signature, values, attributes)
    with knobs.runtime.scope():
        if not assemble:
            knobs.runtime.add_stages_inspection_hook = _no_machine_code
        built = triton.compile(source, target=target, options=parsed_options.__dict__)
    ptx = built.asm["ptx"]
    tensors = [name for name, kind in signature.items() if str(kind).startswith("tensordesc")]
    known = getattr(built.metadata, "tensordesc_meta", None) or [None] * len(tensors)
    return CompiledKernel(
        ptx,
        parse(ptx)[built.metadata.name],
        tuple(name for name, kind in signature.items() if kind != "constexpr"),
        parsed_options.num_warps,
        built.metadata.shared,
        getattr(built.metadata, "global_scratch_size", 0) or 0,
        dict(zip(tensors, known, strict=True)),
    )


def _gluon_source() -> Any:
    """Return Gluon's kind of source; older releases of Triton have none."""
    from triton.experimental.gluon._runtime import GluonASTSource

    return GluonASTSource


def _descriptor(value: Any, known: Mapping[str, Any] | None) -> list[Any]:
    """Return the parameters that Triton's launcher makes of a tensor descriptor."""
    shape, strides = [*value.shape], [*value.strides]
    if known is None:
        rounds = getattr(value, "round_f32_to_tf32", False)
        apart = [_pointer(value.base), *shape, *strides, value.padding == "nan", rounds]
        return [*apart, *shape, *strides]
    if known.get("fp4_padded"):
        raise PtxError("unsupported: a tensor descriptor of fp4")
    tensor = TensorMap(
        _pointer(value.base),
        tuple(shape),
        tuple(strides),
        tuple(known["block_size"]),
        known["elem_size"],
        _SWIZZLES[known["swizzle"]],
        "nan" if value.padding == "nan" else "zero",
    )
    return [tensor, *shape, *strides]


#: For an A100, whose code everything else here can run too.
compile_for_sm80 = partial(compile_for, 80)


def _no_machine_code(*stages_of: Any) -> tuple[str, str] | None:
    """Have Triton stop at the PTX, which is what is run; without arguments: a key for its cache."""
    if not stages_of:
        return "no machine code", "no machine code"
    _, stages, *_ = stages_of
    stages["cubin"] = lambda ptx, metadata: b""
    return None


def _tensor(value: Argument, is_bf16: bool) -> Any:
    """Return what Triton's launcher knows: tensors for arrays."""
    if not isinstance(value, np.ndarray):
        return value
    tensor = torch.from_numpy(value)
    return tensor.view(torch.bfloat16) if is_bf16 else tensor


def _pointer(value: Argument) -> Any:
    """Return what the interpreter knows: a place in an array for a tensor."""
    if not isinstance(value, Tensor):
        return value
    storage = torch.empty(0, dtype=torch.uint8).set_(value.untyped_storage())
    return Pointer(storage.numpy(), int(value.storage_offset()) * value.element_size())
