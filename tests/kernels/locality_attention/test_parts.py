"""Parts of the Triton kernels on their own: the band's radius, far tiles, addresses of 64 bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from ladnet_fast.kernels.locality_attention.bags import locate
from ladnet_fast.kernels.locality_attention.band import CUT, band_radius, prior_tile
from ladnet_fast.kernels.locality_attention.tiles import load_rows, store_rows, store_sums

from .tools import both_passes, inputs_of

# The interpreter computes with numpy, which warns where an extreme prior overflows on the way.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@triton.jit
def radius_kernel(w, b, radius, T: tl.int32):
    i = tl.program_id(0)
    tl.store(radius + i, band_radius(tl.load(w + i), tl.load(b + i), T))


def radii(w, b, T):
    out = torch.full((len(w),), -7, dtype=torch.int32)
    w, b = (torch.tensor(x, dtype=torch.float32) for x in (w, b))
    radius_kernel[(len(w),)](w, b, out, T)
    return out.tolist()


WS = (0.0, 1e-38, 1e-12, 1e-6, 0.0625, 0.5, 3.0, 1e6, 1e30)
BS = (0.0, 0.3, 5.0, 23.9, 24.1, 60.0, 500.0, 1e5, 1e9)
PAIRS = [
    (sign * w, other * b) for w, b in itertools.product(WS, BS) for sign in (1, -1)
    for other in (1, -1)
]  # fmt: skip


@pytest.mark.parametrize("T", [1, 100, 3000])
def test_no_distance_beyond_the_radius_matters_and_few_within_are_wasted(T):
    distance = np.arange(T, dtype=np.float64)
    for (w, b), radius in zip(PAIRS, radii(*zip(*PAIRS, strict=True), T), strict=True):
        exponent = np.abs(np.float64(np.float32(w)) * distance**2 + np.float64(np.float32(b)))
        matters = np.flatnonzero(exponent <= CUT.value)
        last = matters[-1] if matters.size else -1
        assert last <= radius <= T, (w, b)
        if radius < T and abs(b) <= 1e5:
            # One distance more for the square root's rounding, one for the division's. Where b is
            # huge, w d^2 + b itself is rounded to more than the cut.
            true = np.sqrt(max((CUT.value - b) / w, (-CUT.value - b) / w, 0.0)) if w else -1
            assert radius <= true + 2 + 1e-3 * true, (w, b)


def test_a_prior_that_is_not_finite_reaches_everywhere():
    odd = (float("nan"), float("inf"), -float("inf"))
    pairs = [*itertools.product(odd, (0.0, *odd)), *((0.1, b) for b in odd), (0.0, float("nan"))]
    assert radii(*zip(*pairs, strict=True), 321) == [321] * len(pairs)


@triton.jit
def prior_kernel(out, row: tl.int32, column: tl.int32, w: tl.float32, b: tl.float32):
    prior, _, _ = prior_tile(row, column, w, b, 16, 32)
    at = tl.arange(0, 16)[:, None] * 32 + tl.arange(0, 32)[None, :]
    tl.store(out + at, prior)


@pytest.mark.parametrize("gap", [0, 46_341, 300_000, 16_000_000])
def test_far_from_the_diagonal_the_distance_is_squared_without_overflow(gap):
    w = 1.0 / max(gap, 10) ** 2
    for row, column in ((gap + 3, 3), (3, gap + 3)):
        out = torch.full((16, 32), torch.nan)
        prior_kernel[(1,)](out, row, column, w, 0.2)
        rows = row + torch.arange(16, dtype=torch.float64)
        columns = column + torch.arange(32, dtype=torch.float64)
        exact = torch.exp(-(w * (rows[:, None] - columns).square() + 0.2).abs())
        # d^2, its product and 2^x are rounded once each; the exponent is about 1.
        torch.testing.assert_close(out.double(), exact, rtol=1e-6, atol=1e-7)


# ---- which rows a program owns ------------------------------------------------------------------


@triton.jit
def locate_kernel(cu_seqlens, found, bags: tl.int32, tiles: tl.int32, T: tl.int32):
    start, length, limit, first, batch, head = locate(None, cu_seqlens, 2, T, bags, tiles, 16)
    at = found + tl.program_id(0) * 6
    tl.store(at, start)
    tl.store(at + 1, length)
    tl.store(at + 2, limit)
    tl.store(at + 3, first)
    tl.store(at + 4, batch)
    tl.store(at + 5, head)


def located(offsets, T):
    """Return what every program of two heads and blocks of 16 rows finds."""
    bags = len(offsets) - 1
    tiles = T // 16 + bags
    found = torch.full((2 * tiles, 6), -7, dtype=torch.int32)
    locate_kernel[(2 * tiles,)](torch.tensor(offsets), found, bags, tiles, T)
    return found.tolist()


@pytest.mark.parametrize(
    "offsets",
    [[0, 100], [0, 1, 2, 3], [0, 0, 0, 50, 50], [0, 16, 32, 48], [0, 15, 33, 33, 34, 200, 201]],
)
def test_every_row_of_every_bag_has_one_owner(offsets):
    T = offsets[-1]
    owners = torch.zeros(2, T, dtype=torch.int64)
    for start, length, limit, first, batch, head in located(offsets, T):
        assert limit == length
        assert batch == 0
        rows = torch.arange(start, max(start, min(start + 16, length)))
        owners[head, first + rows] += 1
        if len(rows):
            assert first in offsets
            assert first + length in offsets
    assert (owners == 1).all()


@pytest.mark.parametrize(
    "offsets",
    [[-100, 50], [80, 90, 100], [0, 70, 30, 100], [-(2**40), -300, 2**40], [100, 50, 0, -50]],
)
def test_offsets_that_nobody_checked_point_into_the_tensor(offsets):
    for start, length, limit, first, _, _ in located(offsets, 100):
        assert start >= 0
        assert limit == length >= 0
        assert 0 <= first <= first + length <= 100


# ---- addresses beyond 2^31 elements -------------------------------------------------------------


@pytest.fixture
def huge(tmp_path):
    """Return a function that gives memory for more elements than fit, of which few are touched."""

    def make(elements, dtype):
        return torch.from_file(
            str(tmp_path / f"sparse-{dtype}"), shared=True, size=elements, dtype=dtype
        )

    return make


FAR = 2**31 + 64
LAYOUTS = {  # shape, strides
    "rows far apart": ((1, 1, 34, 16), (0, 0, FAR // 32, 1)),
    "heads far apart": ((1, 2, 34, 16), (0, FAR, 16, 1)),
    "bags far apart": ((2, 1, 34, 16), (FAR, 0, 16, 1)),
}


@pytest.mark.parametrize("prior", ["additive", "logit"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_beyond_32_bits_are_found(huge, layout, prior):
    shape, strides = LAYOUTS[layout]
    q, k, v, w, b = inputs_of(*shape, torch.float16)
    grad_out = torch.randn(shape).half()
    expected = both_passes(q, k, v, w, b, grad_out, prior=prior)
    reach = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + 1
    assert reach > 2**31
    memory = huge(reach + 3 * 1024, torch.float16)
    far = [
        memory.as_strided(shape, strides, 1024 * i).copy_(x)
        for i, x in enumerate((q, k, v, grad_out))
    ]
    got = both_passes(*far[:3], w, b, far[3], prior=prior)
    for a, e in zip(got, expected, strict=True):
        assert torch.equal(a, e)


@triton.jit
def store_kernel(
    result, sums, batch: tl.int32, head: tl.int32, first: tl.int32, H: tl.int32, T: tl.int32
):
    start = 32
    tile = (tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :]).to(tl.float32)
    store_rows(result, tile, start, 40, 44, batch, head, first, H, T, 16)
    store_sums(sums, tl.arange(0, 16).to(tl.float32), start, 40, 44, batch, head, first, H, T)


@pytest.mark.parametrize(
    ("batch", "head", "first", "H", "T"),
    [(2, 1, 5, 2, 2**26), (0, 2, 2**28 - 64, 3, 2**28), (2**26, 1, 0, 2, 48)],
    ids=["many rows", "a packed bag at the end", "many bags"],
)
def test_results_beyond_32_bits_are_written_where_they_belong(huge, batch, head, first, H, T):
    size = (batch + 1) * H * T
    result, sums = huge(size * 16, torch.float16), huge(size, torch.float32)
    rows = result.view(batch + 1, T, H, 16)[batch, first + 32 : first + 48, head]
    row_sums = sums.view(batch + 1, H, T)[batch, head, first + 32 : first + 48]
    rows.fill_(-1)
    row_sums.fill_(-1)
    store_kernel[(1,)](result, sums, batch, head, first, H, T)
    inside = torch.arange(16)
    expected = torch.arange(256).view(16, 16).half()
    expected[8:12], expected[12:] = 0, -1
    assert torch.equal(rows, expected)
    assert torch.equal(row_sums, torch.where(inside < 8, inside, -(inside >= 12).int()).float())


@triton.jit
def load_kernel(x, out, start: tl.int32, stride: tl.int64):
    tile = load_rows(x, start, start + 12, stride, 16, 16, 16, True)
    at = tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :]
    tl.store(out + at, tile)


def test_a_row_number_times_its_stride_may_pass_32_bits(huge):
    start, stride = 2**27, 24
    x = huge((start + 16) * stride, torch.float16)
    rows = x.as_strided((16, 16), (stride, 1), start * stride)
    rows.copy_(torch.arange(256).view(16, 16))
    out = torch.full((16, 16), torch.nan, dtype=torch.float16)
    load_kernel[(1,)](x, out, start, stride)
    assert torch.equal(out[:12], rows[:12])
    assert (out[12:] == 0).all()
