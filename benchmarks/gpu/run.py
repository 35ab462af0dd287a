"""All steps in their order."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..ceilings import Ceiling
from ..runner import first_line
from ..vocabulary import Case
from . import checks, speed
from .ceilings import measure_ceilings
from .clock import clock_for
from .device import describe
from .outcome import Outcome, release
from .sizes import Sizes

CEILINGS = "ceilings"
_CHECKS: dict[str, Callable[[torch.device, str], Iterator[Outcome]]] = {
    step: functools.partial(checks.outcomes, step) for step in checks.STEPS
}
#: Everything that can be asked for by itself, in the order in which it runs.
STEPS = (CEILINGS, *_CHECKS, speed.STEP)

Progress = Callable[[str], None]
#: Called with what was found so far, and whether it is worth a page.
Save = Callable[[dict[str, Any], bool], None]
#: One for each shape of each peer: FlexAttention is compiled anew for every length.
_RECOMPILATIONS = 256


def run(
    device: torch.device,
    sizes: Sizes,
    cases: list[Case],
    steps: tuple[str, ...],
    command: str,
    progress: Progress,
    save: Save = lambda found, whole: None,
) -> dict[str, Any]:
    """Run steps; return what `.report.write` writes.

    ``save(found, whole)`` is called with the same after every outcome, and with ``whole`` set after
    every step and where the run is broken off. What is returned is yet to be saved.
    """
    return _Run(device, sizes, cases, steps, command, progress, save).run()


class _Run:
    def __init__(
        self,
        device: torch.device,
        sizes: Sizes,
        cases: list[Case],
        steps: tuple[str, ...],
        command: str,
        progress: Progress,
        save: Save,
    ) -> None:
        self.device, self.sizes, self.cases = device, sizes, cases
        self.progress, self.save = progress, save
        # The shares of the device's peak, and how long a float64 check takes, come from ceilings.
        self.steps = [
            step for step in STEPS if step in steps or (step == CEILINGS and speed.STEP in steps)
        ]
        self.ceilings: list[Ceiling] = []
        self.found: dict[str, Any] = {
            "command": command,
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "size": sizes.name,
            "machine": describe(device),
            "incomplete": _incomplete(self.steps),
            "device_failed": "",
            "ceilings": [],
            "checks": [],
            "measurements": [],
        }

    def run(self) -> dict[str, Any]:
        machine = self.found["machine"]
        self.progress(f"{machine['processor']}, {machine['instruction_set']}")
        try:
            for number, step in enumerate(self.steps, 1):
                self._step(step)
                self.found["incomplete"] = _incomplete(self.steps[number:])
                self.save(self.found, True)
        except BaseException:  # such as an interrupt: what was found until then stays
            self.save(self.found, True)
            raise
        lost = self.found["device_failed"]
        self.found["incomplete"] = f"the device failed in {lost}" if lost else ""
        return self.found

    def _step(self, step: str) -> None:
        if step == CEILINGS:
            self._measure_ceilings()
        elif step == speed.STEP:
            self._time_cases()
        else:
            self._check(step)

    def _measure_ceilings(self) -> None:
        try:
            self.ceilings = measure_ceilings(self.device, self.sizes, clock_for(self.device))
        except Exception as error:  # what is timed later has no ceiling; that it is, matters more
            self._outcome(Outcome(CEILINGS, "all", "failed", first_line(error)))
        for entry in self.ceilings:
            self.progress(f"{entry.name}: {entry.value:,.0f} {entry.unit}")
            self.found["ceilings"].append(entry.as_dict())
        self._release(CEILINGS)

    def _check(self, step: str) -> None:
        lost = self.found["device_failed"]
        if lost:
            reason = f"the device failed in {lost}"
            self._outcome(Outcome(step, checks.REST, "unavailable", reason))
            return
        for outcome in _CHECKS[step](self.device, self.sizes.name):
            self._outcome(outcome)

    def _time_cases(self) -> None:
        clock = None
        with torch._dynamo.config.patch(
            recompile_limit=_RECOMPILATIONS, accumulated_recompile_limit=_RECOMPILATIONS
        ):
            for number, case in enumerate(self.cases, 1):
                self.progress(f"[{number}/{len(self.cases)}] {case.key}")
                lost = self.found["device_failed"]
                if lost:
                    reason = f"the device failed in {lost}"
                    rows = speed.all_sides(case, "unavailable", reason)
                else:
                    clock = clock or clock_for(self.device)
                    rows = speed.time_case(case, self.device, self.sizes, clock, self.ceilings)
                for row in rows:
                    self.progress(f"    {row.side}: {_outcome(row)}")
                    self.found["measurements"].append(row.as_dict())
                self.save(self.found, False)
                self._release(case.key)

    def _outcome(self, outcome: Outcome) -> None:
        self.progress(f"{outcome.step}: {outcome.name}: {outcome.status}: {outcome.detail}")
        self.found["checks"].append(outcome.as_dict())
        self.save(self.found, False)

    def _release(self, where: str) -> None:
        """Free memory; note where the device failed if it no longer can."""
        if self.found["device_failed"]:
            return
        try:
            release()
        except Exception as error:  # whatever is asked of the device from now on ends like this
            self.found["device_failed"] = f"{where}: {first_line(error)}"
            self.progress(f"the device failed in {self.found['device_failed']}")


def _incomplete(steps: list[str]) -> str:
    """Return what to say of a report while there are steps to come."""
    if not steps:
        return ""
    return f"the run was broken off, or has not ended yet, in the step {steps[0]}" + (
        f", before {', '.join(steps[1:])}" if steps[1:] else ""
    )


def failures(found: dict[str, Any]) -> list[str]:
    """Return what makes the run a failure.

    Failed checks, our sides that are wrong or raise, and a device that failed, whoever made it.
    """
    lost = found["device_failed"]
    return [
        *([f"the device failed in {lost}"] if lost else []),
        *(f"{c['step']}: {c['name']}: {c['detail']}" for c in found["checks"]
          if c["status"] == "failed"),
        *(f"{r['op']}, {r['side']}: {r['status']}: {r['reason']}" for r in found["measurements"]
          if r["own"] and r["status"] in ("wrong", "error")),
    ]  # fmt: skip


def _outcome(row: Any) -> str:
    if row.seconds is None:
        return f"{row.status}: {row.reason}"
    return f"{row.seconds['p50'] * 1e3:.4g} ms"
