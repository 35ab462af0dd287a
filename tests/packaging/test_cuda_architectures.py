"""For which GPUs the CUDA module is compiled, by the release of nvcc that is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake (Debian: cmake)"),
    pytest.mark.skipif(sys.platform == "win32", reason="needs a shell for the stand-in of nvcc"),
]

SCRIPT = """
cmake_minimum_required(VERSION 3.25)  # as CMakeLists.txt says
include("{function}")
{call}
message(NOTICE "found=${{found}}=")
"""
#: A program for nvcc: it tells its version and, if it is new enough, what it compiles for, and
#: refuses to compile for anything else.
NVCC = r"""#!/bin/sh
known=" {known} "
case "$1" in
  --list-gpu-code)
    test {tells} = 1 || exit 1
    for number in $known; do echo sm_$number; done
    exit 0 ;;
  --generate-code=arch=compute_*)
    number=${{1#--generate-code=arch=compute_}}
    case "$known" in *" ${{number%%,*}} "*) exit 0 ;; esac
    echo "nvcc fatal   : Unsupported gpu architecture 'compute_${{number%%,*}}'" >&2
    exit 1 ;;
esac
cat <<'END'
{printed}
END
exit {status}
"""


def choose(
    folder: Path,
    printed: str,
    status: int = 0,
    *,
    known: str = "",
    call: str = 'ladnet_cuda_architectures(found "{nvcc}")',
) -> subprocess.CompletedProcess[str]:
    """Ask the build's own functions, with a program for nvcc that prints this version."""
    nvcc = folder / "nvcc"
    text = NVCC.format(known=known, tells=int(bool(known)), printed=printed, status=status)
    nvcc.write_text(text)
    nvcc.chmod(0o755)
    call = call.format(nvcc=nvcc.as_posix())
    script = folder / "choose.cmake"
    function = ROOT / "csrc" / "cuda" / "architectures.cmake"
    script.write_text(SCRIPT.format(function=function.as_posix(), call=call))
    return subprocess.run(["cmake", "-P", str(script)], capture_output=True, text=True, check=False)


def about(release: str) -> str:
    """Return what nvcc prints of itself."""
    return (
        "nvcc: NVIDIA (R) Cuda compiler driver\n"
        "Copyright (c) 2005-2024 NVIDIA Corporation\n"
        f"Cuda compilation tools, release {release}, V{release}.85\n"
        f"Build cuda_{release}.r{release}/compiler.35059454_0"
    )


@pytest.mark.parametrize(
    ("release", "architectures"),
    [
        ("11.0", "80"),
        ("11.7", "80"),
        ("11.8", "80-real;90"),
        ("12.0", "80-real;90"),
        ("12.6", "80-real;90"),
        ("12.8", "80-real;90-real;100;120"),
        ("12.10", "80-real;90-real;100;120"),  # a number, not a decimal fraction
        ("13.0", "80-real;90-real;100;120"),
        ("20.3", "80-real;90-real;100;120"),
    ],
)
def test_nvcc_compiles_for_what_its_release_knows_and_the_newest_as_ptx(
    release, architectures, tmp_path
):
    done = choose(tmp_path, about(release))
    assert done.returncode == 0, done.stderr
    assert f"found={architectures}=" in done.stderr
    assert not architectures.split(";")[-1].endswith("-real")


@pytest.mark.parametrize(
    ("release", "known", "architectures"),
    [
        ("11.5", "52 75 80 86", "80"),
        ("12.4", "50 75 80 86 87 89 90", "80-real;90"),
        ("13.0", "75 80 86 87 88 89 90 100 110 103 120 121", "80-real;90-real;100;120"),
        ("17.1", "90 100 110 120 150", "90-real;100;120"),  # one that has forgotten sm_80
    ],
)
def test_what_is_chosen_is_what_nvcc_itself_says_that_it_compiles_for(
    release, known, architectures, tmp_path
):
    done = choose(tmp_path, about(release), known=known)
    assert done.returncode == 0, done.stderr
    assert f"found={architectures}=" in done.stderr
    # As CMake asks for them; the program refuses what it does not know.
    chosen = [entry.removesuffix("-real") for entry in architectures.split(";")]
    for number in (*chosen, "999"):
        code = f"--generate-code=arch=compute_{number},code=[sm_{number}]"
        compiled = subprocess.run([tmp_path / "nvcc", code], capture_output=True, check=False)
        assert (compiled.returncode == 0) == (number in chosen), code


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("75", "the kernels need GPUs from sm_80 on. Older ones have PyTorch's operators: choose"),
        ("80-real;120", "compiles for 75, 80, 90: leave it out, or put the nvcc of another CUDA"),
        ("80-real;90", None),
        ("native", None),  # CMake's own words are CMake's matter
    ],
)
def test_gpus_that_the_user_names_have_to_be_known(named, said, tmp_path):
    call = f'ladnet_check_architectures("{named}" "{{nvcc}}")'
    done = choose(tmp_path, about("12.4"), known="75 80 90", call=call)
    assert (done.returncode == 0) == (said is None), done.stderr
    assert said is None or said in " ".join(done.stderr.split())


def test_an_nvcc_that_does_not_tell_what_it_knows_is_believed(tmp_path):
    call = 'ladnet_check_architectures("90-real;120" "{nvcc}")'
    assert choose(tmp_path, "clang version 19.1", call=call).returncode == 0


def test_an_nvcc_older_than_every_gpu_of_the_list_is_refused_by_name(tmp_path):
    done = choose(tmp_path, about("10.2"))
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "is of CUDA 10.2; 11.0 is the oldest that knows sm_80" in said
    assert "CUDACXX" in said
    assert "LADNET_BUILD=cpu" in said


def test_an_nvcc_that_names_no_release_is_not_guessed_about(tmp_path):
    done = choose(tmp_path, "clang version 19.1")
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "names no release of CUDA" in said
    assert "LADNET_CUDA_ARCHS" in said
    assert "clang version 19.1" in said


def test_an_nvcc_that_fails_stops_the_build(tmp_path):
    assert choose(tmp_path, about("12.6"), status=3).returncode != 0
