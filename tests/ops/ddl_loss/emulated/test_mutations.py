"""Every barrier of the losses' kernels is needed, and taking it out does not go unnoticed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.emulators.cuda_on_cpu.device import Device

from .passes import both_passes, load_module, run_in_child
from .problems import Case
from .sources import CSRC

pytestmark = pytest.mark.slow  # because of what is built first


def barriers() -> Iterator[tuple[str, int]]:
    """Yield the file and the line of every ``__syncthreads``."""
    for path in sorted(CSRC.glob("cuda/*.cu*")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            if re.match(r"\s*__syncthreads\w*\(", line):
                yield path.name, number


BARRIERS = list(barriers())
#: Between them they make every barrier matter: split bags with ties, ties beyond the reach of one
#: scan, two tiles, all pairings.
CASES = [
    (Case([40, 1, 9], 3, chunk=32, strip=2, ties=True, topk_divisor=4), {"padded": True}),
    (Case([290, 2], 3, torch.float16, pairing="all_pairs", part=256), {"padded": True}),
    (Case([1100, 2], 1, ties=True, topk_divisor=2), {}),
    (Case([3, 2, 4], 1030, torch.bfloat16, pairing="one_to_one"), {}),
]
PROBLEMS = [case.problem(**layout) for case, layout in CASES]


@pytest.fixture(scope="module")
def reached(losses, emulator) -> list[set[tuple[str, int]]]:
    """For each case, the barriers that it executes."""
    module, places = load_module(losses("plain")), []
    for problem in PROBLEMS:
        with Device(emulator) as device:
            device.configure("up")
            both_passes(module, device, problem)
            places.append(device.barriers_reached())
    return places


def test_every_barrier_is_reached(reached):
    assert set().union(*reached) == set(BARRIERS)


@pytest.mark.parametrize("barrier", BARRIERS, ids=lambda b: f"{b[0]}:{b[1]}")
def test_a_barrier_less_is_a_race(barrier, reached, losses, emulator, preload, tmp_path: Path):
    own = [p for p, places in zip(PROBLEMS, reached, strict=True) if barrier in places]
    _, report = run_in_child(
        tmp_path,
        own,
        module=losses("thread"),
        emulator=emulator,
        preload=preload("thread"),
        removed_barrier=barrier,
    )
    assert "data race" in report
