"""FlashAttention 2 with the additive prior beside it: a time that it stays above.

It has no place for a prior, so G = exp(-|w (i - j)^2 + b|) is a matrix of T x T for each head, and
G v a product of its own (`benchmarks.peers.sdpa_plus_prior`). Counted: FlashAttention's products in
its tiles of 128 rows, one block for each, at the best rate that has been published of it on a chip;
of G and its gradient one write and one read each time; of all other tensors what each pass reads
and writes; and a launch for each operator. Not counted: tails, exponentials, and what the operators
of G do beside that.
"""

from __future__ import annotations

import math

from . import chips
from .attention import Call
from .chips import Chip

#: Architecture -> the largest share of the tensor cores' rate that is published of it: on A100
#: "50-73 %" (Dao, https://arxiv.org/abs/2307.08691), on H100 "35 %" (Shah et al.,
#: https://arxiv.org/abs/2407.08608). Nothing is of B200.
RATES = {80: 0.73, 90: 0.35}
#: Of queries forward, of keys backward, that a block owns at d = 128; keys are not split.
_ROWS = 128
#: FlashAttention's own, G, the product and the sum; backward: row sums, FlashAttention's own, dG,
#: its sums for w and b, G^T dO and its sum with dV.
_LAUNCHES, _BACKWARD_LAUNCHES = 4, 6


def seconds(call: Call, chip: Chip) -> float | None:
    """Return the seconds of a call with the additive prior; None for a chip without a rate."""
    if chip.architecture not in RATES:
        return None
    rate = chip.tensor_rate("bf16") * chip.clock * chip.multiprocessors
    tensor = call.B * call.H * call.T * call.d * float(call.dtype.itemsize)
    matrix = call.H * call.T**2 * float(call.dtype.itemsize)
    product = 2.0 * call.B * call.H * call.T**2 * call.d

    def attention(products: int, tensors: int) -> float:
        tiles = math.ceil(call.T / _ROWS)
        busy = min(1.0, call.B * call.H * tiles / chip.multiprocessors)
        work = products * product * (tiles * _ROWS / call.T) ** 2
        return max(
            work / (rate * busy * RATES[chip.architecture]), tensors * tensor / chip.bandwidth
        )

    def prior(products: int, tensors: int, matrices: int) -> float:
        moved = tensors * tensor + matrices * matrix
        return max(products * product / rate, moved / chip.bandwidth)

    # q, k, v and O; v, G v twice and the sum; G written and read.
    found = attention(2, 4) + prior(1, 4, 2) + _LAUNCHES * chips.LAUNCH
    if call.backward:
        # Also dO, dQ, dK and dV; dO twice, v and dV twice; G read, dG written and read.
        found += attention(5, 8) + prior(2, 5, 3) + _BACKWARD_LAUNCHES * chips.LAUNCH
    return found
