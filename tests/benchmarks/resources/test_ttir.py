"""Products that wait for one another, found in what Triton's compiler reads of a kernel."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

import triton
import triton.language as tl

from benchmarks.resources.triton_build import Build
from benchmarks.resources.ttir import chained_products


@triton.jit
def products(X, Y, OUT, turns, WAY: tl.constexpr, N: tl.constexpr):
    """Sums of products of tiles; the ways differ in who waits for whom."""
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    one = tl.zeros([N, N], tl.float32)
    two = tl.zeros([N, N], tl.float32)
    rest = tl.zeros([N, N], tl.float32)
    for turn in range(turns):
        x = tl.load(X + turn * N * N + at)
        y = tl.load(Y + turn * N * N + at)
        if WAY == "one sum":
            one = tl.dot(x, y, one)
            one = tl.dot(y, x, one)
        if WAY == "one sum, in a branch":
            one = tl.dot(x, y, one)
            if turn > 3:
                one = tl.dot(y, x, one) * 2
        if WAY == "one sum, scaled between":
            one = tl.dot(x, y, one) * 0.5
            one += tl.dot(y, x)
            one = tl.dot(x, x, one)
        if WAY == "a sum read by another product":
            rest += tl.dot(x, one.to(x.dtype))
            one = tl.dot(x, y, one * 0.5)
        if WAY == "exchanged":
            first = tl.dot(x, y, two)
            two = tl.dot(y, x, one)
            one = first
        if WAY == "sums of their own":
            one = tl.dot(x, y, one)
            two = tl.dot(y, x, two)
        if WAY == "one after the other, not carried":
            rest = tl.dot(y, x, tl.dot(x, y))
        if WAY == "as attention":
            p = tl.exp(tl.dot(x, y))
            rest = tl.maximum(rest, p)
            one = tl.dot(p.to(x.dtype), y, one * (rest - p))
            two = tl.dot(x, y, two)
        if WAY == "an inner loop each":
            for _ in range(turn):
                one = tl.dot(x, y, one)
            for _ in range(turn):
                one = tl.dot(y, x, one)
        if WAY == "one sum in an inner loop":
            for _ in range(turn):
                one = tl.dot(x, y, one)
                one = tl.dot(y, x, one)
    for turn in range(turns):
        # Another loop may go on with the sum.
        one = tl.dot(tl.load(Y + turn * N * N + at), tl.load(X + turn * N * N + at), one)
    tl.store(OUT + at, one + two + rest)


CHAINED = {
    "one sum": 2,
    "one sum, in a branch": 2,
    "one sum, scaled between": 3,
    "a sum read by another product": 1,
    "exchanged": 2,
    "one sum in an inner loop": 2,
}
APART = (
    "sums of their own",
    "one after the other, not carried",
    "as attention",
    "an inner loop each",
)


def parsed(way: str) -> list[str]:
    x = torch.empty(64, 64, dtype=torch.bfloat16, device="meta")
    out = torch.empty(64, 64, device="meta")
    given = {"X": x, "Y": x, "OUT": out, "turns": 1000, "WAY": way, "N": 64}
    build = Build(products, given, architecture=100, options={"num_warps": 4, "num_stages": 2})
    return chained_products(build.ttir())


@pytest.mark.parametrize("way", CHAINED)
def test_products_that_wait_for_one_another_are_found(way):
    assert len(parsed(way)) == CHAINED[way]


@pytest.mark.parametrize("way", APART)
def test_sums_that_nobody_else_needs_are_none(way):
    assert parsed(way) == []
