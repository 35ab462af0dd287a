"""The compiled losses pass their tests on every instruction set that this processor has."""

from __future__ import annotations

import pytest

from ..instruction_sets import NAMES, assert_tests_pass
from .native_tools import needs_native

pytestmark = needs_native


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_losses_are_right_with(name):
    files = ["test_native.py", "test_native_edges.py", "test_one_pass.py"]
    assert_tests_pass(name, "ddl_loss", files, "-m", "not slow")
