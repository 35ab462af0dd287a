"""Fixtures of the checks on a GPU, and what becomes of the tests behind one that broke the device.

A module of its own, so that toy tests elsewhere can be run with it: ``-p tests.gpu.plugin``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import pytest
import torch

from benchmarks.check import DoesNotFitError

from . import judging
from .judging import Unavailable
from .settings import chosen_device

#: Returns whether a check is passed, and what was found.
Judge = Callable[[], tuple[bool, str]]

#: Where the device failed for good; what comes later in this process is skipped with that reason.
_lost = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Return the device, or skip where there is none."""
    return chosen_device()


@pytest.fixture
def check(record_property: Callable[[str, object], None]) -> Callable[[Judge], None]:
    """Return a function that makes a check: skips if it is unavailable, fails with what was found.

    What was found is kept in the test's properties, too, for reports.
    """

    def make(judge: Judge) -> None:
        try:
            passed, found = judge()
        except (Unavailable, DoesNotFitError) as reason:
            pytest.skip(str(reason))
        record_property("found", found)
        assert passed, found

    return make


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Wait for the device in the test itself, so that it is the one that fails."""
    result = yield
    if pyfuncitem.get_closest_marker("gpu"):
        judging.wait()
    return result


@pytest.fixture(autouse=True)
def _memory_is_given_back(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.node.get_closest_marker("gpu"):
        yield
        return
    where = request.config.stash.get(_lost, "")
    if where:
        pytest.skip(f"the device failed in {where}")
    yield
    try:
        judging.release()
    except Exception as error:
        request.config.stash[_lost] = f"{request.node.name}: {str(error).splitlines()[0]}"
        raise
