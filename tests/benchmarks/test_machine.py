import os

import torch

from benchmarks import machine


def test_what_a_run_was_made_on():
    found = machine.describe(threads=2)
    assert found["threads"] == 2
    assert found["versions"]["torch"] == torch.__version__
    assert 0 < machine.available_memory() < found["memory_bytes"]


def test_how_many_cores_are_busy(monkeypatch):
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 50.0 * (interval == 2.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert machine.busy_cores(seconds=2.0) == 4.0
    monkeypatch.undo()
    assert 0 <= machine.busy_cores(seconds=0.05) <= os.cpu_count()
