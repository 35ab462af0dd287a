"""Builds the emulator and libraries of kernels with g++; says what is missing where it cannot.

What already lies in the folder is not built again: a folder serves one session of tests, all its
processes together.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

EMULATOR = Path(__file__).resolve().parent / "emulator"
LIBRARY = "libcuda_on_cpu.so"
# What one block can have on the newest architectures; emulator/shared_memory.h says the same.
MAX_SHARED_BYTES = 227 << 10

_COMMON_FLAGS = (
    "-std=c++17", "-fPIC", "-g1", "-Wall", "-Wextra", "-Wno-unknown-pragmas",
    # thread_local variables of other files are reached without a wrapper that would initialise
    # them: shared memory has no initialisers.
    "-fno-extern-tls-init",
    # As nvcc compiles the kernels: no contraction of a * b + c, no assumption about aliases.
    "-ffp-contract=off", "-fno-strict-aliasing",
)  # fmt: skip


@dataclass(frozen=True)
class Flavour:
    """How kernels are compiled, and which runtime libraries must be in the process first."""

    name: str
    flags: tuple[str, ...]
    runtimes: tuple[str, ...] = ()


PLAIN = Flavour("plain", ("-O2",))
# libstdc++ beside the sanitizer's library: it must be found when exceptions are intercepted.
ADDRESS = Flavour(
    "address",
    ("-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    ("libasan.so", "libstdc++.so"),
)
THREAD = Flavour("thread", ("-O1", "-fsanitize=thread"), ("libtsan.so", "libstdc++.so"))
FLAVOURS = {flavour.name: flavour for flavour in (PLAIN, ADDRESS, THREAD)}


@cache
def cuda_include_folders() -> tuple[Path, ...]:
    """Return the folders of the toolkit's headers: of nvcc if there is one, else of the wheels.

    The wheels are nvidia-cuda-runtime, nvidia-cuda-crt and nvidia-cuda-cccl, version 13.0.
    """
    if shutil.which("nvcc"):
        done = subprocess.run(
            ["nvcc", "--dryrun", "-x", "cu", "/dev/null"], capture_output=True, text=True
        )
        folders = [Path(name) for name in re.findall(r'"-I([^"]+)"', done.stderr)]
        if any((folder / "cuda_runtime.h").exists() for folder in folders):
            return tuple(dict.fromkeys(folder.resolve() for folder in folders))
    wheels = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "include"
    return (wheels, wheels / "cccl") if (wheels / "cuda_runtime.h").exists() else ()


@cache
def problem() -> str:
    """Return why kernels cannot be compiled here; empty if they can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the emulator's fibers are written for Linux on x86-64"
    missing = [tool for tool in ("g++", "readelf", "nm", "c++filt") if shutil.which(tool) is None]
    if missing:
        return f"needs {' and '.join(missing)}"
    if not cuda_include_folders():
        return (
            "needs CUDA's headers: a toolkit with nvcc on PATH, or pip install "
            "nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85"
        )
    return ""


def runtimes(flavour: Flavour) -> list[str]:
    """Return the paths for LD_PRELOAD; raises ``FileNotFoundError`` if g++ has no such library."""
    paths = []
    for name in flavour.runtimes:
        path = _run("g++", f"-print-file-name={name}").strip()
        if "/" not in path:
            raise FileNotFoundError(f"g++ has no {name}")
        paths.append(path)
    return paths


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process builds in a folder, and keep them out meanwhile."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_emulator(folder: Path) -> Path:
    """Build ``libcuda_on_cpu.so``, which serves kernels of every flavour."""
    library = folder / LIBRARY
    with alone_in(folder):
        if library.exists():
            return library
        sources = [path for path in sorted(EMULATOR.glob("*.cpp")) if path.name != "module.cpp"]
        objects = _compile_all(sources, folder, ("-O1", "-Werror"))
        # Bsymbolic: templates of the standard library that the kernels carry, instrumented, must
        # not take the place of the emulator's own.
        _run("g++", "-shared", "-Wl,-Bsymbolic", "-o", str(library), *map(str, objects))
    return library


def build_kernels(
    name: str,
    sources: Iterable[Path],
    emulator: Path,
    folder: Path,
    flavour: Flavour,
    flags: Sequence[str] = (),
) -> Path:
    """Compile .cu files, unmodified, into ``lib<name>_<flavour>.so`` beside the emulator.

    Parameters
    ----------
    name
        Of the library; object files are named by their sources, so these differ in one folder.
    sources
        The .cu files.
    emulator, folder
        What `build_emulator` returned, and the folder that it was given.
    flavour
        One of `FLAVOURS`.
    flags
        More flags for g++, such as ``-I`` with the folder of the kernels' own headers.

    Raises
    ------
    RuntimeError
        With everything that the compiler said, if it refused a file.
    """
    library = folder / f"lib{name}_{flavour.name}.so"
    with alone_in(folder):
        if library.exists():
            return library
        header = str(EMULATOR / "cuda_on_cpu.h")
        objects = _compile_all(
            [*sources, EMULATOR / "module.cpp"],
            folder,
            ("-x", "c++", "-include", header, *flavour.flags, *flags),
            suffix=f"_{flavour.name}",
        )
        assembly = folder / f"{name}_{flavour.name}_shared.S"
        assembly.write_text(_dynamic_shared(_dynamic_shared_names(objects)))
        return _link(library, [*objects, assembly], emulator, flavour)


def build_extension(
    name: str,
    sources: Iterable[Path],
    kernels: Path,
    flavour: Flavour,
    flags: Sequence[str] = (),
) -> Path:
    """Compile a Python module whose launchers are in the library ``kernels``.

    The bindings themselves are compiled once, without a sanitizer, with ``flags`` added.
    """
    python = f"-isystem{sysconfig.get_path('include')}"
    folder = kernels.parent
    library = folder / flavour.name / f"{name}.so"
    with alone_in(folder):
        if library.exists():
            return library
        objects = [folder / f"{source.stem}.o" for source in sources]
        if not all(path.exists() for path in objects):
            objects = _compile_all(sources, folder, ("-O1", python, "-fvisibility=hidden", *flags))
        library.parent.mkdir(exist_ok=True)
        return _link(library, objects, kernels, flavour)


def _link(output: Path, inputs: Sequence[Path], library: Path, flavour: Flavour) -> Path:
    """Link a shared library that finds ``library`` where it was built."""
    _run(
        "g++", "-shared", *flavour.flags, "-o", str(output), *map(str, inputs), str(library),
        f"-Wl,-rpath,{library.parent}",
    )  # fmt: skip
    return output


def _compile_all(
    sources: Iterable[Path], folder: Path, flags: Sequence[str], suffix: str = ""
) -> list[Path]:
    """Compile files, as many at once as MAX_JOBS says (one unless it does)."""
    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS") or 1)) as pool:
        return list(pool.map(lambda source: _compile(source, folder, flags, suffix), sources))


def _compile(source: Path, folder: Path, flags: Sequence[str], suffix: str) -> Path:
    output = folder / f"{source.stem}{suffix}.o"
    include = [f"-isystem{path}" for path in cuda_include_folders()]
    _run("g++", *_COMMON_FLAGS, *flags, *include, "-c", str(source), "-o", str(output))
    return output


def _dynamic_shared_names(objects: Iterable[Path]) -> list[str]:
    """Return the mangled names of ``extern __shared__`` arrays: thread-local and undefined."""
    names = set()
    for path in objects:
        for line in _run("readelf", "--symbols", "--wide", str(path)).splitlines():
            fields = line.split()
            if len(fields) == 8 and fields[3] == "TLS" and fields[6] == "UND":
                names.add(fields[7])
    return sorted(names - {"cuda_on_cpu_dynamic_shared"})


def _dynamic_shared(names: Iterable[str]) -> str:
    """Return assembly in which all the names stand for one array, as they do on a GPU."""
    labels = "".join(
        f".globl {name}\n.type {name}, @tls_object\n{name}:\n"
        for name in ("cuda_on_cpu_dynamic_shared", *names)
    )
    return (
        '.section .tbss, "awT", @nobits\n.balign 128\n'
        f"{labels}.zero {MAX_SHARED_BYTES}\n"
        '.section .note.GNU-stack, "", @progbits\n'
    )


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout
