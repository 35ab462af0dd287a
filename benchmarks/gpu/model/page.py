"""docs/gpu-model.md: the predictions, and all that they rest on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ... import report, results
from ...templating import environment
from ...vocabulary import Case
from .. import table
from . import attention, chips, flash, predict
from .chips import CHIPS, Chip

PATH = Path(__file__).resolve().parents[3] / "docs" / "gpu-model.md"
COMMAND = "python -m benchmarks.gpu model"
#: The chips whose launches the page shows: the others differ in the speed of memory alone.
SHOWN = tuple(chip for chip in CHIPS if not chip.name.startswith("H200"))
#: Of our sides, those whose launches it shows.
_SIDES = ("triton", "cuda")
_TEMPLATE = "gpu-model.md.j2"


def render() -> str:
    """Return the page."""
    pages = environment()
    cases = table.cases()
    return pages.get_template(_TEMPLATE).render(
        command=COMMAND,
        prior_instructions=f"{attention.PRIOR_INSTRUCTIONS:g}",
        slope_instructions=attention.SLOPE_INSTRUCTIONS,
        launch=f"{chips.LAUNCH * 1e6:g}",
        chips=chips_table(),
        stand_in=attention.STAND_IN,
        flex=flex_table(cases),
        flash=flash_table(cases),
        cases=cases_table(cases),
        shown=[
            (f"{chip.name}, {chip.multiprocessors} multiprocessors", launches_table(cases, chip))
            for chip in SHOWN
        ],
    )


def chips_table() -> str:
    """Return the constants of the chips with their sources."""
    head = ["", ", ".join(chip.name for chip in CHIPS), "Source"]
    body = ([name, values, source] for name, values, source in chips.SOURCES)
    return report.markdown(head, body, numbers=False)


def cases_table(cases: Iterable[Case]) -> str:
    """Return the predictions of cases on all chips."""
    body = []
    for case in cases:
        for side in _sides(case, (*predict.SIDES, *predict.FLEX)):
            found = [predict.predict(case, side, chip) for chip in CHIPS]
            made = [p for p in found if p is not None]
            if made:
                cells = (f"{_us(p.seconds)} ({_us(p.floor)})" for p in made)
                bound = next(p.bound for p in made if p.chip.startswith("H100"))
                body.append([_name(case), report.SIDES[side], *cells, bound])
    return report.markdown(["Case", "Side", *(chip.name for chip in CHIPS), "Bound"], body)


def flex_table(cases: Iterable[Case]) -> str:
    """Return how many times as fast as `flex` our kernels are predicted to be."""
    body = []
    for case in cases:
        for side in _sides(case, predict.FLEX):
            cells = []
            for chip in CHIPS:
                ours, theirs = (predict.predict(case, s, chip) for s in ("triton", side))
                if ours is None or theirs is None:
                    raise KeyError(f"the model does not know {side!r} of {_name(case)}")
                cells.append(f"{theirs.seconds / ours.seconds:.2f}")
            body.append([_name(case), *cells])
    return report.markdown(["Case", *(chip.name for chip in CHIPS)], body)


def flash_table(cases: Iterable[Case]) -> str:
    """Return how many times as fast as the least that `flash` takes ours are predicted to be."""
    body = []
    for case in cases:
        if "flex_band" not in case.sides or case.dtype_name != "bfloat16":
            continue
        call, cells = predict.call_of(case), []
        for chip in CHIPS:
            ours, theirs = predict.predict(case, "triton", chip), flash.seconds(call, chip)
            assert ours is not None
            cells.append("-" if theirs is None else f"{theirs / ours.seconds:.2f}")
        body.append([_name(case), *cells])
    return report.markdown(["Case", *(chip.name for chip in CHIPS)], body)


def launches_table(cases: Iterable[Case], chip: Chip) -> str:
    """Return all launches of cases on a chip."""
    head = [
        "Case", "Kernel", "Blocks", "At once", "Waves", "MB", "Tensor", "Exp.", "Issue", "Busy",
        "Predicted", "Floor", "Bound",
    ]  # fmt: skip
    body = []
    for case in cases:
        for side in _sides(case, _SIDES):
            for kernel, timing in predict.timings(case, side, chip):
                kilocycles = (timing.tensor, timing.exponentials, timing.instructions)
                body.append(
                    [
                        _name(case),
                        f"{kernel.name} {kernel.config}",
                        f"{kernel.count:,}",
                        str(timing.resident),
                        f"{timing.waves:.2f}",
                        f"{kernel.bytes / 1e6:,.1f}",
                        *(f"{cycles / 1e3:,.1f}" for cycles in kilocycles),
                        f"{100 * timing.busy:.0f} %",
                        _us(timing.seconds),
                        _us(timing.floor),
                        timing.bound,
                    ]
                )
    return report.markdown(head, body)


def _sides(case: Case, wanted: tuple[str, ...]) -> list[str]:
    return [side for side in case.sides if side in wanted]


def _name(case: Case) -> str:
    return (
        f"{case.op.name}, {case.variant}, {results.shape_name(dict(case.shape))}, {case.dtype_name}"
    )


def _us(seconds: float) -> str:
    us = seconds * 1e6
    return f"{us:,.0f}" if us >= 100 else f"{us:.1f}"
