"""Small PTX kernels around the instructions under test."""

from __future__ import annotations

import numpy as np

from ..interpreter import run

THREADS = 64
_HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 smem[];\n"
_REGISTERS = (
    ".reg .b16 %h<16>; .reg .b32 %r<48>; .reg .b64 %d<16>; .reg .pred %p<8>; "
    ".reg .b64 %in<8>; .reg .b64 %out; .reg .b32 %t;"
)
_PREFIX = {16: "%h", 32: "%r", 64: "%d"}


def kernel(body: str, parameters: int) -> str:
    """Return a module whose kernel ``k`` has pointer parameters ``p0 ...`` and this body."""
    names = ", ".join(f".param .u64 p{i}" for i in range(parameters))
    return f"{_HEADER}.visible .entry k({names})\n{{\n{_REGISTERS}\n{body}\nret;\n}}\n"


def evaluate(body: str, *inputs: np.ndarray, out: type = np.uint32) -> np.ndarray:
    """Run instructions on every element: inputs in registers 1, 2, ..., the result in register 0.

    The registers are %h (16 bits), %r (32) or %d (64), by the dtype's width.
    """
    count = len(inputs[0])
    result: np.ndarray = np.zeros(count, out)
    loads = ["mov.u32 %t, %tid.x;"]
    for i, values in enumerate(inputs):
        width = 8 * values.itemsize
        loads += [
            f"ld.param.u64 %in{i}, [p{i}];",
            f"mad.wide.u32 %in{i}, %t, {values.itemsize}, %in{i};",
            f"ld.global.b{width} {_PREFIX[width]}{i + 1}, [%in{i}];",
        ]
    width = 8 * result.itemsize
    end = (
        f"ld.param.u64 %out, [p{len(inputs)}]; mad.wide.u32 %out, %t, {result.itemsize}, %out; "
        f"st.global.b{width} [%out], {_PREFIX[width]}0;"
    )
    text = kernel("\n".join([*loads, body, end]), len(inputs) + 1)
    run(text, "k", (1,), (count,), [*(np.ascontiguousarray(x) for x in inputs), result])
    return result


def execute(
    body: str, *arrays: np.ndarray, threads: int = 32, shared_bytes: int = 0, blocks: int = 1
) -> None:
    """Run a body that finds the address of ``arrays[i]`` in ``%in<i>`` and its thread in ``%t``."""
    loads = [f"ld.param.u64 %in{i}, [p{i}];" for i in range(len(arrays))]
    text = kernel("\n".join(["mov.u32 %t, %tid.x;", *loads, body]), len(arrays))
    run(text, "k", (blocks,), (threads,), list(arrays), shared_bytes=shared_bytes)


def integers(seed: int, count: int = THREADS) -> np.ndarray:
    """Draw 32-bit patterns, the awkward ones among them."""
    edges = [0, 1, 2, 31, 32, 33, 63, 64, 255, 256, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x8000]
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32)
    values[: len(edges)] = rng.permutation(np.array(edges, np.uint32))
    values[len(edges) : len(edges) + 8] &= np.uint32(63)
    return values


def floats(seed: int, count: int = THREADS) -> np.ndarray:
    """Draw float32 numbers of many sizes, the special ones among them."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count) * 10.0 ** rng.integers(-6, 6, count)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 1.0, -1.0, 65504.0, 1e38]
    values[: len(special)] = special
    return rng.permutation(values).astype(np.float32)
