"""All steps in their order."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..ceilings import Ceiling
from ..registry import Case
from . import correctness, determinism, graphs, memory, speed
from .ceilings import measure_ceilings
from .clock import clock_for
from .device import describe
from .outcome import Outcome
from .sizes import Sizes

CEILINGS = "ceilings"
_CHECKS: dict[str, Callable[[torch.device, Sizes], Iterator[Outcome]]] = {
    module.STEP: module.check_all for module in (correctness, determinism, graphs, memory)
}
#: Everything that can be asked for by itself, in the order in which it runs.
STEPS = (CEILINGS, *_CHECKS, speed.STEP)

Progress = Callable[[str], None]
#: One for each shape of each peer: FlexAttention is compiled anew for every length.
_RECOMPILATIONS = 256


def run(
    device: torch.device,
    sizes: Sizes,
    cases: list[Case],
    steps: tuple[str, ...],
    command: str,
    progress: Progress,
) -> dict[str, Any]:
    """Run steps; return what :func:`.report.write` writes."""
    machine = describe(device)
    progress(f"{machine['processor']}, {machine['instruction_set']}")
    clock = clock_for(device)
    ceilings: list[Ceiling] = []
    # The shares of the device's peak, and how long a float64 check takes, come from here.
    if CEILINGS in steps or speed.STEP in steps:
        ceilings = measure_ceilings(device, sizes, clock)
        for entry in ceilings:
            progress(f"{entry.name}: {entry.value:,.0f} {entry.unit}")
    checks = []
    for step, check_all in _CHECKS.items():
        for outcome in check_all(device, sizes) if step in steps else ():
            progress(f"{step}: {outcome.name}: {outcome.status}: {outcome.detail}")
            checks.append(outcome.as_dict())
    rows = []
    with torch._dynamo.config.patch(
        recompile_limit=_RECOMPILATIONS, accumulated_recompile_limit=_RECOMPILATIONS
    ):
        for number, case in enumerate(cases if speed.STEP in steps else [], 1):
            progress(f"[{number}/{len(cases)}] {case.key}")
            for row in speed.time_case(case, device, sizes, clock, ceilings):
                progress(f"    {row.side}: {_outcome(row)}")
                rows.append(row.as_dict())
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "size": sizes.name,
        "machine": machine,
        "ceilings": [entry.as_dict() for entry in ceilings],
        "checks": checks,
        "measurements": rows,
    }


def failures(found: dict[str, Any]) -> list[str]:
    """Return what makes the run a failure: failed checks, and our sides that are wrong or raise."""
    return [
        *(f"{c['step']}: {c['name']}: {c['detail']}" for c in found["checks"]
          if c["status"] == "failed"),
        *(f"{r['op']}, {r['side']}: {r['status']}: {r['reason']}" for r in found["measurements"]
          if r["own"] and r["status"] in ("wrong", "error")),
    ]  # fmt: skip


def _outcome(row: Any) -> str:
    if row.seconds is None:
        return f"{row.status}: {row.reason}"
    return f"{row.seconds['p50'] * 1e3:.4g} ms"
