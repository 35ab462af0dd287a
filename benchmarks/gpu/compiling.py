"""Compiles what a run will use, in many processes at once, before anything is checked or timed.

Triton and torch.compile keep what they made on disk. So each process of this part makes one call
of every kernel that it is handed, exactly as it is called later, and the processes that check and
time find the kernels there. What a call computes is looked at by nobody here.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ..vocabulary import Case
from . import processes
from .outcome import Outcome
from .parts import COMPILE

ROOT = Path(__file__).resolve().parents[2]
#: Begins a line that a process answers with; whatever else it prints does not.
MARK = "\x1ecompiled "
#: Peers that are compiled at their first call. Our own sides are, too.
_COMPILED = ("flex", "flex_band", "compiled")
#: Tests of the command compile so many; the interpreter has nothing to compile.
_TINY = 2


@dataclass(frozen=True)
class Job:
    """One call that has something compiled: a side of a case, or a check's problem.

    ``side`` is empty for a problem, whose name is ``name``; for a case that is its key.
    """

    name: str
    side: str = ""

    @property
    def title(self) -> str:
        """What it is, for a reader."""
        return f"{self.name}, {self.side}" if self.side else self.name


def jobs(cases: list[Case], problems: list[str], *, tiny: bool = False) -> list[Job]:
    """Return all jobs. First those that differ in more than sizes, which share few kernels."""
    first: list[Job] = []
    later: list[Job] = []
    seen = set()
    for case in cases:
        for side in case.sides:
            if case.op.side(side).own or side in _COMPILED:
                kind = (case.op.name, case.variant, case.dtype_name, side)
                (later if kind in seen else first).append(Job(case.key, side))
                seen.add(kind)
    found = [*first, *(Job(name) for name in problems), *later]
    return found[:_TINY] if tiny else found


def outcomes(
    todo: list[Job], device: str, sizes: str, seconds: float, most: int | None = None
) -> Iterator[Outcome]:
    """Do all jobs; yield one line about what was compiled, and one about each job that failed.

    A job that fails here is not blamed: the check or case that it belongs to says what is wrong.

    Parameters
    ----------
    todo : list of Job
        What to do.
    device, sizes : str
        As for the checks.
    seconds : float
        After which what is left is given up.
    most : int, optional
        So many processes at most; by default as many as there are cores.
    """
    count = min(len(todo), most or len(os.sched_getaffinity(0)))
    pool = _Pool(todo, device, sizes)
    finished = pool.run(count, seconds)
    for title, reason in pool.failed.items():
        yield Outcome(COMPILE, title, "unavailable", reason)
    done = f"{pool.done} of {len(todo)} calls in {count} processes"
    if finished:
        yield Outcome(COMPILE, "kernels", "ok", done)
    else:
        left = f"{done}; the others are compiled where they are used"
        yield Outcome(COMPILE, "kernels", "unavailable", f"{seconds:.0f} s were not enough: {left}")


class _Pool:
    """Processes that fetch jobs from one queue; one that dies costs its job and is replaced."""

    def __init__(self, todo: list[Job], device: str, sizes: str) -> None:
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in todo:
            self._queue.put(job)
        self._command = [sys.executable, "-m", "benchmarks.gpu.compiling_worker", device, sizes]
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self.done = 0
        self.failed: dict[str, str] = {}

    def run(self, count: int, seconds: float) -> bool:
        """Work with so many processes; return whether all jobs were done in time."""
        threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(count)]
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._stop)
        timer.start()
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            timer.cancel()
            finished = not self._stopped
            self._stop()
        return finished

    def _serve(self) -> None:
        process: subprocess.Popen[str] | None = None
        while not self._stopped:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            process = process or self._start()
            reason = _ask(process, job) if process else "stopped"
            if self._stopped:
                break
            with self._lock:
                self.done += 1
                if reason:
                    self.failed[job.title] = reason
            if process and process.poll() is not None:
                self._end(process)
                process = None
        if process:
            self._end(process)

    def _start(self) -> subprocess.Popen[str] | None:
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(
                self._command, cwd=ROOT, text=True, errors="replace",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            self._running.add(process)
            return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._running.discard(process)
        processes.end(process)
        process.communicate()

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                processes.end(process)


def _ask(process: subprocess.Popen[str], job: Job) -> str:
    """Have a job done; return why it failed, empty if it did not."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(job)) + "\n")
        process.stdin.flush()
    except (BrokenPipeError, ValueError):
        process.wait()
        return f"its process ended with {process.returncode}"
    answer = _answer(process.stdout)
    if answer is None:
        process.wait()
        return f"its process ended with {process.returncode}"
    return answer


def _answer(lines: IO[str]) -> str | None:
    for line in lines:
        if line.startswith(MARK):
            return str(json.loads(line.removeprefix(MARK)))
    return None
