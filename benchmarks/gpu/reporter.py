"""A plugin of pytest that tells of each test what became of it, in a line of JSON as it ends.

    python -m pytest -s -p benchmarks.gpu.reporter tests/gpu/test_graphs.py

The step is the file's name, the test's name its parameter. What was found is the property "found".
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .outcome import Outcome

#: Begins such a line; whatever else is printed does not.
MARK = "\x1eoutcome "

_phases: dict[str, list[pytest.TestReport]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the phases of a test, and print its outcome with the last one."""
    _phases.setdefault(report.nodeid, []).append(report)
    if report.when == "teardown":
        outcome = _outcome(_phases.pop(report.nodeid))
        print(f"\n{MARK}{json.dumps(outcome.as_dict())}", flush=True)


def _outcome(phases: list[pytest.TestReport]) -> Outcome:
    """Return what became of a test: it has failed if any of its phases has."""
    last = phases[-1]
    file, _, test = last.nodeid.partition("::")
    step = Path(file).stem.removeprefix("test_")
    name = test.partition("[")[2].removesuffix("]") or test
    for report in phases:
        if report.failed:
            return Outcome(step, name, "failed", _first_line(report))
    for report in phases:
        if report.skipped:
            return Outcome(step, name, "unavailable", _reason(report))
    return Outcome(step, name, "ok", str(dict(last.user_properties).get("found", "")))


def _first_line(report: pytest.TestReport) -> str:
    """Return the first line of what an exception said; of an assertion that alone."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext.splitlines()[-1] if crash is None else crash.message
    return str(text).splitlines()[0].removeprefix("AssertionError: ")


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext
