"""The C++ unit tests in other builds than the package's own; builds.py has them.

ThreadSanitizer takes another build of everything; run it by hand after a change of the scheduling:
``cmake -S . -B build/tsan -DLADNET_TESTS=ON -DLADNET_SANITIZE=thread -DLADNET_THREADS=std``.
"""

from __future__ import annotations

import os

import pytest

from .builds import CROSS, build, missing, run

pytestmark = pytest.mark.slow(seconds=60)


@pytest.fixture
def oracle(tmp_path, monkeypatch):
    """What attention's oracle gives, computed by clang's build once and at this machine's speed.

    Without clang each program computes it by itself, which takes a minute longer.
    """
    if not missing("clang"):
        monkeypatch.setenv("LADNET_ORACLE", str(tmp_path / "oracle"))
        run(str(build("clang") / "tests" / "csrc" / "test_attention"))
        assert os.path.getsize(tmp_path / "oracle")


def _build_and_test(name: str, packages: str) -> None:
    if lacking := missing(name):
        pytest.skip(f"needs {', '.join(lacking)} (Debian: cmake {packages})")
    run("ctest", "--test-dir", str(build(name)), "--output-on-failure", "--no-tests=error")


def test_the_kernels_run_clean_under_address_and_undefined_behaviour_sanitizers(oracle):
    _build_and_test("sanitizers", "g++")


def test_clang_builds_the_kernels_without_a_warning_and_they_pass():
    _build_and_test("clang", "clang libomp-dev")


def test_the_kernels_pass_on_aarch64_which_an_emulator_executes(oracle):
    _build_and_test("aarch64", f"g++-{CROSS} qemu-user-static")
