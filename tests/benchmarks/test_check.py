"""Who is wrong is noticed."""

from __future__ import annotations

import pytest
import torch

from benchmarks import check
from benchmarks.check import compare

EXACT = {"out": torch.linspace(-1, 2, 30, dtype=torch.float64).reshape(5, 6)}
EPS = torch.finfo(torch.float32).eps


def off_by(amount):
    return {"out": EXACT["out"].float() + amount}


def test_the_budget_is_twice_the_references_error_plus_one_rounding():
    [entry] = compare(off_by(0), EXACT, {"out": EXACT["out"] + 1e-3})
    assert entry.ok
    assert entry.budget == pytest.approx(2 * (1e-3 + EPS * 2))


@pytest.mark.parametrize(("amount", "ok"), [(EPS, True), (1e-5, False), (torch.nan, False)])
def test_an_error_beyond_the_budget_is_noticed_and_so_is_nan(amount, ok):
    [entry] = compare(off_by(amount), EXACT, off_by(0))
    assert entry.ok is ok


@pytest.mark.parametrize("piece", [7, 1000])
def test_a_single_wrong_element_is_noticed_in_any_piece(piece, monkeypatch):
    monkeypatch.setattr(check, "_PIECE", piece)
    got = off_by(0)
    got["out"][3, 4] = torch.nan
    assert not compare(got, EXACT, off_by(0))[0].ok


def test_a_sum_that_cancels_is_judged_by_what_is_added_up():
    exact = {"dw": torch.tensor(1e-3, dtype=torch.float64)}
    got, reference = {"dw": torch.tensor(1e-3 + 1e-6)}, {"dw": torch.tensor(1e-3)}
    assert not compare(got, exact, reference)[0].ok
    assert compare(got, exact, reference, {"dw": 1e2})[0].ok


@pytest.mark.parametrize(
    "got", [{}, {"other": EXACT["out"]}, {"out": EXACT["out"][:4]}, {**EXACT, "more": EXACT["out"]}]
)
def test_missing_surplus_and_misshapen_outputs_are_refused(got):
    with pytest.raises(ValueError, match="output"):
        compare(got, EXACT, EXACT)
