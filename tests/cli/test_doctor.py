"""The report on this machine: versions, what is built, who serves, and why others don't."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import ladnet_fast
from ladnet_fast import _native, doctor
from ladnet_fast.ops.ddl_loss import schema


def test_module_and_function_tell_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ladnet_fast"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"ladnet_fast {ladnet_fast.__version__}\n")
    assert f"torch {torch.__version__}" in done.stdout
    assert "reference: yes" in done.stdout


def test_every_reason_of_a_backend_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = ["no driver", "the dtype is wrong"]
    monkeypatch.setitem(schema.BACKENDS, "native", SimpleNamespace(why_not=lambda *_: reasons))
    report = doctor.report().partition("ddl_loss, float32 on cpu:")[2]
    assert "native: no: no driver; the dtype is wrong" in report


def test_module_that_was_not_built_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "cpu", None)
    monkeypatch.setattr(_native, "cpu_problem", "no compiler when it was installed")
    assert "_cpu: no: no compiler when it was installed" in doctor.report()


def test_missing_packages_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "av" else real(name))
    assert "extra video: av missing; pip install 'ladnet-fast[video]'" in doctor.report()
