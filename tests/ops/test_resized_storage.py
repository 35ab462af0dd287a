"""A tensor whose storage was shrunk under it is an error, wherever an address is taken."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def calls():
    run = subprocess.run(
        [sys.executable, "-m", "tests.ops.resized_storage"], capture_output=True, text=True
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, f"ended with {run.returncode} after {lines[-1:]}\n{run.stderr}"
    return lines


def test_every_place_was_tried(calls):
    assert len({(call["name"], call["argument"]) for call in calls}) > 40


def test_a_storage_that_is_gone_or_a_byte_short_is_named(calls):
    short = [call for call in calls if call["kept"] < call["needed"]]
    names = {"prior_w": "w", "prior_b": "b", "weight": "a weight", "bias": "a bias"}
    for call in short:
        said = {call["argument"], names.get(call["argument"], call["argument"])}
        said |= {"attended"} if call["argument"] == "softmax_out" else set()
        said |= {"grad_out"} if call["argument"] == "grad_out" else set()
        assert call["error"] == "ValueError", call
        must = f"must have {call['needed']} bytes of memory"
        assert any(call["text"].startswith(f"{name} {must}") for name in said), call
        assert f"got a storage of {call['kept']}." in call["text"], call


def test_a_storage_that_just_reaches_is_served(calls):
    for call in calls:
        if call["kept"] == call["needed"]:
            assert call["error"] == "", call
