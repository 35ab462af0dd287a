# ruff: noqa: E402 (imports that need what is asked for first)
"""sm_90 PTX of Triton and Gluon, executed; and waits taken out of it."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")
gluon = pytest.importorskip("triton.experimental.gluon", reason="needs a Triton with Gluon")

from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from ..interpreter import PtxError, parse
from ..triton_aot import CompiledKernel, compile_for
from . import gluon_kernels, triton_kernels

ORDERS = ["first", "last"]


@pytest.mark.parametrize("order", ORDERS)
def test_a_dot_is_a_wgmma(order):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(np.float16) for shape in ((100, 80), (80, 72)))
    c = np.full((100, 72), np.nan, np.float32)
    sizes = {"M": 100, "N": 72, "K": 80, "stride_a": 80, "stride_b": 72, "stride_c": 72}
    arguments = {"A": a, "B": b, "C": c, **sizes}
    blocks = {"BM": 64, "BN": 32, "BK": 32, "PRECISION": "ieee"}
    kernel = compile_for(90, triton_kernels.matmul, arguments, blocks)
    assert "wgmma.mma_async" in kernel.ptx
    kernel((2, 3), arguments, order=order)
    np.testing.assert_allclose(c, a.astype(float) @ b.astype(float), atol=1e-5)


def ring(columns: int, span: int) -> tuple[CompiledKernel, dict, torch.Tensor]:
    """Return a product of (64, 192) and (192, columns) in tiles of 64, and what it is."""
    torch.manual_seed(0)
    a, b = torch.randn(64, 192).bfloat16(), torch.randn(192, columns).bfloat16()
    language = gluon.language
    layouts = [
        language.NVMMASharedLayout(swizzle_byte_width=width, element_bitwidth=16, rank=2)
        for width in (128, span)
    ]
    arguments = {
        "a_tiles": TensorDescriptor.from_tensor(a, [64, 64], layouts[0]),
        "b_tiles": TensorDescriptor.from_tensor(b, [64, columns], layouts[1]),
        "C": torch.full((64, columns), torch.nan),
        "K": 192,
    }
    kernel = compile_for(90, gluon_kernels.ring_matmul, arguments, {"STAGES": 2})
    return kernel, arguments, a.double() @ b.double()


@pytest.mark.parametrize(("columns", "span"), [(128, 128), (32, 64), (16, 32)])
@pytest.mark.parametrize("order", ORDERS)
def test_warps_that_copy_and_warps_that_multiply(order, columns, span):
    kernel, arguments, exact = ring(columns, span)
    kernel((1,), arguments, order=order)
    torch.testing.assert_close(arguments["C"].double(), exact, atol=1e-4, rtol=1e-5)


#: A wait in the text of the PTX, by the parity of its first phase.
_WAIT = r"waitLoop:\s*mbarrier\.try_wait[^;]*;\s*@!complete bra\.uni waitLoop;"


def without(kernel: CompiledKernel, pattern: str, which: int) -> CompiledKernel:
    """Return the kernel without the match of this number."""
    found = list(re.finditer(pattern, kernel.ptx))
    begin, end = found[which].span()
    ptx = kernel.ptx[:begin] + kernel.ptx[end:]
    return dataclasses.replace(kernel, ptx=ptx, parsed=parse(ptx)[kernel.parsed.name])


@pytest.mark.parametrize("race", ["threads", "off"])
@pytest.mark.parametrize(
    ("pattern", "which"), [(_WAIT, 0), (_WAIT, 1), (r"wgmma\.wait_group\S* 0;", 0)]
)
def test_a_wait_less_shows_in_some_order(pattern, which, race):
    kernel, arguments, exact = ring(64, 128)
    broken, shown = without(kernel, pattern, which), 0
    for order in ORDERS:
        arguments["C"].fill_(torch.nan)
        try:
            broken((1,), arguments, order=order, race=race)
        except PtxError as error:
            shown += "unsupported" not in str(error)
        else:
            shown += not torch.allclose(arguments["C"].double(), exact, atol=1e-3)
    assert shown
