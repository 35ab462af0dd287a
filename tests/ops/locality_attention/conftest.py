"""Short bags, as most tests have, are computed by as many threads as long ones."""

from __future__ import annotations

import pytest

from ladnet_fast.ops.locality_attention import native


@pytest.fixture(autouse=True)
def threads_for_any_work(monkeypatch):
    monkeypatch.setattr(native, "LEAST_WORK", 1)
