from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from ladnet_fast import _allocator as allocator
from ladnet_fast._allocator import keep_freed_memory

# Page faults of an allocation tell whether its memory came from the kernel or was kept.
COUNT_FAULTS = """
import resource, torch
from ladnet_fast._allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.zeros(64 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with keep_freed_memory() as kept:
    assert kept
    # The heap grows to what the loop needs, sometimes not in the first round.
    inside = min(faults() for _ in range(4))
print(inside, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc only")
def test_freed_memory_is_kept_inside_the_block_and_returned_after_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True
    )
    inside, after = map(int, done.stdout.split())
    assert inside * 10 < after


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)  # would fail if it were called
    with keep_freed_memory() as kept:
        assert kept is False
