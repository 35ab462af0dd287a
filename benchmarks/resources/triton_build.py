"""Compiling a Triton kernel for a GPU that is not there.

The compiler gets what Triton's own launcher would give it: the same rules decide from the arguments
which integers are 1 or divisible by 16 and which pointers are aligned.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.experimental.gluon._runtime import GluonASTSource
from triton.runtime.jit import create_function_from_signature

from ladnet_fast.kernels.sources import texts

from . import cubins, sass


@dataclass(frozen=True)
class Binary:
    """A compiled kernel."""

    name: str
    cubin: bytes
    ptx: str
    ttir: str
    shared_bytes: int

    def report(self) -> cubins.Report:
        """Return what cuobjdump reports."""
        with self._file() as path:
            found = cubins.read_reports(path, triton_first=True)
        if self.name not in found:
            raise RuntimeError(f"cuobjdump says nothing of {self.name}")
        return found[self.name]

    def read(self) -> tuple[cubins.Report, sass.Program]:
        """Return what cuobjdump reports, and the machine code."""
        with self._file() as path:
            for kernel, report, program in cubins.read(path, triton_first=True):
                if kernel == self.name:
                    return report, program
        raise RuntimeError(f"cuobjdump says nothing of {self.name}")

    @contextmanager
    def _file(self) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(self.cubin)
            file.flush()
            yield Path(file.name)


class Build:
    """One kernel with all that decides which code the compiler makes of it.

    Parameters
    ----------
    kernel
        A ``@triton.jit`` or ``@gluon.jit`` function.
    arguments
        All of its arguments by name, constexprs too. Of tensors only dtype and address matter;
        meta tensors count as aligned.
    architecture
        Compute capability as an integer: 80, 90, 100, 120 ...
    options
        ``num_warps``, ``num_stages`` and other compiler options.
    """

    def __init__(
        self,
        kernel: Any,
        arguments: Mapping[str, Any],
        *,
        architecture: int,
        options: Mapping[str, Any],
    ) -> None:
        self.kernel = kernel
        self.target = GPUTarget("cuda", architecture, 32)
        self.backend = backend = make_backend(self.target)
        bind = create_function_from_signature(kernel.signature, kernel.params, backend)
        bound, specialization, _ = bind(**arguments)
        # The launcher's own step from arguments to a source; private, hence the pinned Triton.
        self.options, signature, constexprs, attributes = kernel._pack_args(
            backend, dict(options), bound, specialization, options
        )
        source = GluonASTSource if kernel.is_gluon() else ASTSource
        self.source = source(kernel, signature, constexprs, attributes)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that the code depends on; nothing is compiled for it.

        Triton's version, the text of the kernel and of all functions and constants that it uses,
        the types and specialisations of the arguments, constexprs, options and architecture.
        """
        source = self.source
        specialised = (source.signature, source.constants, source.attrs)
        given = [repr(sorted(part.items())) for part in specialised]
        return digest(
            [triton.__version__, self.target.arch, self.options.hash(), *given, texts(self.kernel)]
        )

    def intermediate_hash(self) -> str:
        """Return a hash of what the compiler reads after parsing, which takes a moment.

        Unlike the fingerprint it knows nothing of comments and spelling, so a kernel whose
        text alone has changed need not be compiled again.
        """
        module, _context = self._module()
        return digest(
            [triton.__version__, self.target.arch, str(module.str_nodebug()), self.options.hash()]
        )

    def ttir(self) -> str:
        """Return the kernel's text after inlining, as `Binary.ttir`; nothing more is compiled."""
        module, _context = self._module()
        stages: dict[str, Any] = {}
        self.backend.add_stages(stages, self.options, self.source.language)
        return str(stages["ttir"](module, {}))

    def _module(self) -> tuple[Any, Any]:
        """Return what parsing makes, and what has to live as long."""
        from triton._C.libtriton import ir

        context = ir.context()
        ir.load_dialects(context)
        self.backend.load_dialects(context)
        functions = self.backend.get_codegen_implementation(self.options)
        module = self.source.make_ir(
            self.target, self.options, functions, self.backend.get_module_map(), context
        )
        return module, context

    def compile(self) -> Binary:
        """Compile it; Triton's cache on disk answers a second time."""
        built = triton.compile(self.source, target=self.target, options=self.options.__dict__)
        return Binary(
            built.metadata.name,
            built.asm["cubin"],
            built.asm["ptx"],
            # Gluon's text is that of a later stage; nothing of it is pipelined by the compiler.
            "" if self.kernel.is_gluon() else built.asm["ttir"],
            built.metadata.shared,
        )


def digest(parts: list[Any]) -> str:
    """Return a hash of texts and numbers."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
