"""What dropout keeps: drawn by the compiled module, and by torch where that can't serve."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ladnet_fast import _native
from ladnet_fast.ops.linear import masks

KEEPS = (0.9, 0.5, 0.1, 1e-9, 2.0**-60, 1 - 2.0**-53)


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("before", [0, 1, 2, 311, 622, 623, 624, 625])
def test_masks_and_generator_are_torchs_to_the_bit(before, keep):
    for count in (1, 2, 311, 312, 313, 4999):
        theirs, ours = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
        for generator in (theirs, ours):
            torch.empty(before).uniform_(generator=generator)  # a word each
        want = torch.empty(count, dtype=torch.bool).bernoulli_(keep, generator=theirs)
        got = torch.empty(count, dtype=torch.bool)
        masks._draw(got, keep, ours)
        assert torch.equal(got, want)
        assert torch.equal(ours.get_state(), theirs.get_state())
        # Whatever is drawn next goes on where they stopped.
        assert torch.equal(torch.rand(700, generator=ours), torch.rand(700, generator=theirs))


def test_a_normal_number_that_torch_holds_back_is_still_held():
    theirs, ours = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    for generator in (theirs, ours):
        torch.empty(1, dtype=torch.float64).normal_(generator=generator)  # one of a pair
    masks._draw(torch.empty(9, dtype=torch.bool), 0.5, ours)
    torch.empty(9, dtype=torch.bool).bernoulli_(0.5, generator=theirs)
    for _ in range(3):
        assert torch.equal(
            torch.empty(1, dtype=torch.float64).normal_(generator=ours),
            torch.empty(1, dtype=torch.float64).normal_(generator=theirs),
        )


@pytest.fixture
def drawn(monkeypatch):
    """Count the masks that the compiled module draws."""
    counts = []
    original = masks._draw

    def counted(keeps, keep, generator):
        counts.append(keeps.numel())
        original(keeps, keep, generator)

    masks._draws_like_torch()
    monkeypatch.setattr(masks, "_draw", counted)
    return counts


@pytest.mark.parametrize("shape", [(3, 50, 64), (1, masks._LEAST, 1)])
def test_the_global_generator_is_the_one_that_draws(drawn, shape):
    torch.manual_seed(11)
    want = torch.empty(shape, dtype=torch.bool).bernoulli_(0.7)
    after = torch.rand(5)
    torch.manual_seed(11)
    keeps = torch.empty(shape, dtype=torch.bool)
    assert masks.draw(keeps, 0.7) is keeps
    assert torch.equal(keeps, want)
    assert torch.equal(torch.rand(5), after)
    assert drawn == [keeps.numel()]


def test_torch_draws_what_the_module_cant(drawn, monkeypatch):
    masks.draw(torch.empty(masks._LEAST - 1, dtype=torch.bool), 0.7)
    with FakeTensorMode():
        masks.draw(torch.empty(10**6, dtype=torch.bool), 0.7)
    compiled = torch.compile(lambda x: masks.draw(x, 0.7), backend="aot_eager", fullgraph=True)
    assert 0.6 < float(compiled(torch.empty(9999, dtype=torch.bool)).float().mean()) < 0.8
    monkeypatch.setattr(masks, "_draws_like_torch", lambda: False)
    masks.draw(torch.empty(9999, dtype=torch.bool), 0.7)
    monkeypatch.undo()
    monkeypatch.setattr(_native, "cpu", None)
    masks.draw(torch.empty(9999, dtype=torch.bool), 0.7)
    assert drawn == []


def test_a_torch_that_draws_in_another_way_is_noticed(monkeypatch):
    def other(keeps, keep, generator):
        keeps.bernoulli_(keep, generator=generator)
        torch.rand(1, generator=generator)

    masks._draws_like_torch.cache_clear()
    try:
        assert masks._draws_like_torch()
        masks._draws_like_torch.cache_clear()
        monkeypatch.setattr(masks, "_draw", other)
        assert not masks._draws_like_torch()
    finally:
        masks._draws_like_torch.cache_clear()
