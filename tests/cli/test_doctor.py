"""The report on this machine: versions, what is built, which implementations work, and why."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from types import ModuleType, SimpleNamespace

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
    monkeypatch.setattr(_native, "cuda", None)
    monkeypatch.setattr(_native, "cuda_problem", "no nvcc when it was installed")
    report = doctor.report()
    assert "_cpu: no: no compiler when it was installed" in report
    assert "_cuda: no: no nvcc when it was installed" in report


@pytest.mark.parametrize(
    ("way", "words"),
    [("widen", "widened to float32"), ("pairs", "in pairs"), ("tiles", "in tiles (AMX)")],
)
def test_cpu_module_tells_what_it_uses_of_the_processor(
    way: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if _native.cpu is None:
        pytest.skip(str(_native.cpu_problem))
    chosen = _native.cpu.instruction_set()
    monkeypatch.setattr(_native.cpu, "bf16_products", lambda: way)
    assert f"_cpu: yes, instruction set {chosen}, bf16 {words}" in doctor.report()


@pytest.mark.parametrize(
    ("problem", "devices"), [("no driver (CUDA error 35)", "no driver"), (None, "2 devices")]
)
def test_cuda_module_tells_for_which_gpus_it_was_built(
    problem: str | None, devices: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("_cuda")
    vars(module).update(
        architectures="80-real,90", why_no_device=lambda: problem, device_count=lambda: 2
    )
    monkeypatch.setattr(_native, "cuda", module)
    assert f"_cuda: yes, for 80-real,90; {devices}" in doctor.report()


def test_every_extra_for_users_is_told_and_those_of_developers_are_not() -> None:
    report = doctor.report()
    told = set(re.findall(r"^  extra (\S+):", report, re.MULTILINE))
    provided = set(metadata.metadata("ladnet-fast").get_all("Provides-Extra") or [])
    assert told == provided - {"dev", "docs"}
    assert {"tools", "video", "clip", "export", "hub", "openvino"} <= told


def test_missing_packages_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "av" else real(name))
    assert "extra video: av missing; pip install 'ladnet-fast[video]'" in doctor.report()
