"""The cases that a GPU times."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu import table
from benchmarks.vocabulary import Case

CASES = table.cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_case_names_sides_that_its_operator_has(case):
    for name in case.sides:
        case.op.side(name)
    assert case.shape.keys() == case.op.tiny.keys()
    assert any(case.op.side(name).own for name in case.sides)


def test_keys_are_unique():
    assert len({case.key for case in CASES}) == len(CASES)


def test_lengths_reach_from_a_training_batch_to_a_day_and_every_peer_is_there():
    attention = [case for case in CASES if case.op.name == "attention_forward_backward"]
    assert {case.shape["T"] for case in attention} >= {200, 4096, 131_072}
    assert {"sdpa_flash", "sdpa_cudnn", "flex", "flex_band", "eager", "compiled"} <= {
        side for case in attention for side in case.sides
    }


def test_no_quadratic_matrix_at_lengths_that_have_no_room_for_it():
    for case in CASES:
        if case.shape["T"] > 16_384 and "d" in case.shape:
            assert not {"eager", "compiled", "sdpa_plus_prior", "sdpa_mask"} & set(case.sides)


def test_the_quick_run_covers_every_operator_and_compiles_nothing_of_the_reference():
    quick = table.select(True, ())
    assert {case.op.name for case in quick} == {
        case.op.name for case in CASES if case.op.name != "training_step_adam"
    }
    assert not any("compiled" in case.sides for case in quick)
    assert len(quick) < len(CASES) / 2


def test_patterns_select_and_nothing_is_an_error():
    assert {c.op.name for c in table.select(False, ("score_head_forward/",))} == {
        "score_head_forward"
    }
    with pytest.raises(ValueError, match="no quick case matches nonsense"):
        table.select(True, ("nonsense",))


def test_tiny_cases_keep_every_side_but_torch_compile():
    tiny = table.tiny()
    assert len({case.key for case in tiny}) == len(tiny)
    assert all(isinstance(case, Case) and case.dtype == torch.float32 for case in tiny)
    for case in CASES:
        match = [c for c in tiny if (c.op, c.variant) == (case.op, case.variant)]
        assert len(match) == 1
        assert set(case.sides) - {"compiled"} <= set(match[0].sides)
