"""compute-sanitizer over the checks at small sizes: memory errors and races in shared memory."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from . import processes
from .outcome import Outcome
from .parts import SANITIZER

ROOT = Path(__file__).resolve().parents[2]
#: Tool -> the tests that it watches. Under it a call takes up to a hundred times as long, hence
#: the size "small". A race needs no second call to show.
TOOLS = {
    "memcheck": "tests/gpu/test_correctness.py",
    "racecheck": "tests/gpu/test_correctness.py",
}
STOPPED = "it was stopped"
_SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)s?.*")
_REFUSED = re.compile(r".*(?:not supported|Unable to|Failed to initialize|driver/runtime).*", re.I)


def outcomes(device: str, seconds: float, program: str = "compute-sanitizer") -> Iterator[Outcome]:
    """Run every tool, each for its share of the seconds; yield what became of it."""
    found = shutil.which(program)
    if found is None or not device.startswith("cuda"):
        reason = f"{program} is not on PATH" if found is None else "it needs a CUDA device"
        yield Outcome(SANITIZER, "all tools", "unavailable", reason)
        return
    for number, (tool, tests) in enumerate(TOOLS.items()):
        share = seconds / len(TOOLS) if number == 0 else seconds - seconds / len(TOOLS)
        yield Outcome(SANITIZER, tool, *_run(found, tool, tests, device, share))


def _run(program: str, tool: str, tests: str, device: str, seconds: float) -> tuple[str, str]:
    command = [
        program, "--tool", tool, "--target-processes", "all", "--print-limit", "5",
        sys.executable, "-m", "pytest", tests, "-m", "gpu", "-x", "-k", "not tf32",
        "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "LADNET_GPU_DEVICE": device,
        "LADNET_GPU_SIZES": "small",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        # Every tensor is an allocation of its own, so that reading behind its end is seen.
        "PYTORCH_NO_CUDA_MEMORY_CACHING": "1",
    }
    status, detail = judge(*processes.run(command, max(1.0, seconds), ROOT, environment))
    if detail == STOPPED:
        detail = f"{seconds:.0f} s were not enough; nothing was found until then"
    return status, detail


def judge(text: str, returncode: int | None) -> tuple[str, str]:
    """Return status and detail from what a tool printed, and its exit status if it has ended."""
    reports = [line for line in text.splitlines() if line.startswith("=========")]
    said = [line.removeprefix("=========").strip() for line in reports]
    summaries = [line for line in said if _SUMMARY.search(line)]
    counts = [int(found[1]) for line in summaries if (found := _SUMMARY.search(line))]
    if any(counts):
        about = [
            line
            for line in said
            if line and not line.startswith("COMPUTE") and line not in summaries
        ]
        return "failed", "; ".join([summaries[-1], *about[:2]])
    if returncode == 0 and summaries:
        passed = re.search(r"\d+ passed.*", text)
        return "ok", f"{summaries[-1]}; {passed[0] if passed else 'the tests ended well'}"
    refused = next((line for line in said if _REFUSED.match(line)), None)
    if refused:
        return "unavailable", refused
    if returncode is None:
        return "unavailable", STOPPED
    last = ([line for line in text.splitlines() if line.strip()] or ["nothing was printed"])[-1]
    return "failed", f"it ended with {returncode}: {last.strip()}"
