"""bf16 by the tile registers of AMX (LADNET_BF16=tiles): compiled, and executed with emulated ones.

The compiled instructions are executed by software when the processor refuses them, which ends the
process where a processor with AMX would (csrc/cpu/tiles_trapped.cpp). tests/csrc/test_tiles.cpp
tests that; there the kernels also run under AddressSanitizer.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ladnet_fast import _native
from tests.csrc.builds import CXX, build, missing

from ..instruction_sets import run_python
from .native_tools import needs_native

pytestmark = needs_native

#: In a process of its own, where the module of the first argument replaces the package's.
PROGRAM = """
import importlib.util, sys
import pytest

spec = importlib.util.spec_from_file_location("ladnet_fast._cpu", sys.argv[1])
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[spec.name])
from ladnet_fast import _native
assert _native.cpu.__file__ == sys.argv[1]
print("bf16:", _native.cpu.bf16_products(), flush=True)
sys.exit(pytest.main(sys.argv[2:]))
"""

#: tdpbf16ps of the two accumulators, and ldtilecfg and tilerelease around it.
PRODUCTS = (b"\xc4\xe2\x62\x5c\xc2", b"\xc4\xe2\x5a\x5c\xca")
LOAD_CONFIGURATION = re.compile(rb"\xc4\xe2\x78\x49[\x00-\xbf]")
RELEASE = b"\xc4\xe2\x78\x49\xc0"

FLAGS = ("-mamx-tile", "-mamx-bf16", "-mavx512bf16")
INSTRUCTION = 'int main() { asm volatile("tdpbf16ps %tmm2, %tmm1, %tmm0"); }'


@pytest.fixture(scope="module", autouse=True)
def compiler_that_knows_tiles(tmp_path_factory) -> None:
    if shutil.which(CXX) is None:
        pytest.skip(f"needs {CXX}")
    output = tmp_path_factory.mktemp("tiles") / "instruction.o"
    command = [CXX, *FLAGS, "-Werror", "-c", "-x", "c++", "-", "-o", str(output)]
    done = subprocess.run(command, input=INSTRUCTION, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{CXX} does not compile for {' '.join(FLAGS)}")


def _processor() -> set[str]:
    """Return what Linux says that this processor has."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


@pytest.fixture(scope="module")
def emulated() -> Path:
    if lacking := missing("tiles"):
        pytest.skip(f"needs {', '.join(lacking)} (Debian: cmake g++)")
    if "avx512_bf16" not in _processor():
        pytest.skip("around the products the kernels need AVX512_BF16, which this processor lacks")
    (module,) = build("tiles").glob("_cpu.*")
    return module


@pytest.mark.slow(seconds=30)
def test_in_emulated_tiles_bf16_passes_its_tests(emulated):
    names = ("test_native", "test_native_edges", "test_native_bf16")
    files = [f"tests/ops/locality_attention/{name}.py" for name in names]
    # A signal for most instructions is slow: what takes ten seconds has a smaller likeness.
    chosen = "(bfloat16 and not number_of_threads) or (test_native_bf16 and not (way or refused))"
    # pytest's handler of faults would take the place of the one that executes the instructions.
    options = ["-p", "no:faulthandler", "-x", "-k", chosen]
    done = run_python(
        ["-c", PROGRAM, str(emulated), *options, *files], "avx512", LADNET_BF16="tiles"
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "bf16: tiles\n" in done.stdout
    assert _native.cpu.__file__ != str(emulated)


@pytest.mark.slow(seconds=30)
def test_emulated_tiles_are_taken_only_where_they_are_asked_for(emulated):
    show = ["-c", PROGRAM, str(emulated), "--version"]
    for way, expected in (("", "(pairs|widen)"), ("widen", "widen"), ("pairs", "pairs")):
        assert re.search(f"bf16: {expected}\n", run_python(show, "avx512", LADNET_BF16=way).stdout)


def test_the_package_is_compiled_for_tiles():
    code = Path(_native.cpu.__file__).read_bytes()
    assert all(product in code for product in PRODUCTS)
    assert LOAD_CONFIGURATION.search(code)
    assert RELEASE in code


def _refused(instruction_set: str) -> str:
    done = run_python(
        ["-c", "from ladnet_fast import _native"], instruction_set, LADNET_BF16="tiles"
    )
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


NEEDS = (
    "RuntimeError: LADNET_BF16=tiles needs a processor with AMX_TILE, AMX_BF16 and AVX512_BF16, "
    "Linux's permission to use tiles, a build that has them, and the instruction set avx512; "
)
UNSET = ". Unset LADNET_BF16 to take the faster of the other ways."


def test_without_tile_registers_they_are_refused():
    if "avx512" not in _native.cpu.available_instruction_sets():
        pytest.skip("this processor or build has no avx512")
    if "amx_tile" in _processor():
        pytest.skip("this processor has tile registers")
    reason = "this processor lacks AMX_TILE"
    if not sys.platform.startswith("linux"):
        reason = "on this system they are not supported"
    assert _refused("avx512") == NEEDS + reason + UNSET


@pytest.mark.parametrize("instruction_set", ["avx2", "baseline"])
def test_tiles_are_refused_beside_an_instruction_set_that_has_none(instruction_set):
    if instruction_set not in _native.cpu.available_instruction_sets():
        pytest.skip(f"this processor or build has no {instruction_set}")
    expected = NEEDS + f"the instruction set in use is {instruction_set}" + UNSET
    assert _refused(instruction_set) == expected
