"""The CUDA losses under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.emulators.cuda_on_cpu.device import SCHEDULES, Device

from ..cases import OPTIONS
from .passes import both_passes, load_module, run_in_child
from .problems import DTYPES, RAGGED, Case

pytestmark = pytest.mark.slow  # because of what is built first

#: Shapes of rows, dtypes, layouts and options that between them reach every kernel; ragged bags in
#: every dtype, packed and padded; every combination of the options.
CASES = [
    (Case([70, 1, 33, 9], 24, chunk=32, strip=3), {}),
    (Case([5, 40, 2], 129, torch.bfloat16, pairing="all_pairs"), {"padded": True}),
    (Case([6, 3], 515, torch.float16, pairing="one_to_one", select="all"), {}),
    (Case([20, 12], 8, detach="feature", ties=True), {"padded": True, "extra_columns": 3}),
    (Case([3, 2], 1030, torch.bfloat16, detach="score", strip=1), {}),
    *(
        (Case(RAGGED, 24, dtype, chunk=50), {"padded": padded})
        for dtype in DTYPES
        for padded in (False, True)
    ),
    *((Case([20, 7, 33, 1, 12], 8, **options), {}) for options in OPTIONS),
]
#: ThreadSanitizer follows every access: fewer, but with chunks, padding and halves among them.
SMALLER = [
    (Case([40, 1, 9], 20, chunk=32, strip=2), {"padded": True}),
    (Case([4, 3], 130, torch.float16, pairing="all_pairs"), {}),
    (Case([290, 2], 3, part=256), {}),  # blocks that look at two tiles
    (Case([3, 2], 1030, torch.bfloat16, pairing="one_to_one"), {}),
]


@pytest.mark.parametrize(
    ("flavour", "cases", "schedule"),
    [*(("address", CASES, schedule) for schedule in SCHEDULES), ("thread", SMALLER, "up")],
    ids=["address-up", "address-down", "address-random", "thread"],
)
def test_a_sanitizer_finds_nothing(
    flavour, cases, schedule, losses, emulator, preload, tmp_path: Path
):
    results, report = run_in_child(
        tmp_path,
        [case.problem(**layout) for case, layout in cases],
        module=losses(flavour),
        emulator=emulator,
        preload=preload(flavour),
        schedule=schedule,
    )
    assert report == ""
    for (case, layout), result in zip(cases, results, strict=True):
        case.check(result, padded=layout.get("padded", False))


def test_an_overrun_of_the_losses_own_buffers_would_be_found(losses, emulator):
    """A workspace that is too small: the red zone behind it is written to."""
    module = load_module(losses("plain"))

    class Stingy:
        def __getattr__(self, name):
            return getattr(module, name)

        def ddl_workspace_bytes(self, batch, **tuning):
            return module.ddl_workspace_bytes(batch, **tuning) - 256

    problem = CASES[0][0].problem()
    with Device(emulator) as device, pytest.raises(RuntimeError, match="device memory written"):
        both_passes(Stingy(), device, problem)


#: Where bags lie is decided on the device, where nobody checks it first: lengths for four bags of
#: at most six snippets, offsets into twenty.
WRONG_LAYOUTS = {
    "lengths": [[0, 0, 0, 0], [6, 0, 3, 0], [7, -1, 1 << 62, -(1 << 62)]],
    "cu_seqlens": [
        [0, 0, 20, 20, 20],
        [0, 12, 5, 30, 20],
        [-3, 4, 1 << 62, -(1 << 62), 25],
        [20, 15, 10, 5, 0],
    ],
}


@pytest.mark.parametrize("name", WRONG_LAYOUTS)
@pytest.mark.parametrize("chunk", [32, 2])
def test_empty_bags_and_wrong_layouts_lead_nowhere_outside_the_arrays(
    name, chunk, losses, emulator, preload, tmp_path: Path
):
    case = Case([6, 5, 4, 6] if name == "lengths" else [5, 5, 5, 5], 24, chunk=chunk)
    problem = case.problem(padded=name == "lengths")
    wrong = [{**problem, name: np.array(values, np.int64)} for values in WRONG_LAYOUTS[name]]
    results, report = run_in_child(
        tmp_path,
        wrong,
        module=losses("address"),
        emulator=emulator,
        preload=preload("address"),
        schedule="random",
    )
    assert report == ""
    assert len(results) == len(wrong)
