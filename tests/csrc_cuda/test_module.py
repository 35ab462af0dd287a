"""The built module on a machine without a GPU, or as if it were one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.resources.tools import run

pytestmark = pytest.mark.slow  # because of what is built first

#: A driver library that finds no device, or is too old; what CUDA's runtime asks it first.
DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { (void)flags; return 100; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
static int no_device(void) { return 100; }
int cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long long flags,
                        int *found) {
  (void)version, (void)flags;
  *function = strcmp(name, "cuInit") == 0               ? (void *)cuInit
              : strcmp(name, "cuDriverGetVersion") == 0 ? (void *)cuDriverGetVersion
              : strcmp(name, "cuGetProcAddress") == 0   ? (void *)cuGetProcAddress_v2
                                                        : (void *)no_device;
  if (found != 0) *found = 0;
  return 0;
}
int cuGetProcAddress(const char *name, void **function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, 0);
}
"""

IMPORT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_cuda", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sizes = dict(bags=3, T=20000, width=8, dtype="float32", batch_stride=160000, row_stride=8)
batch = module.DdlBatch(**sizes, scores=0, features=0, lengths=0, cu_seqlens=0)
"""

LAUNCH = """
try:
    module.ddl_backward(
        batch, device=0, stream=0, eps=1e-6, detach="none", grad_terms=0, score_grads=0,
        feature_dynamics=0, grad_scores=0, grad_features=0,
    )
except RuntimeError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory):
    """Return the folder of a libcuda.so.1 of a version."""

    def build(version: int) -> Path:
        folder = tmp_path_factory.mktemp("driver")
        (folder / "driver.c").write_text(DRIVER)
        run(
            "gcc", "-shared", "-fPIC", f"-DVERSION={version}", "-o", str(folder / "libcuda.so.1"),
            str(folder / "driver.c"),
        )  # fmt: skip
        return folder

    return build


def python(module: Path, code: str, libraries: Path | None = None) -> list[str]:
    """Run code with the module in a new process; return the lines that it prints."""
    environment = dict(os.environ)
    if libraries is not None:
        environment["LD_LIBRARY_PATH"] = str(libraries)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT + code, str(module)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("version", "reason", "code"),
    [
        (13000, "the driver sees no NVIDIA device", 100),
        (11000, "no NVIDIA driver, or one older", 35),
    ],
)
def test_it_loads_and_says_why_there_is_no_device(version, reason, code, built_module, driver):
    show = "print(module.device_count(), module.why_no_device(), sep='\\n')"
    count, why = python(built_module, show, driver(version))
    assert count == "0"
    assert why.startswith(reason)
    assert why.endswith(f"(CUDA error {code})")


def test_a_call_without_a_device_names_what_failed(built_module, driver):
    (error,) = python(built_module, LAUNCH, driver(13000))
    assert error.startswith("cudaGetDevice: ")
    assert error.endswith("(CUDA error 100)")


def test_the_workspace_is_asked_for_without_a_device(built_module):
    show = "print(*(module.ddl_workspace_bytes(batch, chunk=c) for c in (16384, 20000)))"
    split, whole = map(int, python(built_module, show)[0].split())
    assert split % 256 == whole % 256 == 0
    # Histograms of 2 quantities, 3 bags of 2 chunks each, 256 digits of 4 bytes.
    assert split - whole >= 2 * 3 * 2 * 256 * 4


def test_it_tells_for_which_gpus_it_was_built(built_module):
    assert python(built_module, "print(module.architectures)") == ["80-real,90-real,100,120"]


def test_it_needs_no_library_of_cuda_or_torch(built_module):
    assert not [
        line
        for line in run("readelf", "--dynamic", str(built_module)).splitlines()
        if "NEEDED" in line and any(name in line for name in ("cuda", "torch", "c10"))
    ]
    symbols = run("nm", "--dynamic", "--defined-only", str(built_module))
    assert "PyInit__cuda" in symbols
    assert " cuda" not in symbols  # the runtime that is linked in stays inside
