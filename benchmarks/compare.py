"""Kernels of the working tree against those of another revision, in turns.

The other revision is installed into ``build/compare/COMMIT``. Each of the two has a process
(`serve`) that builds a case's inputs, checks the answer against float64, and then waits to be told
how often to call: rounds of both take turns as the sides of an ordinary run do
(`measure.interleaved`).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .measure import Plan, interleaved
from .stats import paired_ratio, summarise
from .vocabulary import Case

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "compare"
_SERVE = Path(__file__).with_name("serve.py")


class CompareError(RuntimeError):
    """A revision cannot be installed, or one of the two cannot run a case."""


@dataclass(frozen=True)
class Tree:
    """Where a tree's code lies."""

    package: Path
    """The folder that holds the compiled ``ladnet_fast``."""
    sources: Path
    """The folder that holds its ``benchmarks`` and ``tests``."""


@dataclass(frozen=True)
class Comparison:
    """What a side of a case takes in both trees."""

    case: str
    side: str
    before: float
    """Seconds of a call in the other revision, the median."""
    now: float
    """The same in this tree."""
    times_faster: dict[str, float]
    """p20, p50, p80, count of before over now, round by round."""


# ---- The two trees -------------------------------------------------------------------------------


def install(revision: str) -> Tree:
    """Install a revision of this repository into a folder of its own.

    What is already there is used again.

    Raises
    ------
    CompareError
        If git does not know the revision, or it does not build.
    """
    commit = _run("git", "rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()
    target = CACHE / commit
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            made = Path(folder, commit)
            sources, package = made / "sources", made / "package"
            with tarfile.open(fileobj=io.BytesIO(_run("git", "archive", commit))) as archive:
                # Older patch releases of Python don't know the filter; the archive is git's own.
                given: dict[str, Any] = (
                    {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                )
                archive.extractall(sources, **given)  # noqa: S202 - as said
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
            _run(*pip, "--no-build-isolation", "--target", str(package), str(sources))
            made.rename(target)
    return Tree(target / "package", target / "sources")


def _run(*command: str) -> bytes:
    run = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip() or f"status {run.returncode}"
        raise CompareError(f"{' '.join(command)} failed: {said}")
    return run.stdout


class _Process:
    """A process in which one tree's sides of a case are called on request."""

    def __init__(self, tree: Tree, case: Case, sides: tuple[str, ...], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        environment.pop("PYTHONPATH", None)
        # The packages of both trees have one name: what comes first on the path is imported.
        self.process = subprocess.Popen(
            [sys.executable, str(_SERVE), str(tree.package), str(tree.sources)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        found = self.ask({"case": case.key, "threads": threads, "sides": list(sides)})
        if Path(found["package"]).resolve() != (tree.package / "ladnet_fast").resolve():
            raise CompareError(f"{tree.package} was to be measured, but {found['package']} is used")
        self.sides: list[str] = found["sides"]
        self.silent: dict[str, str] = found["silent"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request; return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise CompareError(f"the process ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> _Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.communicate()


@dataclass(frozen=True)
class _Remote:
    """A side in another process; calling this calls the side once."""

    process: _Process
    side: str

    def __call__(self) -> float:
        return self.seconds(1)

    def seconds(self, repeats: int) -> float:
        """Return the seconds of one of ``repeats`` calls."""
        return float(self.process.ask({"side": self.side, "repeats": repeats})["seconds"])


def _clock(call: Any, repeats: int) -> float:
    return float(call.seconds(repeats))


# ---- Comparing -----------------------------------------------------------------------------------


def compare(
    tree: Tree, case: Case, *, plan: Plan, threads: int, sides: tuple[str, ...] = ()
) -> Iterator[Comparison | str]:
    """Time a case in another tree and in this one.

    Parameters
    ----------
    tree : Tree
        What `install` returned.
    case : Case
        What to run; each tree runs its own case of that name.
    plan : Plan
        How long.
    threads : int
        Of both.
    sides : tuple of str
        Which sides; our own that run on this machine if none are given.

    Yields
    ------
    Comparison or str
        One for each side that both trees run and answer rightly; a line for each side that was
        asked for, or that one of the two runs, and has no figure.

    Raises
    ------
    CompareError
        If a process fails.
    """
    chosen = sides or tuple(name for name in case.sides if case.op.side(name).own)
    here = Tree(ROOT, ROOT)
    with (
        _Process(tree, case, chosen, threads) as old,
        _Process(here, case, chosen, threads) as new,
    ):
        for name in chosen:
            missing = [
                f"{when}: {process.silent.get(name, 'it is not a side of this case')}"
                for when, process in (("before", old), ("now", new))
                if name not in process.sides
            ]
            if missing:
                if sides or len(missing) == 1:  # else it is not for this machine
                    yield f"{case.key}, {name}: {'; '.join(missing)}"
                continue
            calls = {"before": _Remote(old, name), "now": _Remote(new, name)}
            samples = interleaved(calls, plan, _clock)
            before, now = samples["before"], samples["now"]
            yield Comparison(
                case.key,
                name,
                summarise(before).as_dict()["p50"],
                summarise(now).as_dict()["p50"],
                paired_ratio(before, now).as_dict(),
            )
