"""Predictions for cases of the registry, and what a run on a GPU has beside its measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...cases import attention as attention_cases
from ...vocabulary import Case
from . import attention, chips, ddl, flex, score_head
from .band import Prior
from .chips import Chip
from .timing import Kernel, Timing, time_kernel

#: Sides of ours that are predicted.
SIDES = ("triton", "triton_no_prior", "triton_unsplit", "cuda")
#: A peer of which the page says what it can't be faster than by much, see `flex`.
FLEX = ("flex", "flex_band")


@dataclass(frozen=True)
class Prediction:
    """What a side of a case takes on a chip."""

    op: str
    variant: str
    shape: dict[str, int]
    dtype: str
    side: str
    chip: str
    seconds: float
    floor: float
    bound: str
    """Of the launch that takes longest."""
    launches: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def call_of(case: Case) -> attention.Call:
    """Return a case of attention as the model knows it."""
    B, H, T, d = (case.shape[axis] for axis in "BHTd")
    prior = Prior(*attention_cases.VARIANTS[case.variant])
    return attention.Call(B, H, T, d, case.dtype, prior, case.op.name.endswith("_backward"))


def kernels(case: Case, side: str, chip: Chip) -> Sequence[Kernel]:
    """Return the launches of a side of ours or of `FLEX`; none for operators that have no model."""
    shape, backward = case.shape, case.op.name.endswith("_backward")
    if case.op.name.startswith("attention"):
        call = call_of(case)
        if side.endswith("_no_prior"):
            call = replace(call, prior=Prior("none"))
        if side.endswith("_unsplit"):
            call = replace(call, splits=1)
        return flex.kernels(call, chip) if side in FLEX else attention.kernels(call, chip)
    if case.op.name.startswith("ddl"):
        N, T, C = (shape[axis] for axis in "NTC")
        return ddl.kernels(N, T, C, case.dtype, backward, chip)
    if case.op.name.startswith("score_head"):
        B, T, C, K = (shape[axis] for axis in "BTCK")
        return score_head.kernels(B, T, C, K, case.dtype, backward)
    return []


def timings(case: Case, side: str, chip: Chip) -> list[tuple[Kernel, Timing]]:
    """Return the launches of a side of ours with what each takes."""
    return [(kernel, time_kernel(kernel, chip)) for kernel in kernels(case, side, chip)]


def predict(case: Case, side: str, chip: Chip) -> Prediction | None:
    """Return what a side of ours takes on a chip; None where the operator is not modelled."""
    found = timings(case, side, chip)
    if not found:
        return None
    longest = max((timing for _, timing in found), key=lambda timing: timing.seconds)
    return Prediction(
        case.op.name, case.variant, dict(case.shape), case.dtype_name, side, chip.name,
        sum(timing.seconds for _, timing in found), sum(timing.floor for _, timing in found),
        longest.bound, len(found),
    )  # fmt: skip


def predictions(cases: Iterable[Case], machine: dict[str, Any]) -> list[Prediction]:
    """Return the predictions for all own sides of cases; none for a GPU that is not modelled."""
    chip = chips.find(machine["processor"])
    if chip is None:
        return []
    found = (predict(case, side, chip) for case in cases for side in case.sides if side in SIDES)
    return [prediction for prediction in found if prediction is not None]
