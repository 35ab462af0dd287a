"""The tests of the native linear layers need the compiled module."""

from __future__ import annotations

import pytest

from ladnet_fast import _native
from ladnet_fast.ops.linear import api


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the native linear layers serve on every processor and for every size."""
    monkeypatch.setattr(api, "_choice", "native")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _native.cpu is None and "ops/linear" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason=f"not built: {_native.cpu_problem}"))
