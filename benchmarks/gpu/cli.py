"""Command line of the GPU's checks and benchmarks.

By argparse, and with imports where they are needed: the command runs from a plain checkout, where
nothing but torch, its own requirements, numpy, pytest and the tools of the build are installed; and
the CUDA module has to be built before the first import of `ladnet_fast`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from .parts import BUILD, CHECKS, STEPS, Deadlines

if TYPE_CHECKING:
    import torch

    from .outcome import Outcome

PROGRAM = "python -m benchmarks.gpu"
MINUTES = 10.0
#: Where runs go unless told otherwise; git ignores it.
LOCAL = Path(__file__).resolve().parents[1] / "results" / "local"
_ABOUT = """\
Check every kernel on this machine's GPU, time it against its peers, write one report.

Needs torch with CUDA, Triton, numpy and pytest; with nvcc, CMake and a C++ compiler it builds the
losses' kernels, in the checkout and for this GPU alone. Without a GPU it says so and ends with
status 0; with status 1 if a check fails or the device does. The report is written as the run goes,
and says so where it is incomplete.
"""
_EXAMPLE = f"""\
Examples: {PROGRAM} --output my-gpu
          {PROGRAM} --only correctness --only determinism
          {PROGRAM} --only speed attention_forward/
          {PROGRAM} model         predictions for docs/gpu-model.md; needs no GPU
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["model"]:
        from .model.cli import main as model

        return model(given[1:])
    chosen = _parser().parse_args(given)
    steps = tuple(step for step in STEPS if not chosen.only or step in chosen.only)
    minutes = chosen.minutes if chosen.minutes or chosen.full or chosen.tiny else MINUTES
    deadlines = Deadlines(steps, None if minutes is None else 60 * minutes)
    if chosen.list:
        for case in _cases(chosen):
            print(f"{case.key}  {', '.join(case.sides)}")
        return 0
    place = _device(chosen.device, chosen.tiny)
    if place is None:
        print("No GPU: torch.cuda.is_available() is False, so there is nothing to measure.")
        return 0
    _need_pytest(steps)
    before = _build(place, deadlines) if BUILD in steps else []
    return _run(chosen, place, steps, shlex.join([*PROGRAM.split(), *given]), deadlines, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=_ABOUT, epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("patterns", nargs="*", metavar="PATTERN",
        help="time only cases whose name contains one of these")  # fmt: skip
    add("--full", action="store_true",
        help="every length and peer, larger checks, longer rounds, no limit of time")  # fmt: skip
    add("--minutes", type=_minutes, metavar="N",
        help=f"end after about so long; {MINUTES:g} unless --full is given")  # fmt: skip
    add("--only", action="append", choices=STEPS, metavar="PART",
        help=f"only this part: {', '.join(STEPS)}; may be given again")  # fmt: skip
    add("--output", type=Path, default=LOCAL, help="folder for the report")
    add("--device", default="cuda", help="a CUDA device; cpu only with --tiny")
    add("--tiny", action="store_true",
        help="tests of this command: tiny sizes, times mean nothing")  # fmt: skip
    add("--list", action="store_true", help="show the names of the cases that would be timed")
    return parser


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of minutes above 0; got {text!r}")
    return value


def _refuse(message: str) -> NoReturn:
    _parser().error(message)


def _cases(chosen: argparse.Namespace) -> list[Any]:
    from . import table

    patterns = tuple(chosen.patterns)
    try:
        return table.tiny(patterns) if chosen.tiny else table.select(not chosen.full, patterns)
    except ValueError as error:
        _refuse(str(error))


def _need_pytest(steps: Sequence[str]) -> None:
    import importlib.util

    needed = set(steps) & set(CHECKS)
    if needed and importlib.util.find_spec("pytest") is None:
        _refuse(
            f"{', '.join(sorted(needed))} need pytest, which is not installed; install it with: "
            "pip install pytest"
        )


def _build(place: torch.device, deadlines: Deadlines) -> list[Outcome]:
    """Build the CUDA module for this device, before anything imports it."""
    from .build import NAME, build
    from .outcome import Outcome

    if place.type != "cuda":
        return [Outcome(BUILD, NAME, "unavailable", "it is built for the CUDA device at hand")]
    import torch

    assert "ladnet_fast._native" not in sys.modules, "the old module is loaded already"
    major, minor = torch.cuda.get_device_capability(place)
    print(f"{BUILD}: {NAME} for sm_{major}{minor} ...", flush=True)
    outcome = build(10 * major + minor, deadlines.left(BUILD))
    print(f"{BUILD}: {outcome.name}: {outcome.status}: {outcome.detail}", flush=True)
    return [outcome]


def _run(
    chosen: argparse.Namespace,
    place: torch.device,
    steps: tuple[str, ...],
    command: str,
    deadlines: Deadlines,
    before: list[Outcome],
) -> int:
    from . import report
    from .run import failures, run
    from .sizes import FULL, QUICK, TINY

    def save(found: dict[str, Any], whole: bool) -> None:
        write = report.write if whole else report.write_data
        write(chosen.output, found)

    def progress(line: str) -> None:
        print(f"{deadlines.elapsed():6.1f} s  {line}", flush=True)

    sizes = TINY if chosen.tiny else FULL if chosen.full else QUICK
    earlier = signal.signal(signal.SIGTERM, _stop)
    try:
        found = run(
            place, sizes, _cases(chosen), steps, command, progress, save,
            deadlines=deadlines, before=before,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGTERM, earlier)
    page, *others = report.write(chosen.output, found)
    print(f"\nwritten: {page}, {', '.join(path.name for path in others)}")
    failed = failures(found)
    for line in failed:
        print(f"FAILED: {line}", file=sys.stderr)
    return 1 if failed else 0


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Break the run off as an interrupt does, so that what was found is written."""
    raise SystemExit(128 + number)


def _device(name: str, tiny: bool) -> torch.device | None:
    """Return the device, or None where there is no GPU to be had."""
    import torch

    try:
        place = torch.device(name)
    except RuntimeError:
        _refuse(f"--device must be a torch device; got {name!r}")
    if place.type == "cuda":
        if not torch.cuda.is_available():
            return None
        if place.index is not None:
            count = torch.cuda.device_count()
            if place.index >= count:
                known = ", ".join(f"cuda:{index}" for index in range(count))
                _refuse(f"--device must be one of {known}; got {name!r}")
            torch.cuda.set_device(place)
        return torch.device("cuda", torch.cuda.current_device())
    if place.type != "cpu" or not tiny:
        _refuse(f"--device must be a CUDA device, or cpu together with --tiny; got {name!r}")
    if os.environ.get("TRITON_INTERPRET") != "1":
        _refuse(
            "--tiny --device cpu runs the kernels in Triton's interpreter: set TRITON_INTERPRET=1 "
            "in the environment"
        )
    return place
