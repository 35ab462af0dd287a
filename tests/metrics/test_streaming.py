"""Metrics that are fed batch by batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ladnet_fast.metrics import FrameAP, FrameAUC, evaluate, frame_scores


def by_scikit_learn(scores, labels) -> tuple[float, float]:
    curves = pytest.importorskip("sklearn.metrics", reason="in the extra [tools]")
    precision, recall, _ = curves.precision_recall_curve(labels, scores)
    return curves.roc_auc_score(labels, scores), curves.auc(recall, precision)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_figures_are_those_of_scikit_learn_with_ties_too(data):
    size = data.draw(st.integers(2, 40))
    scores = np.array(data.draw(st.lists(st.integers(0, 5), min_size=size, max_size=size))) / 5
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    auc, ap = FrameAUC(), FrameAP()
    cut = data.draw(st.integers(0, size))
    for part in (slice(0, cut), slice(cut, None)):
        for metric in (auc, ap):
            metric.update(torch.tensor(scores[part]), torch.tensor(labels[part]))
    if labels.all() or not labels.any():
        assert math.isnan(auc.compute())
        assert math.isnan(ap.compute())
        return
    expected = by_scikit_learn(scores, labels)
    assert float(auc.compute()) == pytest.approx(expected[0], abs=1e-12)
    assert float(ap.compute()) == pytest.approx(expected[1], abs=1e-12)


def test_snippets_count_for_their_frames_as_in_evaluate():
    pytest.importorskip("sklearn", reason="in the extra [tools]")
    scores = [torch.rand(5), torch.rand(3)]
    labels = [torch.randint(0, 2, (80,)), torch.zeros(49, dtype=torch.long)]
    auc, ap = FrameAUC(16), FrameAP(frames_per_snippet=16)
    for preds, target in zip(scores, labels, strict=True):
        auc.update(preds, target)
        ap.update(preds.to(torch.float32), target.bool())
    frames = [frame_scores(s.double(), 16, len(t)) for s, t in zip(scores, labels, strict=True)]
    found = evaluate(frames, [t.numpy() for t in labels], [1, 0])
    assert float(auc.compute()) == pytest.approx(found.auc, abs=1e-12)
    assert float(ap.compute()) == pytest.approx(found.ap, abs=1e-12)


def test_a_call_gives_the_batchs_own_figure_and_keeps_the_frames():
    auc = FrameAUC()
    assert float(auc(torch.tensor([0.1, 0.9]), torch.tensor([0, 1]))) == 1
    assert float(auc(torch.tensor([0.8, 0.2]), torch.tensor([0, 1]))) == 0
    assert float(auc.compute()) == 0.75
    auc.reset()
    assert math.isnan(auc.compute())


def test_metrics_of_two_workers_can_be_merged():
    whole, first, second = FrameAP(), FrameAP(), FrameAP()
    scores, labels = torch.rand(2, 30), torch.randint(0, 2, (2, 30))
    whole.update(scores, labels)
    first.update(scores[0], labels[0])
    second.update(scores[1], labels[1])
    first.merge_state(second)
    assert float(first.compute()) == float(whole.compute())


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        ([0.1, 0.2], [1], "one label per score"),
        ([0.1, float("nan")], [1, 0], "NaN or infinity"),
        ([0.1, 0.2], [1, 2], "0 .normal. and 1 .anomalous. only"),
    ],
)
def test_wrong_input_is_named(preds, target, message):
    with pytest.raises(ValueError, match=message):
        FrameAUC().update(torch.tensor(preds), torch.tensor(target))


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="frames_per_snippet must be at least 1; got 0"):
        FrameAUC(0)
    with pytest.raises(ValueError, match=r"those of one video: \(T,\) and \(frames,\)"):
        FrameAUC(16).update(torch.rand(2, 3), torch.zeros(2, 48))
