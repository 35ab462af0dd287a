"""All parts in their order."""

from __future__ import annotations

import datetime
import functools
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from ..ceilings import Ceiling
from ..runner import first_line
from ..vocabulary import Case
from . import checks, compiling, sanitizer, speed
from .ceilings import measure_ceilings
from .clock import clock_for
from .device import describe
from .model import chips
from .outcome import Outcome, release
from .parts import BUILD, CEILINGS, CHECKS, COMPILE, SANITIZER, SPEED, STEPS, Deadlines
from .sizes import Sizes

_CHECKS: dict[str, Callable[[torch.device, str, float], Iterator[Outcome]]] = {
    step: functools.partial(checks.outcomes, step) for step in CHECKS
}

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
    *,
    deadlines: Deadlines | None = None,
    before: Sequence[Outcome] = (),
) -> dict[str, Any]:
    """Run parts; return what `.report.write` writes.

    ``save(found, whole)`` is called with the same after every outcome, and with ``whole`` set after
    every part and where the run is broken off. What is returned is yet to be saved. ``before`` is
    what became of parts that are over: of the build, which comes before anything is imported.
    """
    return _Run(device, sizes, cases, steps, command, progress, save, deadlines, before).run()


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
        deadlines: Deadlines | None,
        before: Sequence[Outcome],
    ) -> None:
        self.device, self.sizes, self.cases = device, sizes, cases
        self.progress, self.save = progress, save
        # The shares of the device's peak, and how long a float64 check takes, come from ceilings.
        self.steps = [
            step
            for step in STEPS
            if step != BUILD and (step in steps or (step == CEILINGS and SPEED in steps))
        ]
        self.deadlines = deadlines or Deadlines(self.steps)
        self.ceilings: list[Ceiling] = []
        machine = describe(device)
        timed = cases if SPEED in self.steps else []
        self.found: dict[str, Any] = {
            "command": command,
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "size": sizes.name,
            "machine": machine,
            "incomplete": _incomplete(self.steps),
            "device_failed": "",
            "parts": [],
            "ceilings": [],
            "predictions": _predictions(timed, machine),
            "checks": [outcome.as_dict() for outcome in before],
            "measurements": [],
        }
        if BUILD in steps:
            self._timed(BUILD, 0.0)

    def run(self) -> dict[str, Any]:
        machine = self.found["machine"]
        self.progress(f"{machine['processor']}, {machine['instruction_set']}")
        try:
            for number, step in enumerate(self.steps, 1):
                start = self.deadlines.elapsed()
                self._step(step)
                self._timed(step, start)
                self.found["incomplete"] = _incomplete(self.steps[number:])
                self.save(self.found, True)
        except BaseException:  # such as an interrupt: what was found until then stays
            self.save(self.found, True)
            raise
        lost = self.found["device_failed"]
        self.found["incomplete"] = f"the device failed in {lost}" if lost else ""
        return self.found

    def _timed(self, step: str, start: float) -> None:
        seconds = round(self.deadlines.elapsed() - start, 1)
        self.found["parts"].append({"part": step, "seconds": seconds})

    def _step(self, step: str) -> None:
        left = self.deadlines.left(step)
        if step == CEILINGS:
            self._measure_ceilings()
        elif step == SPEED:
            self._time_cases()
        elif step == COMPILE:
            self._note(self._compile(left))
        elif step == SANITIZER:
            self._note(sanitizer.outcomes(str(self.device), left))
        else:
            self._check(step, left)

    def _compile(self, left: float) -> Iterator[Outcome]:
        problems: list[str] = []
        if "correctness" in self.steps or "determinism" in self.steps:
            from tests.gpu.problems import all_problems
            from tests.gpu.sizes import BY_NAME

            problems = list(all_problems(BY_NAME[self.sizes.name]))
        cases = self.cases if SPEED in self.steps else []
        todo = compiling.jobs(cases, problems, tiny=self.sizes.name == "tiny")
        return compiling.outcomes(todo, str(self.device), self.sizes.name, left)

    def _measure_ceilings(self) -> None:
        try:
            self.ceilings = measure_ceilings(self.device, self.sizes, clock_for(self.device))
        except Exception as error:  # what is timed later has no ceiling; that it is, matters more
            self._outcome(Outcome(CEILINGS, "all", "failed", first_line(error)))
        for entry in self.ceilings:
            self.progress(f"{entry.name}: {entry.value:,.0f} {entry.unit}")
            self.found["ceilings"].append(entry.as_dict())
        self._release(CEILINGS)

    def _check(self, step: str, left: float) -> None:
        lost = self.found["device_failed"]
        if lost:
            reason = f"the device failed in {lost}"
            self._outcome(Outcome(step, checks.REST, "unavailable", reason))
            return
        self._note(_CHECKS[step](self.device, self.sizes.name, left))

    def _time_cases(self) -> None:
        clock = None
        with torch._dynamo.config.patch(
            recompile_limit=_RECOMPILATIONS, accumulated_recompile_limit=_RECOMPILATIONS
        ):
            for number, case in enumerate(self.cases, 1):
                self.progress(f"[{number}/{len(self.cases)}] {case.key}")
                lost = self.found["device_failed"]
                left = self.deadlines.left(SPEED)
                if lost or not left:
                    reason = (
                        f"the device failed in {lost}" if lost else self.deadlines.no_time(SPEED)
                    )
                    rows: Iterable[Any] = speed.all_sides(case, "unavailable", reason)
                else:
                    clock = clock or clock_for(self.device)
                    rows = speed.time_case(
                        case, self.device, self.sizes, clock, self.ceilings, left
                    )
                for row in rows:
                    self.progress(f"    {row.side}: {_outcome(row)}")
                    self.found["measurements"].append(row.as_dict())
                self.save(self.found, False)
                self._release(case.key)

    def _note(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self._outcome(outcome)

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


def _predictions(cases: list[Case], machine: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what docs/gpu-model.md predicts for this GPU; nothing for one that it does not know.

    Written down before anything is measured.
    """
    if chips.find(machine["processor"]) is None or importlib.util.find_spec("triton") is None:
        return []
    from .model import predict

    return [prediction.as_dict() for prediction in predict.predictions(cases, machine)]


def _incomplete(steps: list[str]) -> str:
    """Return what to say of a report while there are parts to come."""
    if not steps:
        return ""
    return f"the run was broken off, or has not ended yet, in the part {steps[0]}" + (
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
