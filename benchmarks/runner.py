"""Runs cases: checks every side, then times those that are right.

On the CPU each case has a process of its own (``python -m benchmarks.runner``), so that no case
finds the heap as another has left it, and one that runs out of memory takes only itself down.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from . import machine, registry
from .check import OutputError, compare
from .measure import FULL, Clock, Plan, cpu_clock, interleaved
from .memory import measure_peak
from .registry import Call, Case, Outputs, Side
from .stats import paired_ratio, summarise
from .worker import WorkerError, run_worker

#: Called with a line about what is being done.
Progress = Callable[[str], None]


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

    inputs = case.op.build(case, torch.device(device))
    calls = _sound_calls(case, inputs, found)
    samples = interleaved(calls, plan, clock) if calls else {}
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


def _sound_calls(case: Case, inputs: Any, found: dict[str, Measurement]) -> dict[str, Call]:
    """Return what to time: the sides that run here and pass the check. Fills ``found``."""
    answers: dict[str, tuple[Outputs, Outputs, Mapping[str, float]]] = {}
    calls = {}
    for name in case.sides:
        row, side = found[name], case.op.side(name)
        reasons = side.why_not(inputs)
        if reasons:
            row.status, row.reason = "unavailable", "; ".join(reasons)
            continue
        target = side.target or case.variant
        if target not in answers:
            truth = case.op.oracle(inputs, target, torch.float64)
            answers[target] = (
                truth,
                case.op.oracle(inputs, target, case.dtype),
                case.op.scales(inputs, target, truth),
            )
        try:
            got = side.prepare(inputs, True)()
            errors = compare(got, *answers[target])
            calls[name] = side.prepare(inputs, False)
        except Exception as error:  # one failing side must not cost the others their results
            row.status, row.reason = "error", f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        row.errors = [entry.as_dict() for entry in errors]
        wrong = [entry for entry in errors if not entry.ok]
        if wrong:
            row.status, row.reason = "wrong", _describe(wrong)
            calls.pop(name)
    return calls


def _describe(wrong: Iterable[OutputError]) -> str:
    return "; ".join(f"{e.output} is off by {e.error:.2g}, allowed {e.budget:.2g}" for e in wrong)


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
