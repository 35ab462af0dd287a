"""Triton's sm_80 PTX, executed: results against float64, and faults put into the PTX found."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from ..interpreter import PtxError, bf16_to_float, float_to_bf16, parse
from ..triton_aot import CompiledKernel, compile_for_sm80
from . import triton_kernels


@pytest.mark.parametrize(("N", "warps"), [(10, 1), (300, 4)])
def test_a_softmax_over_rows(N, warps):
    x = np.random.default_rng(0).normal(size=(3, N)).astype(np.float32)
    y = np.full_like(x, np.nan)
    arguments = {"X": x, "Y": y, "N": N, "stride": N}
    block = {"BLOCK": 1 << (N - 1).bit_length()}
    compile_for_sm80(triton_kernels.row_softmax, arguments, block, num_warps=warps)((3,), arguments)
    e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    np.testing.assert_allclose(y, e / e.sum(axis=1, keepdims=True), rtol=2e-6)


def matrices(kind: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return A, B and C as stored, ragged against tiles of 32, and the exact product."""
    rng = np.random.default_rng(1)
    exact, given = [], []
    for shape in ((40, 80), (80, 48)):
        x = rng.normal(size=shape).astype(np.float32)
        if kind == "bf16":
            given.append(float_to_bf16(x))
            exact.append(bf16_to_float(given[-1]).astype(np.float64))
        else:
            given.append(x.astype(np.float16 if kind == "fp16" else np.float32))
            exact.append(given[-1].astype(np.float64))
    arrays = {"A": given[0], "B": given[1], "C": np.full((40, 48), np.nan, np.float32)}
    return arrays, exact[0] @ exact[1]


def compiled_matmul(kind: str, precision: str) -> tuple[CompiledKernel, dict, np.ndarray]:
    arrays, exact = matrices(kind)
    sizes = {"M": 40, "N": 48, "K": 80, "stride_a": 80, "stride_b": 48, "stride_c": 48}
    arguments = {**arrays, **sizes}
    kernel = compile_for_sm80(
        triton_kernels.matmul,
        arguments,
        {"BM": 32, "BN": 32, "BK": 32, "PRECISION": precision},
        num_stages=3,
        bf16=("A", "B") if kind == "bf16" else (),
    )
    return kernel, arguments, exact


#: dtype, input precision, the tolerance of the largest entry, what the PTX must contain.
PRODUCTS = [
    ("fp16", "ieee", 2e-6, r"mma\.sync\S*\.f32\.f16\.f16\.f32"),
    ("bf16", "ieee", 2e-6, r"mma\.sync\S*\.f32\.bf16\.bf16\.f32"),
    ("fp32", "tf32x3", 2e-6, r"mma\.sync\S*\.f32\.tf32\.tf32\.f32"),
    ("fp32", "tf32", 2e-3, r"mma\.sync\S*\.f32\.tf32\.tf32\.f32"),
    ("fp32", "ieee", 2e-6, r"fma\.rn\.f32"),
]


@pytest.mark.parametrize(("kind", "precision", "tolerance", "instruction"), PRODUCTS)
def test_a_pipelined_product(kind, precision, tolerance, instruction):
    kernel, arguments, exact = compiled_matmul(kind, precision)
    assert re.search(instruction, kernel.ptx)
    assert "cp.async" in kernel.ptx
    kernel((2, 2), arguments)
    error = np.abs(arguments["C"] - exact).max() / np.abs(exact).max()
    assert error <= tolerance


#: What is done to the PTX of the fp16 product, at the first place that matches.
MUTATIONS = {
    "a barrier less": (r"\bbar\.sync[^;]*;", ""),
    "a wait less": (r"cp\.async\.wait_group[^;]*;", ""),
    "a group never committed": (r"cp\.async\.commit_group;", ""),
    "a copy of rows that are not there": (
        r"(cp\.async\.c\S+ \[[^\]]*\], \[[^\]]*\], \w+), %r\d+",
        r"\1",
    ),
    "a transpose less": (r"(?<=ldmatrix)(\S*)\.trans", r"\1"),
    "a wait one group short": (r"cp\.async\.wait_group\s+\d+", "cp.async.wait_group 7"),
    "a load without its predicate": (r"@%p\d+ (?=st\.global)", ""),
    "fragments swapped": (
        r"(mma\.sync\S*\s+\{[^}]*\}, )\{ (%r\d+), (%r\d+), (%r\d+), (%r\d+) \}",
        r"\1{ \2, \4, \3, \5 }",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_ptx_is_refused_or_gives_a_wrong_result(name):
    kernel, arguments, exact = compiled_matmul("fp16", "ieee")
    pattern, replacement = MUTATIONS[name]
    outcomes = []
    for found in list(re.finditer(pattern, kernel.ptx))[:6]:
        text = found.expand(replacement) if replacement else ""
        broken = kernel.ptx[: found.start()] + text + kernel.ptx[found.end() :]
        parsed = parse(broken)[kernel.parsed.name]
        arguments["C"][...] = np.nan
        try:
            dataclasses.replace(kernel, ptx=broken, parsed=parsed)((2, 2), arguments)
        except PtxError:
            outcomes.append(True)
        else:
            outcomes.append(not np.allclose(arguments["C"], exact, rtol=0, atol=1e-4))
    assert any(outcomes)


@pytest.mark.parametrize("warps", [1, 4])
def test_scans(warps):
    x = np.random.default_rng(2).normal(size=(16, 32)).astype(np.float32)
    arguments = {"X": x, "ROWS": np.zeros_like(x), "COLUMNS": np.zeros_like(x)}
    kernel = compile_for_sm80(
        triton_kernels.running_sums, arguments, {"M": 16, "N": 32}, num_warps=warps
    )
    kernel((1,), arguments)
    np.testing.assert_allclose(arguments["ROWS"], x.cumsum(axis=1), atol=1e-5)
    np.testing.assert_allclose(arguments["COLUMNS"], x.cumsum(axis=0), atol=1e-5)


def test_atomics_over_several_programs():
    x = np.random.default_rng(3).integers(0, 7, 300).astype(np.int32)
    arguments = {"X": x, "COUNTS": np.zeros(7, np.int32), "n": 300}
    compile_for_sm80(triton_kernels.histogram, arguments, {"BLOCK": 128})((3,), arguments)
    np.testing.assert_array_equal(arguments["COUNTS"], np.bincount(x, minlength=7))


def test_elementary_functions():
    x = (np.random.default_rng(4).normal(size=200) * 3).astype(np.float32)
    y = np.full_like(x, np.nan)
    arguments = {"X": x, "Y": y, "N": 200}
    compile_for_sm80(triton_kernels.functions, arguments, {"BLOCK": 128})((2,), arguments)
    exact = torch.from_numpy(x).double()
    size = exact.abs()
    exact = (
        exact.sin() + exact.exp() + (size + 1).log() + size.sqrt() + exact.erf() + exact.floor()
        + exact.sigmoid() + (size + 0.5).rsqrt()
    )  # fmt: skip
    np.testing.assert_allclose(y, exact, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("warps", [1, 4])
def test_a_sort_through_shared_memory(warps):
    x = np.random.default_rng(5).permutation(128).astype(np.float32)
    arguments = {"X": x, "Y": np.zeros_like(x), "FIRST": np.zeros(1, np.int32)}
    compile_for_sm80(triton_kernels.sorted_with_places, arguments, {"BLOCK": 128}, num_warps=warps)(
        (1,), arguments
    )
    np.testing.assert_array_equal(arguments["Y"], np.arange(128))
    assert arguments["FIRST"][0] == x.argmax()


def philox(counter: int, seed: int) -> int:
    """Return the first word of Philox 4x32-10."""
    c, key = [counter, 0, 0, 0], [seed, 0]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ key[0], b % 2**32, a >> 32 ^ c[3] ^ key[1], a % 2**32]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return c[0]


def test_random_bits():
    arguments = {"Y": np.zeros(256, np.int32), "seed": 42}
    compile_for_sm80(triton_kernels.random_bits, arguments, {"BLOCK": 128})((2,), arguments)
    expected = [philox(i, 42) for i in range(256)]
    np.testing.assert_array_equal(arguments["Y"].view(np.uint32), expected)


def test_loops_whose_length_is_data():
    arguments = {"X": np.array([5, 0, 8], np.int32), "Y": np.zeros((3, 64), np.float32)}
    compile_for_sm80(triton_kernels.odd_numbers, arguments, {"BLOCK": 64})((3,), arguments)
    np.testing.assert_array_equal(arguments["Y"], np.repeat([[9.0], [0.0], [16.0]], 64, axis=1))


def test_tensors_of_any_strides_share_their_storage():
    whole = torch.randn(64, 3, 64, dtype=torch.float32).to(torch.bfloat16)
    a, b = whole[:40, 0], whole[:, 1, :48]
    out = torch.full((40, 96), torch.nan)
    arguments = {
        "A": a, "B": b, "C": out[:, 16:64], "M": 40, "N": 48, "K": 64,
        "stride_a": a.stride(0), "stride_b": b.stride(0), "stride_c": out.stride(0),
    }  # fmt: skip
    tiles = {"BM": 32, "BN": 32, "BK": 32, "PRECISION": "ieee"}
    compile_for_sm80(triton_kernels.matmul, arguments, tiles)((2, 2), arguments)
    expected = a.double() @ b.double()
    torch.testing.assert_close(out[:, 16:64].double(), expected, rtol=0, atol=1e-4)
    assert out[:, :16].isnan().all()
    assert out[:, 64:].isnan().all()


def test_an_access_beyond_an_array_is_refused():
    x = np.zeros((3, 300), np.float32)
    arguments = {"X": x, "Y": np.zeros((2, 300), np.float32), "N": 300, "stride": 300}
    kernel = compile_for_sm80(triton_kernels.row_softmax, arguments, {"BLOCK": 512})
    with pytest.raises(PtxError, match=r"out of bounds.*triton_kernels.py:\d+"):
        kernel((3,), arguments)


@pytest.mark.parametrize("fails", [False, True])
def test_device_assertions_are_kept_in_debug_builds(fails, monkeypatch):
    monkeypatch.setenv("TRITON_DEBUG", "1")
    x = np.arange(1, 65, dtype=np.float32)
    x[40] = -1 if fails else 4
    arguments = {"X": x, "Y": np.zeros_like(x)}
    kernel = compile_for_sm80(triton_kernels.positive_only, arguments, {"BLOCK": 64}, debug=True)
    if fails:
        with pytest.raises(PtxError, match="assertion failed"):
            kernel((1,), arguments)
    else:
        kernel((1,), arguments)
        np.testing.assert_allclose(arguments["Y"], np.sqrt(x), rtol=1e-6)
