"""The native linear layers pass their tests on every instruction set that this processor has."""

from __future__ import annotations

import pytest

from ..instruction_sets import NAMES, assert_tests_pass


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_layers_are_right_with(name):
    files = ["test_native.py", "test_network.py", "test_masks.py"]
    # Graphs are the same whatever computes their nodes.
    same = "environment or compiles or graph or exports"
    options = ("-m", "not slow", "-k", f"not ({same})")
    assert_tests_pass(name, "linear", files, *options, LADNET_LINEAR="native")
