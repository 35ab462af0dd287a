"""The CUDA losses as users reach them: ``impl="cuda"``, torch tensors, autograd, compiled graphs.

The backend is told that its tensors lie on the CPU and that its module is the emulated one. All
the rest is what runs beside a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast import _native
from ladnet_fast.ops.ddl_loss import cuda
from tests.emulators.cuda_on_cpu.device import SCHEDULES, Device

from .. import cases
from ..native_tools import WEIGHTS
from .passes import Results, load_module
from .problems import DTYPES, Case, storable

pytestmark = pytest.mark.slow  # because of what is built first

LENGTHS = [20, 1, 7, 33]


@pytest.fixture
def on_the_emulator(losses, device: Device, monkeypatch) -> Iterator[Device]:
    """Have the backend ``cuda`` serve CPU tensors on the emulator; fail if a kernel did."""

    @contextmanager
    def place(_: torch.device) -> Iterator[dict[str, int]]:
        yield {"device": 0, "stream": 0}

    monkeypatch.setattr(_native, "cuda", load_module(losses("plain")))
    monkeypatch.setattr(cuda, "_DEVICE", "cpu")
    monkeypatch.setattr(cuda, "_on_device", place)
    yield device
    device.check()


def given(case: Case, padded: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return scores and features as leaves, and what says where their bags lie."""
    scores, features = case.scores, case.features
    layout = {"cu_seqlens": cases.offsets(case.lengths)}
    if padded:
        scores = cases.pad(scores, case.lengths, torch.nan)
        features = cases.pad(features, case.lengths, torch.nan)
        layout = {"lengths": torch.tensor(case.lengths)}
    leaves = {"scores": scores, "features": features}
    return {name: x.detach().clone().requires_grad_() for name, x in leaves.items()}, layout


def differentiated(case: Case, leaves, terms) -> Results:
    """Return the terms and the gradients of the leaves as `Case.check` wants them."""
    found = torch.stack((terms.mil, terms.ranking, terms.alignment))
    (found @ WEIGHTS).backward()
    return {
        "terms": found.detach().numpy(),
        "grad_scores": leaves["scores"].grad.numpy(),
        "grad_features": storable(leaves["features"].grad),
    }


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("padded", [False, True], ids=["packed", "padded"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_terms_and_gradients(dtype, padded, schedule, on_the_emulator):
    on_the_emulator.configure(schedule)
    case = Case(LENGTHS, 24, dtype, margin=0.8)
    leaves, layout = given(case, padded)
    before = on_the_emulator.launches
    terms = LF.ddl_loss(*leaves.values(), case.labels, **layout, **case.options, impl="cuda")
    case.check(differentiated(case, leaves, terms), padded=padded)
    assert on_the_emulator.launches > before


@pytest.mark.parametrize("pairing", ["batch_mean", "all_pairs", "one_to_one"])
@pytest.mark.parametrize("detach", ["none", "score", "feature"])
def test_options_reach_the_kernels(pairing, detach, on_the_emulator):
    case = Case(LENGTHS, 6, pairing=pairing, detach=detach, select="all", margin=0.8)
    leaves, layout = given(case, padded=False)
    terms = LF.ddl_loss(*leaves.values(), case.labels, **layout, **case.options, impl="cuda")
    case.check(differentiated(case, leaves, terms))


def test_without_gradients_the_terms_are_the_same(on_the_emulator):
    case = Case(LENGTHS, 24)
    leaves, layout = given(case, padded=True)
    call = (*leaves.values(), case.labels)
    with torch.no_grad():
        plain = LF.ddl_loss(*call, **layout, impl="cuda")
    assert plain == LF.ddl_loss(*call, **layout, impl="cuda")


def test_features_of_any_strides_are_read(on_the_emulator):
    case = Case(LENGTHS, 24)
    leaves, layout = given(case, padded=False)
    expected = LF.ddl_loss(*leaves.values(), case.labels, **layout, impl="cuda")
    wide = torch.cat([case.features, torch.full_like(case.features, torch.nan)], dim=1)
    for features in (wide[:, :24], case.features.t().contiguous().t()):
        assert not features.is_contiguous()
        found = LF.ddl_loss(case.scores, features, case.labels, **layout, impl="cuda")
        assert found == expected


def test_a_compiled_graph_is_whole_and_gives_the_same(on_the_emulator):
    case = Case(LENGTHS, 24, margin=0.8)
    leaves, layout = given(case, padded=True)

    def loss(scores, features):
        return LF.ddl_loss(scores, features, case.labels, **layout, **case.options, impl="cuda")

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    case.check(differentiated(case, leaves, compiled(**leaves)), padded=True)


def test_the_operator_passes_opcheck(on_the_emulator):
    case = Case(LENGTHS, 6)
    leaves, layout = given(case, padded=False)
    call = (
        *leaves.values(), case.labels, None, layout["cu_seqlens"],
        *case.options.values(), True, "cuda",
    )  # fmt: skip
    torch.library.opcheck(torch.ops.ladnet_fast.ddl_loss.default, call)
