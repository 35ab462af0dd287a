"""The prior G = exp(-|w d^2 + b|): how far it reaches, and its tiles.

G depends on the distance d = |i - j| alone. Beyond a radius that `band_radius` computes on
the device, G is smaller than the rounding error of every result, so tiles farther than that from
the diagonal are plain attention. Where w is 0 or tiny the band is the whole bag: slower, not wrong.
"""

import triton
import triton.language as tl

from .tiles import LOG2_E

#: Where |w d^2 + b| exceeds this, G is under 4e-11, too small to change a sum in fp32. The CPU
#: kernels cut at the same exponent.
CUT = tl.constexpr(24.0)


@triton.jit
def band_radius(w, b, length):
    """Return the radius R: |w d^2 + b| > CUT at every distance d > R; -1 if at every distance.

    The last distance where G matters, not the first where it doesn't: for w < 0 < b or b < 0 < w
    the prior grows with d before it falls. At most ``length``. Where w or b is NaN or infinite the
    band is the whole bag, so that the result shows it.
    """
    # The second term bounds what rounding to fp32 takes from w d^2 + b where b is huge.
    cut = CUT + tl.abs(b) * 2.4e-7
    divisor = tl.where(w == 0, 1.0, w)
    farthest = tl.maximum((cut - b) / divisor, (-cut - b) / divisor)  # d^2
    # Rounded up: a radius that is too large costs little time, one too small loses a part of G.
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
    """Return the range [low, high) of rows near the ``OWNED`` rows from ``start`` on.

    Near are rows within ``radius``; the range is empty where that is -1.
    """
    low = tl.maximum(start - radius, 0)
    high = tl.minimum(start + OWNED + radius, length)
    return low, tl.where(radius < 0, low, high)


@triton.jit
def near_tiles(start, length, radius, OWNED: tl.constexpr, STEP: tl.constexpr):
    """Return the range [low, high) of full tiles of ``STEP`` rows that overlap the band.

    The band is that of `band_rows`; the ragged last tile of a bag is not counted.
    """
    first, last = band_rows(start, length, radius, OWNED)
    full = length // STEP
    low = tl.minimum(first // STEP, full)
    high = tl.minimum((last + STEP - 1) // STEP, full)
    return low, tl.where(radius < 0, low, high)


@triton.jit
def prior_tile(first_row, first_column, w, b, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return G, its argument w d^2 + b, and d^2 of a tile, each [ROWS, COLUMNS] in fp32.

    d is squared in floating point: an int32 would overflow from d = 46,341 on.
    """
    row = (first_row - first_column + tl.arange(0, ROWS)).to(tl.float32)
    column = tl.arange(0, COLUMNS).to(tl.float32)
    distance = row[:, None] - column[None, :]
    distance2 = distance * distance
    argument = w * distance2 + b
    return tl.exp2(tl.abs(argument) * -LOG2_E), argument, distance2


@triton.jit
def prior_slopes(grad, prior, argument, distance2):
    """Return a tile's shares of dw and db, one sum per row: [ROWS] each.

    With ``grad`` = dG, db sums dG G (-sign(w d^2 + b)) and dw the same times d^2.
    """
    # The last factor is 0 where the argument is 0, and NaN where it is NaN: the gradient shows it.
    slope = grad * prior
    slope = tl.where(argument > 0, -slope, tl.where(argument < 0, slope, argument * 0.0))
    return tl.sum(slope * distance2, 1), tl.sum(slope, 1)
