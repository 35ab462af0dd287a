"""Where CUDA's headers are found, and what is said where something is missing."""

from __future__ import annotations

import platform
import shutil
import sysconfig

import pytest

from .. import toolchain


@pytest.fixture
def without_nvcc(monkeypatch, tmp_path):
    """A machine whose packages lie in the returned folder and that lacks nvcc, nothing else."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nvcc" else f"/bin/{name}")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(
        toolchain, "cuda_include_folders", toolchain.cuda_include_folders.__wrapped__
    )
    return tmp_path


def test_the_wheels_headers_serve_where_there_is_no_toolkit(without_nvcc):
    include = without_nvcc / "nvidia" / "cu13" / "include"
    include.mkdir(parents=True)
    (include / "cuda_runtime.h").touch()
    assert toolchain.cuda_include_folders() == (include, include / "cccl")


def test_what_to_install_is_named_where_there_is_neither(without_nvcc):
    assert "pip install nvidia-cuda-runtime==13.0" in toolchain.problem.__wrapped__()


def test_a_compilers_complaint_is_passed_on(tmp_path):
    source = tmp_path / "broken.cu"
    source.write_text("__global__ void kernel( {}\n")
    if toolchain.problem():
        pytest.skip(toolchain.problem())
    with pytest.raises(RuntimeError, match=r"broken\.cu:1"):
        toolchain.build_kernels("broken", [source], tmp_path, tmp_path, toolchain.PLAIN)


def test_another_system_is_refused(without_nvcc, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert "x86-64" in toolchain.problem.__wrapped__()
