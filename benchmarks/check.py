"""Whether a side computes the right thing; who does not gets no speed.

For every output, with the error as the largest absolute difference from the float64 oracle,

    error <= 2 (error of the reference in the tested dtype + one rounding band),

where the band is the dtype's epsilon times the largest absolute value of the exact output or, where
more than that is rounded on the way (a sum whose terms cancel), times the size of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from .vocabulary import Outputs

_PIECE = 2**22


class DoesNotFitError(Exception):
    """What a check needs does not fit the memory: nothing is known about who is checked."""


@contextmanager
def must_fit(what: str) -> Iterator[None]:
    """Turn a lack of device memory in the block into :class:`DoesNotFitError`.

    Only around what the check itself needs: a kernel that runs out of memory has failed.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DoesNotFitError(f"{what} does not fit this device's memory") from error


@dataclass(frozen=True)
class OutputError:
    """How far one output is off, and how far it may be."""

    output: str
    error: float
    budget: float

    @property
    def ok(self) -> bool:
        """Whether the error is within the budget; NaN is not."""
        return self.error <= self.budget

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for JSON."""
        return asdict(self)


def compare(
    got: Outputs, truth: Outputs, reference: Outputs, scales: Mapping[str, float] | None = None
) -> list[OutputError]:
    """Compare a side's outputs with the oracle's.

    Parameters
    ----------
    got : dict of str to Tensor
        What the side computed.
    truth, reference : dict of str to Tensor
        The oracle in float64, and in the tested dtype.
    scales : mapping of str to float, optional
        For outputs on whose way something larger is rounded, its size.

    Raises
    ------
    ValueError
        If outputs are missing or too many.
    """
    if got.keys() != truth.keys() or reference.keys() != truth.keys():
        raise ValueError(f"outputs {sorted(got)} are not the oracle's, {sorted(truth)}")
    return [
        OutputError(name, _error(got[name], exact), 2 * (_error(reference[name], exact) + band))
        for name, exact in truth.items()
        for band in [_band(got[name], exact, (scales or {}).get(name, 0.0))]
    ]


def _error(got: Tensor, exact: Tensor) -> float:
    if got.shape != exact.shape:
        raise ValueError(f"an output has shape {tuple(got.shape)}, not {tuple(exact.shape)}")
    if exact.numel() == 0:
        return 0.0
    # Pieces bound the float64 temporaries of large outputs; max keeps a NaN.
    pieces = zip(got.reshape(-1).split(_PIECE), exact.reshape(-1).split(_PIECE), strict=True)
    return float(torch.stack([(a.double() - b.double()).abs().max() for a, b in pieces]).max())


def _band(got: Tensor, exact: Tensor, scale: float) -> float:
    largest = float(exact.abs().max()) if exact.numel() else 0.0
    return torch.finfo(got.dtype).eps * max(largest, scale)
