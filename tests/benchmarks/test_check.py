"""Who is timed is judged by the tests' own budget."""

from __future__ import annotations

import pytest
import torch

from benchmarks.check import DoesNotFitError, compare, must_fit

EXACT = {"out": torch.linspace(-1, 2, 30, dtype=torch.float64)}


@pytest.mark.parametrize(("scale", "ok"), [(None, True), (0.1, True), (1e2, True)])
def test_a_scale_widens_the_band_and_never_narrows_it(scale, ok):
    got = {"out": EXACT["out"].float() + torch.finfo(torch.float32).eps}
    given = {} if scale is None else {"out": scale}
    [entry] = compare(got, EXACT, {"out": EXACT["out"].float()}, given)
    assert entry.ok is ok
    [usual] = compare(got, EXACT, {"out": EXACT["out"].float()})
    assert entry.budget >= usual.budget
    assert (entry.budget > usual.budget) == (scale == 1e2)


def test_only_a_lack_of_memory_is_the_checks_own_fault():
    with pytest.raises(DoesNotFitError, match="the check does not fit"), must_fit("the check"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="another"), must_fit("the check"):
        raise RuntimeError("another")
