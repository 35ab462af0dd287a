"""The prior G = exp(-|w d^2 + b|): how far it reaches, and its tiles.

G depends on the distance d alone. Beyond a radius that :func:`band_radius` finds on the device it
is under the rounding of every result, and tiles farther than that from the diagonal are plain
attention. Where w is 0 or tiny the band is the whole bag, and the result is exact all the same.
"""

import triton
import triton.language as tl

from .tiles import LOG2_E

#: Beyond this exponent G is under 4e-11, which no sum in fp32 notices. The CPU kernels cut there.
CUT = tl.constexpr(24.0)


@triton.jit
def band_radius(w, b, length):
    """Return a distance beyond which no pair of rows has |w d^2 + b| <= CUT; -1 if none has at all.

    The largest such distance and not the first, since for w < 0 < b or b < 0 < w the prior grows
    before it dies. At most ``length``. Where w or b is NaN or infinite the band is everything, so
    that they show.
    """
    # What w d^2 + b may lose to rounding in fp32 where b is huge.
    cut = CUT + tl.abs(b) * 2.4e-7
    divisor = tl.where(w == 0, 1.0, w)
    farthest = tl.maximum((cut - b) / divisor, (-cut - b) / divisor)  # d^2
    # Upwards: one more distance costs nothing, one less might.
    radius = tl.sqrt(tl.maximum(farthest, 0.0)) * 1.000001 + 1.0
    longest = length.to(tl.float32)
    radius = tl.where(radius < longest, radius, 0.0).to(tl.int32) + tl.where(
        radius < longest, 0, length
    )
    radius = tl.where(farthest < 0, -1, radius)
    radius = tl.where(w == 0, tl.where(tl.abs(b) <= CUT, length, -1), radius)
    finite = (tl.abs(w) < float("inf")) & (tl.abs(b) < float("inf"))
    return tl.where(finite, radius, length)


@triton.jit
def band_rows(start, length, radius, OWNED: tl.constexpr):
    """Return the rows [low, high) within ``radius`` of the ``OWNED`` rows from ``start`` on."""
    low = tl.maximum(start - radius, 0)
    high = tl.minimum(start + OWNED + radius, length)
    return low, tl.where(radius < 0, low, high)


@triton.jit
def near_tiles(start, length, radius, OWNED: tl.constexpr, STEP: tl.constexpr):
    """Return the full tiles [low, high) of ``STEP`` rows that hold any of :func:`band_rows`."""
    first, last = band_rows(start, length, radius, OWNED)
    full = length // STEP
    low = tl.minimum(first // STEP, full)
    high = tl.minimum((last + STEP - 1) // STEP, full)
    return low, tl.where(radius < 0, low, high)


@triton.jit
def prior_tile(first_row, first_column, w, b, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return G, the argument w d^2 + b, and d^2 of a tile, each (ROWS, COLUMNS) in fp32.

    d^2 in floating point: as an int32 it would overflow from a distance of 46,341 on.
    """
    row = (first_row - first_column + tl.arange(0, ROWS)).to(tl.float32)
    column = tl.arange(0, COLUMNS).to(tl.float32)
    distance = row[:, None] - column[None, :]
    distance2 = distance * distance
    argument = w * distance2 + b
    return tl.exp2(tl.abs(argument) * -LOG2_E), argument, distance2


@triton.jit
def prior_slopes(grad, prior, argument, distance2):
    """Return what a tile adds to dw and db, a sum a row: dG G (-sign(w d^2 + b)), with d^2 for dw.

    ``grad`` is dG. The sign of a NaN is NaN, so that it shows.
    """
    slope = grad * prior
    slope = tl.where(argument > 0, -slope, tl.where(argument < 0, slope, argument * 0.0))
    return tl.sum(slope * distance2, 1), tl.sum(slope, 1)
