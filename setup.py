"""Builds the compiled modules with CMake; everything else about the package is in pyproject.toml.

LADNET_BUILD says what to build: ``auto`` (what this machine can; without a compiler the package
still installs and its plain PyTorch reference serves), ``cpu`` and ``cuda`` (that and the CPU's
module; fail if it cannot be built), ``none`` (pure Python). nvcc decides about CUDA, not a GPU.
LADNET_CUDA_ARCHS overrides for which GPUs, e.g. ``90-real;120``; else those that nvcc knows.
MAX_JOBS limits the parallel compiler processes. torch is not needed to build.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, SetupError

ROOT = Path(__file__).resolve().parent
MODES = ("auto", "cpu", "cuda", "none")
# One module serves every Python from 3.10 on, but for interpreters without a global lock.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")
NO_NVCC = "no nvcc in CUDACXX, on PATH or in CUDA_HOME"


class CMakeExtension(Extension):
    """A module that is a target of CMakeLists.txt; optional ones may fail to build."""

    def __init__(self, target: str, *, optional: bool) -> None:
        super().__init__(
            f"ladnet_fast.{target}", sources=[], optional=optional, py_limited_api=STABLE_ABI
        )
        self.target = target


class CMakeBuild(build_ext):
    """Configure and build each `CMakeExtension`."""

    def build_extension(self, ext: Extension) -> None:
        """Build one module into the folder where setuptools expects it."""
        assert isinstance(ext, CMakeExtension)
        output = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        # One place, editable installs too: another build compiles what has changed, and a compiler
        # cache finds the same relative paths in every copy of the sources.
        build = ROOT / "build" / str(sys.implementation.cache_tag) / ext.target
        # Python would prefer what an earlier version built for this Python alone.
        for outdated in output.glob(f"{ext.target}.*"):
            if outdated.suffix in (".so", ".pyd"):
                outdated.unlink()
        try:
            _run_cmake(ext.target, build, output)
        except (OSError, subprocess.CalledProcessError) as error:
            mode = ext.target.removeprefix("_")
            compiler = "a CUDA toolkit" if mode == "cuda" else "a C++17 compiler"
            consequence = (
                f"the PyTorch reference serves instead; LADNET_BUILD={mode} makes this an error"
                if ext.optional
                else f"install CMake and {compiler}, or choose LADNET_BUILD=none"
            )
            raise CompileError(
                f"ladnet_fast.{ext.target} was not built ({error}): {consequence}"
            ) from error


def _run_cmake(target: str, build: Path, output: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        raise FileNotFoundError("no cmake on PATH")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    configure = [
        cmake, "-S", str(ROOT), "-B", str(build), *generator,
        "-DCMAKE_BUILD_TYPE=Release",
        "-DLADNET_PYTHON=ON",
        f"-DLADNET_OUTPUT_DIR={output}",
        f"-DPython_EXECUTABLE={sys.executable}",
        *(_cuda_options() if target == "_cuda" else []),
        *shlex.split(os.environ.get("CMAKE_ARGS", "")),
    ]  # fmt: skip
    jobs = os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)
    build.mkdir(parents=True, exist_ok=True)
    # A cache that another Python or an isolated build environment left names tools that are gone.
    (build / "CMakeCache.txt").unlink(missing_ok=True)
    subprocess.run(configure, check=True)
    subprocess.run(
        [cmake, "--build", str(build), "--target", target, "--parallel", jobs], check=True
    )


def _cuda_options() -> list[str]:
    architectures = os.environ.get("LADNET_CUDA_ARCHS")
    chosen = [f"-DLADNET_CUDA_ARCHS={architectures}"] if architectures else []
    return ["-DLADNET_CUDA=ON", f"-DCMAKE_CUDA_COMPILER={_find_nvcc()}", *chosen]


def _find_nvcc() -> str | None:
    """Return the path of nvcc: what CUDACXX names and nothing else, or on PATH, or in CUDA_HOME."""
    named, home = os.environ.get("CUDACXX"), os.environ.get("CUDA_HOME")
    if named:
        return shutil.which(named)
    return shutil.which("nvcc") or (
        shutil.which(str(Path(home) / "bin" / "nvcc")) if home else None
    )


def extensions() -> list[Extension]:
    """Return the modules that LADNET_BUILD asks for."""
    mode = os.environ.get("LADNET_BUILD") or "auto"
    if mode not in MODES:
        raise SetupError(f"LADNET_BUILD must be one of {', '.join(MODES)}; got {mode!r}")
    if mode == "none":
        return []
    modules = [CMakeExtension("_cpu", optional=mode == "auto")]
    if mode == "cpu":
        return modules
    if _find_nvcc() is not None:
        modules.append(CMakeExtension("_cuda", optional=mode == "auto"))
    elif mode == "auto":
        print(f"ladnet_fast._cuda was not built ({NO_NVCC}): the PyTorch reference serves GPUs")
    else:
        raise SetupError(
            f"LADNET_BUILD=cuda: {NO_NVCC}; install the CUDA toolkit, name its nvcc in CUDACXX, or "
            f"choose another LADNET_BUILD ({', '.join(MODES)})"
        )
    return modules


modules = extensions()
setup(
    # Triton kernels lie in kernels/ and are installed inside the package: a top-level `kernels`
    # would collide with another package of that name.
    packages=[
        *find_packages(include=["ladnet_fast", "ladnet_fast.*"]),
        "ladnet_fast.kernels",
        *(f"ladnet_fast.kernels.{name}" for name in find_packages("kernels")),
    ],
    package_dir={"ladnet_fast.kernels": "kernels"},
    ext_modules=modules,
    cmdclass={"build_ext": CMakeBuild},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if STABLE_ABI and modules else {},
)
