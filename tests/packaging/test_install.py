"""The package as users install it: what the wheel holds, and builds with and without a compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
NO_COMPILER = {"CXX": "/nonexistent/c++", "CC": "/nonexistent/cc"}
NO_NVCC = {"CUDACXX": "/nonexistent/nvcc"}
# Functions of libm; glibc 2.29 gave some of them a newer version.
LIBM = {"exp", "exp2", "exp2f", "expf", "log", "log1p", "log2", "log2f", "logf", "pow", "powf"}

# Runs setup.py as far as the choice of what is to be built.
CHOICE = """
import runpy, setuptools
setuptools.setup = lambda **given: print([(e.target, e.optional) for e in given["ext_modules"]])
runpy.run_path("setup.py")
"""

pytestmark = pytest.mark.slow


def copy_sources(folder: Path) -> Path:
    """Copy the tracked sources to where a build may leave its traces; return the new place."""
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    return source


def build_sdist(folder: Path) -> Path:
    """Build the source distribution, as it would be published; return where it is unpacked."""
    subprocess.run(
        [
            sys.executable, "-m", "build", "--sdist", "--no-isolation",
            "--outdir", str(folder), str(copy_sources(folder)),
        ],
        capture_output=True, check=True,
    )  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder / "unpacked")
    (source,) = (folder / "unpacked").iterdir()
    return source


def build_wheel(folder: Path, source: Path | None = None, **environment: str) -> tuple[Path, str]:
    """Build from ``source``, a copy of the tracked files if None; return wheel and output."""
    source = source or copy_sources(folder)
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-index",
            "--no-build-isolation", "--wheel-dir", str(folder / "wheels"), str(source),
        ],
        # What another folder's build has compiled is the same but for the folder: for ccache.
        env={**os.environ, "MAX_JOBS": "2", "CCACHE_BASEDIR": str(source), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(printed)
    (wheel,) = (folder / "wheels").glob("*.whl")
    return wheel, printed


def run_installed(wheel: Path, folder: Path, *arguments: str, **environment: str):
    """Install the wheel alone into a folder and run Python there, away from the sources."""
    target = folder / "site"
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
            "--target", str(target), str(wheel),
        ],
        check=True,
    )  # fmt: skip
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(target), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_is_the_package_and_nothing_else(tmp_path):
    wheel, _ = build_wheel(tmp_path, LADNET_BUILD="none")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert len(tops) == 2
    assert "ladnet_fast" in tops
    assert {"ladnet_fast/kernels/__init__.py", "ladnet_fast/py.typed"} <= set(names)
    assert any(name.startswith("ladnet_fast/demo/") and name.endswith(".j2") for name in names)
    assert {f"ladnet_fast/report/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
    assert not [n for n in names if n.endswith((".cpp", ".h", ".cu", ".so"))]
    show = "import ladnet_fast, ladnet_fast.kernels as k; print(ladnet_fast.__file__, k.__file__)"
    done = run_installed(wheel, tmp_path, "-c", show)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(tmp_path / "site")) for path in done.stdout.split())


@pytest.mark.parametrize(
    ("mode", "nvcc", "chosen"),
    [
        ("auto", True, [("_cpu", True), ("_cuda", True)]),
        ("auto", False, [("_cpu", True)]),
        ("cpu", True, [("_cpu", False)]),
        ("cuda", True, [("_cpu", False), ("_cuda", False)]),
        ("none", True, []),
    ],
)
def test_what_is_built_and_what_may_fail(mode, nvcc, chosen):
    compiler = {"CUDACXX": sys.executable} if nvcc else NO_NVCC  # a program; it is not run here
    done = subprocess.run(
        [sys.executable, "-c", CHOICE],
        cwd=ROOT, env={**os.environ, "LADNET_BUILD": mode, **compiler},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *notes, printed = done.stdout.splitlines()
    assert printed == str(chosen)
    assert len(notes) == (0 if nvcc else 1)
    assert all("ladnet_fast._cuda was not built (no nvcc" in line for line in notes)


def test_the_gpus_to_build_for_are_told_to_cmake():
    options = (
        "import runpy, setuptools; setuptools.setup = lambda **given: None;"
        "print(runpy.run_path('setup.py')['_cuda_options']())"
    )
    environment = {**os.environ, "CUDACXX": sys.executable}  # a program; it is not run here
    environment.pop("LADNET_CUDA_ARCHS", None)
    for chosen in ({}, {"LADNET_CUDA_ARCHS": "90-real;120"}):
        done = subprocess.run(
            [sys.executable, "-c", options],
            cwd=ROOT, env=environment | chosen, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert ("-DLADNET_CUDA_ARCHS=90-real;120" in done.stdout) == bool(chosen)
        assert "-DLADNET_CUDA=ON" in done.stdout


def built_once(name: str, factory: pytest.TempPathFactory, **environment: str) -> Path:
    """Build a wheel from the source distribution: once for all processes of this run."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not [*folder.glob("wheels/*.whl")]:
            build_wheel(folder, build_sdist(folder), **environment)
    (wheel,) = folder.glob("wheels/*.whl")
    return wheel


#: What is built where this machine has all that it takes.
EVERYTHING = "cuda" if shutil.which("nvcc") else "cpu"


@pytest.fixture(scope="module")
def users_wheel(tmp_path_factory):
    """What pip makes of the source distribution for a user: all modules."""
    return built_once("users_wheel", tmp_path_factory, LADNET_BUILD=EVERYTHING)


@pytest.fixture(scope="module")
def release_wheel(tmp_path_factory):
    """The wheel as it is released, from the source distribution."""
    return built_once(
        "release_wheel", tmp_path_factory, LADNET_BUILD="cpu",
        # With the flags of this run's other builds, so that the compiler works once.
        CMAKE_ARGS=f"{os.environ.get('CMAKE_ARGS', '')} -DLADNET_STATIC_RUNTIME=ON",
    )  # fmt: skip


def test_with_compilers_the_kernels_serve_from_the_source_distribution(users_wheel, tmp_path):
    libraries = [name for name in zipfile.ZipFile(users_wheel).namelist() if name.endswith(".so")]
    built = {Path(name).name.partition(".")[0] for name in libraries}
    assert built == ({"_cpu", "_cuda"} if EVERYTHING == "cuda" else {"_cpu"})
    attend = (
        "import torch, ladnet_fast.functional as LF; q = torch.randn(1, 1, 9, 16);"
        "w = torch.ones(1); print(LF.locality_attention(q, q, q, w, w, impl='native').shape);"
        "from ladnet_fast import _native; print(getattr(_native.cuda, 'architectures', None))"
    )
    done = run_installed(users_wheel, tmp_path, "-c", attend)
    assert done.returncode == 0, done.stderr
    # Whatever nvcc knows of GPUs, but sm_80 first.
    architectures = done.stdout.splitlines()[-1]
    assert architectures.startswith("80-real," if EVERYTHING == "cuda" else "None")


@pytest.mark.parametrize("kind", ["users", "release"])
def test_the_example_runs_in_an_empty_environment(kind, request, tmp_path):
    """With nothing of this package on the way but what pip installed there."""
    package = request.getfixturevalue(f"{kind}_wheel")
    if kind == "release":
        assert "-cp310-abi3-" in package.name  # one for every Python, where there is a global lock
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "v")], check=True)
    python = tmp_path / "v" / "bin" / "python"
    (site,) = (tmp_path / "v").glob("lib/python*/site-packages")
    # torch and what else the package needs, but not this environment's own copy of the package:
    # what its .pth files name is not followed from here.
    others = dict.fromkeys(str(Path(m.__file__).parents[1]) for m in (torch, pytest))
    (site / "others.pth").write_text("\n".join(others))
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
            "--no-index", "--ignore-installed", str(package),
        ],
        env={**os.environ, "PYTHONPATH": ""},
        check=True,
    )  # fmt: skip
    example = ROOT / "tests" / "packaging" / "test_example.py"
    done = subprocess.run(
        [str(python), "-m", "pytest", "-p", "no:cacheprovider", str(example)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    show = "import ladnet_fast; print(ladnet_fast.__file__, ladnet_fast.__version__)"
    done = subprocess.run(
        [str(python), "-c", show], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    place, version = done.stdout.split()
    assert place.startswith(str(site))
    assert version in package.name


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("objdump") is None,
    reason="needs Linux with binutils (Debian: binutils)",
)
def test_the_released_wheel_needs_an_old_system_and_what_torch_brings(release_wheel, tmp_path):
    """Of the C library's functions that the kernels call, the versions that glibc 2.28 has.

    What the C++ runtime inside of the wheel calls depends on the machine that builds it.
    """
    zipfile.ZipFile(release_wheel).extract("ladnet_fast/_cpu.abi3.so", tmp_path)
    module = str(tmp_path / "ladnet_fast" / "_cpu.abi3.so")

    def read(what: str) -> str:
        return subprocess.run(
            ["objdump", what, module], capture_output=True, text=True, check=True
        ).stdout

    needed = set(re.findall(r"NEEDED +(\S+?)\.so", read("--private-headers")))
    assert "libgomp" in needed or not shutil.which("g++")  # torch's own, and not a copy
    assert needed <= {"libgomp", "libm", "libc", "libpthread", "libdl", "ld-linux-x86-64"}
    symbols = re.findall(r"\*UND\*.*\(?GLIBC_([0-9.]+)\)? +(\w+)", read("--dynamic-syms"))
    mathematics = {name: tuple(map(int, v.split("."))) for v, name in symbols if name in LIBM}
    assert {"exp", "log", "log1p"} <= set(mathematics)
    assert max(mathematics.values()) <= (2, 28), mathematics


def test_without_a_compiler_the_package_still_installs_and_says_so(tmp_path):
    wheel, printed = build_wheel(tmp_path, LADNET_BUILD="auto", **NO_COMPILER)
    for module in ("_cpu", "_cuda"):
        assert f"ladnet_fast.{module} was not built" in printed
    done = run_installed(wheel, tmp_path, "-m", "ladnet_fast")
    assert done.returncode == 0, done.stderr
    assert "_cpu" in done.stdout


def test_a_build_that_was_asked_for_fails_hard(tmp_path):
    with pytest.raises(RuntimeError, match=r"ladnet_fast\._cpu was not built"):
        build_wheel(tmp_path, LADNET_BUILD="cpu", **NO_COMPILER)
    with pytest.raises(RuntimeError, match=r"LADNET_BUILD=cuda: no nvcc in CUDACXX"):
        build_wheel(tmp_path / "cuda", LADNET_BUILD="cuda", **NO_NVCC)
    with pytest.raises(RuntimeError, match=r"LADNET_BUILD must be one of auto, cpu, cuda, none"):
        build_wheel(tmp_path / "again", LADNET_BUILD="gpu")
