"""LADNET_CPU forces an instruction set; every one that this processor has passes the tests."""

from __future__ import annotations

import pytest

from ..instruction_sets import NAMES, assert_tests_pass, run_python
from .native_tools import needs_native

pytestmark = needs_native


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_forced_instruction_set_is_used_and_right(name):
    assert_tests_pass(name, "locality_attention", ["test_native.py", "test_native_edges.py"])


def test_an_instruction_set_that_does_not_exist_is_an_error_that_lists_the_others():
    failed = run_python(["-c", "from ladnet_fast import _native"], "mmx")
    assert failed.returncode != 0
    assert "LADNET_CPU must be one of baseline" in failed.stderr
    assert "got 'mmx'" in failed.stderr
    assert "baseline" in failed.stderr
