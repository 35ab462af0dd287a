"""Whether a side computes the right thing; who does not gets no speed.

The budget is that of the tests, see `tests.budget`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from tests import budget
from tests.budget import OutputError

from .vocabulary import Outputs


class DoesNotFitError(Exception):
    """What a check needs does not fit the memory: nothing is known about who is checked."""


@contextmanager
def must_fit(what: str) -> Iterator[None]:
    """Turn a lack of device memory in the block into `DoesNotFitError`.

    Only around what the check itself needs: a kernel that runs out of memory has failed.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DoesNotFitError(f"{what} does not fit this device's memory") from error


def compare(
    got: Outputs, truth: Outputs, reference: Outputs, scales: Mapping[str, float] | None = None
) -> list[OutputError]:
    """Compare a side's outputs with the oracle's; see `tests.budget.compare`.

    ``scales``: for outputs on whose way something larger is rounded, its size.
    """
    sizes = budget.at_least_the_values(scales or {}, truth)
    return budget.compare(got, truth, reference, sizes)
