"""The losses of a training's steps on their way from the device to the reporter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from .late_reading import LateReading
from .step import Evidence

TERMS = ("total", "mil", "ranking", "alignment")


class Place(NamedTuple):
    """Where in a training a part of a batch is; all but ``global_step`` are counted from 0."""

    epoch: int
    step: int
    part: int
    parts: int
    samples: Sequence[int]
    global_step: int
    lr: float


#: Called with a part whose losses are not finite, its evidence, and the peaks of its weights as
#: `Evidence` has them (None: not known); returns the error to raise.
Refuse = Callable[[Place, Evidence, "list[float] | None"], Exception]


class LossLog:
    """Reads the losses of each part, late where the device is not the host, and tells each step's.

    Parameters
    ----------
    reading : LateReading
        How numbers come to the host.
    refuse : callable
        Makes the error of a part whose losses are not finite.
    tell : callable
        Called with a step's last part and the means of its losses over the parts, in order.
    """

    def __init__(
        self,
        reading: LateReading,
        refuse: Refuse,
        tell: Callable[[Place, Mapping[str, float]], None],
    ) -> None:
        self._reading, self._refuse, self._tell = reading, refuse, tell
        self._means = dict.fromkeys(TERMS, 0.0)
        self._whole: list[tuple[Place, Mapping[str, float]]] = []

    def add(self, place: Place, evidence: Evidence) -> None:
        """Have a part's losses read; raises where those of this part, or an earlier one, are bad.

        On the CPU that is this part: its losses are read before this returns.
        """
        numbers = evidence.values
        if evidence.peaks is not None:
            numbers = torch.cat([numbers, evidence.peaks])
        self._reading.add(numbers, lambda found: self._look(place, evidence, found))

    def tell(self) -> None:
        """Tell of the steps that have been read whole."""
        whole, self._whole = self._whole, []
        for place, means in whole:
            self._tell(place, means)

    def finish(self) -> None:
        """Read and tell all that is left."""
        self._reading.finish()
        self.tell()

    def _look(self, place: Place, evidence: Evidence, found: list[float]) -> None:
        values, peaks = found[: len(TERMS)], found[len(TERMS) :]
        if not all(map(math.isfinite, values)):
            raise self._refuse(place, evidence, None if evidence.peaks is None else peaks)
        self._means = {
            name: self._means[name] + value / place.parts
            for name, value in zip(TERMS, values, strict=True)
        }
        if place.part + 1 == place.parts:
            self._whole.append((place, self._means))
            self._means = dict.fromkeys(TERMS, 0.0)
