from __future__ import annotations

import pytest

from ladnet_fast.demo.bootstrap import FIGURES, Estimate
from ladnet_fast.demo.outcome import Difference, Row, sentences


def _difference(**figures: tuple[float, float, float]) -> Difference:
    none = (0.0, -0.1, 0.1)
    return Difference(
        "ddl", "mil", "DDL", "DDL minus MIL",
        {name: Estimate(*figures.get(name, none), by_seed=()) for name in FIGURES},
    )  # fmt: skip


def _row(label: str, value: float) -> Row:
    return Row(label, label, {name: Estimate(value, 0, 1, ()) for name in FIGURES})


ROWS = [_row("MIL", 0.7), _row("DDL", 0.6)]


@pytest.mark.parametrize(
    ("figure", "word"),
    [
        ((0.02, 0.01, 0.03), "higher"),
        ((-0.02, -0.03, -0.01), "lower"),
        ((0.02, -0.01, 0.03), "no difference can be told"),
        ((-0.02, -0.03, 0.01), "no difference can be told"),
        ((0.0, 0.0, 0.0), "no difference can be told"),
    ],
)
def test_a_sentence_says_no_more_than_its_interval(figure, word: str) -> None:
    """The other two figures have intervals around 0."""
    (sentence, *_) = sentences(ROWS, [_difference(auc=figure)], 3)
    words = {"higher", "lower", "no difference can be told"}
    part = sentence.split(". Besides, ")[0]
    assert word in part
    assert not any(other in part for other in words - {word})
    assert f"AUC {figure[0]:+.4f} ({figure[1]:+.4f} to {figure[2]:+.4f})" in part


def test_a_loss_that_is_behind_is_said_to_be_behind() -> None:
    behind = dict.fromkeys(FIGURES, (-0.02, -0.03, -0.01))
    text = " ".join(sentences(ROWS, [_difference(**behind)], 3))
    assert text.count("lower") == len(FIGURES)
    assert "higher" not in text
    assert "“MIL” ranks frames best on average (AUC 0.7000) and “DDL” worst (0.6000)" in text


def test_one_seed_is_said_to_be_one() -> None:
    assert any("There is one seed" in text for text in sentences(ROWS, [], 1))
    assert not any("There is one seed" in text for text in sentences(ROWS, [], 2))
