"""Runs cases: checks every side, then times those that are right.

On the CPU each case has a process of its own (``python -m benchmarks.runner``), so that no case
finds the heap as another has left it, and one that runs out of memory takes only itself down.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from tests.budget import describe

from . import machine, registry
from .check import DoesNotFitError, compare, must_fit
from .measure import FULL, Clock, Plan, cpu_clock, interleaved
from .memory import measure_peak
from .stats import paired_ratio, summarise
from .vocabulary import Call, Case, Outputs, Side
from .worker import WorkerError, run_worker

#: Called with a line about what is being done.
Progress = Callable[[str], None]
_Answer = tuple[Outputs, Outputs, Mapping[str, float]]


@dataclass
class Measurement:
    """What is known about one side of a case after a run.

    ``seconds``, ``rate`` and ``times_faster`` are empty unless ``status`` is "ok": a side that
    cannot run, fails, or computes the wrong thing has no speed.
    """

    op: str
    variant: str
    shape: dict[str, int]
    dtype: str
    side: str
    own: bool
    status: str
    """ "ok"; or "unavailable", "wrong", "error" or "not timed", and ``reason`` says why."""
    reason: str = ""
    errors: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] | None = None
    """p20, p50, p80, count: of one call."""
    flops: float | None = None
    bytes: float | None = None
    times_faster: dict[str, dict[str, float]] = field(default_factory=dict)
    """Own sides only: peer -> p20, p50, p80, count of its time over ours, round by round."""
    peak_bytes: int | None = None
    memory_reason: str = ""
    """Why the peak memory that was asked for is missing."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def run_case(
    case: Case,
    *,
    plan: Plan = FULL,
    device: str = "cpu",
    clock: Clock = cpu_clock,
    threads: int | None = None,
    memory: bool = True,
    available: int | None = None,
    lost: Callable[[], bool] = lambda: False,
) -> list[Measurement]:
    """Check and time every side of a case; one measurement a side, in the case's order.

    Sides of which only the memory is wanted come last.

    Parameters
    ----------
    case : Case
        What to run.
    plan : Plan
        How long.
    device : str
        Where the tensors are.
    clock : Clock
        How a call is timed on that device.
    threads : int, optional
        For the processes in which memory is measured; this process's number if not given.
    memory : bool
        Whether to measure the peak memory of the sides that the case names for it.
    available : int, optional
        Bytes that the check may take on the device; what this machine has free if not given.
    lost : callable
        Whether the device has failed for good. Asked after an error: if so, the sides that come
        after it are not blamed for what they cannot help.
    """
    cost = case.op.cost(case)
    found = {name: _blank(case, case.op.side(name)) for name in (*case.sides, *case.memory)}
    for name in set(case.memory) - set(case.sides):
        found[name].status, found[name].reason = "not timed", "takes too long at this size"
    available = machine.available_memory() if available is None else available
    if cost.check_bytes > available:
        for row in found.values():
            row.status = "unavailable"
            row.reason = (
                f"the float64 check needs about {cost.check_bytes / 2**30:.0f} GiB, "
                f"{available / 2**30:.0f} GiB are free"
            )
        return list(found.values())

    try:
        with must_fit("the input"):
            inputs = case.op.build(case, torch.device(device))
    except DoesNotFitError as error:
        for row in found.values():
            row.status, row.reason = "unavailable", str(error)
        return list(found.values())
    calls = _sound_calls(case, inputs, found, lost)
    samples = _timed(calls, found, plan, clock, lost)
    for name, seconds in samples.items():
        row = found[name]
        row.seconds = summarise(seconds).as_dict()
        row.flops, row.bytes = cost.flops, cost.bytes
        if row.own:
            row.times_faster = {
                peer: paired_ratio(samples[peer], seconds).as_dict()
                for peer in samples
                if peer != name
            }
    del calls, inputs
    gc.collect()
    if memory:
        for name in case.memory:
            if found[name].status not in ("ok", "not timed"):
                continue  # what is wrong has no memory either
            answer = measure_peak(case, name, threads or torch.get_num_threads())
            found[name].peak_bytes = answer["peak_bytes"]
            found[name].memory_reason = answer["reason"]
    return list(found.values())


def _blank(case: Case, side: Side) -> Measurement:
    return Measurement(
        case.op.name,
        case.variant,
        dict(case.shape),
        case.dtype_name,
        side.name,
        side.own,
        status="ok",
    )


def _sound_calls(
    case: Case, inputs: Any, found: dict[str, Measurement], lost: Callable[[], bool]
) -> dict[str, Call]:
    """Return what to time: the sides that run here and pass the check. Fills ``found``."""
    # An answer that could not be computed is kept, too: once is enough to know.
    answers: dict[str, _Answer | Exception] = {}
    calls: dict[str, Call] = {}
    for name in case.sides:
        row, side = found[name], case.op.side(name)
        reasons = side.why_not(inputs)
        if reasons:
            row.status, row.reason = "unavailable", "; ".join(reasons)
            continue
        target = side.target or case.variant
        try:
            if target not in answers:
                answers[target] = _answer(case, inputs, target)
            answer = answers[target]
            if isinstance(answer, Exception):
                raise answer
            got = side.prepare(inputs, True)()
            with must_fit("the float64 check"):
                errors = compare(got, *answer)
            calls[name] = side.prepare(inputs, False)
        except Exception as error:  # one failing side must not cost the others their results
            if _blame(name, error, found, lost):
                return {}
            continue
        row.errors = [entry.as_dict() for entry in errors]
        wrong = [entry for entry in errors if not entry.ok]
        if wrong:
            row.status, row.reason = "wrong", describe(wrong)
            calls.pop(name)
    return calls


def _answer(case: Case, inputs: Any, target: str) -> _Answer | Exception:
    """Return the exact answer, the reference's and the scales, or why there are none."""
    try:
        with must_fit("the float64 check"):
            truth = case.op.oracle(inputs, target, torch.float64)
            plain = case.op.oracle(inputs, target, case.dtype)
            return truth, plain, case.op.scales(inputs, target, truth)
    except Exception as error:  # the sides with another answer go on
        error.__cause__ = error.__context__ = None  # their frames hold what did not fit
        return error.with_traceback(None)


class _Sides(dict[str, Call]):
    """Calls by name, and who was asked for last: the one that is being timed."""

    last = ""

    def __getitem__(self, name: str) -> Call:
        self.last = name
        return super().__getitem__(name)


def _timed(
    calls: dict[str, Call],
    found: dict[str, Measurement],
    plan: Plan,
    clock: Clock,
    lost: Callable[[], bool],
) -> dict[str, list[float]]:
    """Time the calls in turns. One that raises drops out, and the others are timed once more."""
    while calls:
        sides = _Sides(calls)
        try:
            return interleaved(sides, plan, clock)
        except Exception as error:
            if not sides.last or _blame(sides.last, error, found, lost):
                calls.clear()
            calls.pop(sides.last, None)
    return {}


def _blame(
    name: str, error: Exception, found: dict[str, Measurement], lost: Callable[[], bool]
) -> bool:
    """Write down a side's error; return whether the device is lost, and the others with it."""
    if isinstance(error, DoesNotFitError):
        found[name].status, found[name].reason = "unavailable", str(error)
        return False
    found[name].status, found[name].reason = "error", first_line(error)
    if not lost():
        return False
    for row in found.values():
        if row.status == "ok":
            row.status, row.reason = "unavailable", f"the device failed in {name}"
    return True


def first_line(error: Exception) -> str:
    """Return an exception's class and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def run_cases(
    cases: list[Case], *, plan: Plan, threads: int, memory: bool, progress: Progress
) -> list[dict[str, Any]]:
    """Run several cases on the CPU, each in a new process; return the measurements as JSON rows.

    The sides of a case whose process fails have the status "error".
    """
    rows = []
    for number, case in enumerate(cases, 1):
        progress(f"[{number}/{len(cases)}] {case.key}")
        request = json.dumps(
            {"case": case.key, "plan": asdict(plan), "threads": threads, "memory": memory}
        )
        try:
            found = run_worker("benchmarks.runner", request, threads=threads)["measurements"]
        except WorkerError as error:
            failed = {"status": "error", "reason": str(error)}
            names = dict.fromkeys((*case.sides, *case.memory))
            found = [_blank(case, case.op.side(name)).as_dict() | failed for name in names]
        for row in found:
            progress(f"    {row['side']}: {_outcome(row)}")
        rows += found
    return rows


def _outcome(row: Mapping[str, Any]) -> str:
    if row["seconds"] is None:
        return f"{row['status']}: {row['reason']}"
    peers = ", ".join(f"{entry['p50']:.2f} x {peer}" for peer, entry in row["times_faster"].items())
    return f"{row['seconds']['p50'] * 1e3:.3g} ms" + (f" ({peers})" if peers else "")


def _work(request: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(request["threads"])
    rows = run_case(
        registry.find(request["case"]),
        plan=Plan(**request["plan"]),
        threads=request["threads"],
        memory=request["memory"],
    )
    return {"measurements": [row.as_dict() for row in rows]}


if __name__ == "__main__":
    print(json.dumps(_work(json.loads(sys.argv[1]))))
