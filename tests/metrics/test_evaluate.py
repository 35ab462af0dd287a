import itertools
import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladnet_fast._extras import MissingExtraError
from ladnet_fast.metrics import Metrics, evaluate

pytest.importorskip("sklearn")


def _auc(truth, scores):
    """Count the pairs that are in order, ties as a half."""
    positive, negative = np.asarray(scores)[truth == 1], np.asarray(scores)[truth == 0]
    higher = positive[:, None] > negative
    return (higher + 0.5 * (positive[:, None] == negative)).mean()


def _precision_recall(truth, scores):
    """Walk down the thresholds."""
    points = []
    for threshold in sorted(set(scores)):
        alarm = scores >= threshold
        points.append((truth[alarm].mean(), truth[alarm].sum() / truth.sum()))
    points.append((1.0, 0.0))
    return points


def _ap(truth, scores):
    points = _precision_recall(truth, scores)
    return sum((p + q) / 2 * (r - s) for (p, r), (q, s) in itertools.pairwise(points))


def _average_precision(truth, scores):
    points = _precision_recall(truth, scores)
    return sum(p * (r - s) for (p, r), (_, s) in itertools.pairwise(points))


@pytest.fixture
def test_set():
    """Two normal videos, three anomalous ones of classes B1, B2 and both; scores with ties."""
    rng = np.random.default_rng(0)
    labels = [0, 1, 1, 0, 1]
    classes = [(), ("B1",), ("B2",), (), ("B1", "B2")]
    truth = [(rng.random(20 + 5 * i) < 0.4 * label).astype(int) for i, label in enumerate(labels)]
    scores = [np.round(rng.random(len(y)) * 0.7 + 0.3 * y, 1) for y in truth]
    return scores, truth, labels, classes


def _join(vectors, chosen):
    return np.concatenate([vectors[i] for i in chosen])


def test_every_figure_is_what_its_definition_gives(test_set):
    scores, truth, labels, classes = test_set
    metrics = evaluate(scores, truth, labels, classes)
    for figure, function, videos in (
        ("auc", _auc, range(5)),
        ("ap", _ap, range(5)),
        ("average_precision", _average_precision, range(5)),
        ("anomalous_auc", _auc, [1, 2, 4]),
        ("anomalous_ap", _ap, [1, 2, 4]),
    ):
        expected = function(_join(truth, videos), _join(scores, videos))
        assert getattr(metrics, figure) == pytest.approx(expected, rel=1e-12), figure
    normal = _join(scores, [0, 3])
    assert metrics.far == (normal >= 0.5).mean()
    assert metrics.video_auc == _auc(np.array(labels), [video.max() for video in scores])
    assert (metrics.num_videos, metrics.num_anomalous_videos) == (5, 3)
    assert metrics.num_frames == sum(map(len, truth))
    assert metrics.num_anomalous_frames == sum(map(sum, truth))
    assert metrics.undefined == {}


@pytest.mark.parametrize(("name", "members"), [("B1", [1, 4]), ("B2", [2, 4])])
def test_a_video_of_several_classes_counts_in_each(test_set, name, members):
    scores, truth, labels, classes = test_set
    figures = evaluate(scores, truth, labels, classes).per_class[name]
    for suffix, videos in (("", members), ("_with_normal", [*members, 0, 3])):
        y, s = _join(truth, videos), _join(scores, videos)
        assert getattr(figures, f"auc{suffix}") == pytest.approx(_auc(y, s), rel=1e-12)
        assert getattr(figures, f"ap{suffix}") == pytest.approx(_ap(y, s), rel=1e-12)
    assert figures.num_videos == 2
    assert figures.num_frames == sum(len(truth[i]) for i in members)


def test_trapezoidal_ap_and_average_precision_differ():
    metrics = evaluate([[0.9, 0.8, 0.7, 0.6]], [[1, 0, 1, 0]], [1])
    assert metrics.average_precision == pytest.approx((1 + 2 / 3) / 2)
    # (recall, precision): (0, 1), (1/2, 1), (1/2, 1/2), (1, 2/3)
    assert metrics.ap == pytest.approx(0.5 + 0.5 * (1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize(("threshold", "far"), [(0.5, 0.5), (0.51, 0.25), (0.0, 1.0), (0.95, 0.0)])
def test_false_alarm_rate_counts_frames_that_reach_the_threshold(threshold, far):
    metrics = evaluate([[0.1, 0.5, 0.9, 0.2], [0.9]], [[0] * 4, [1]], [0, 1], threshold=threshold)
    assert metrics.far == far
    assert metrics.threshold == threshold


@pytest.mark.parametrize(
    ("truth", "labels", "undefined"),
    [
        (
            [[0, 0], [0, 0]],
            [0, 0],
            {
                "auc": "no anomalous frame",
                "ap": "no anomalous frame",
                "average_precision": "no anomalous frame",
                "anomalous_auc": "no video",
                "anomalous_ap": "no video",
                "video_auc": "no anomalous video",
            },
        ),
        (
            [[1, 1], [1, 1]],
            [1, 1],
            {
                "auc": "no normal frame",
                "ap": "no normal frame",
                "average_precision": "no normal frame",
                "anomalous_auc": "no normal frame",
                "anomalous_ap": "no normal frame",
                "far": "no normal frame in a normal video",
                "video_auc": "no normal video",
                "per_class.Abuse.auc": "no normal frame",
                "per_class.Abuse.ap": "no normal frame",
                "per_class.Abuse.auc_with_normal": "no normal frame",
                "per_class.Abuse.ap_with_normal": "no normal frame",
            },
        ),
        (
            [[0, 0], [1, 1]],
            [0, 1],
            {
                "anomalous_auc": "no normal frame",
                "anomalous_ap": "no normal frame",
                "per_class.Abuse.auc": "no normal frame",
                "per_class.Abuse.ap": "no normal frame",
            },
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_undefined_figures_are_nan_with_the_reason(truth, labels, undefined):
    classes = [("Abuse",) if label else () for label in labels]
    metrics = evaluate([[0.1, 0.6], [0.7, 0.2]], truth, labels, classes)
    assert metrics.undefined == undefined
    values = metrics.as_dict()
    for key, value in values.items():
        if key not in ("per_class", "undefined"):
            assert (value is None) == (key in undefined), key
    for name, figures in values["per_class"].items():
        for key, value in figures.items():
            assert (value is None) == (f"per_class.{name}.{key}" in undefined), key


def test_dictionary_is_strict_json(test_set):
    scores, truth, labels, classes = test_set
    for metrics in (evaluate(*test_set), evaluate(scores[:1], truth[:1], labels[:1], classes[:1])):
        values = json.loads(json.dumps(metrics.as_dict(), allow_nan=False))
        assert set(values) == set(Metrics.__dataclass_fields__)
        for key in ("auc", "ap", "far"):
            number = getattr(metrics, key)
            assert values[key] == (None if math.isnan(number) else number)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=30),
    st.integers(0, 1),
)
def test_figures_lie_in_their_range_or_are_explained(frames, label):
    truth, scores = (np.array(column) for column in zip(*frames, strict=True))
    metrics = evaluate([scores / 5, [0.5]], [truth, [0]], [label, 0])
    for key, value in metrics.as_dict().items():
        if isinstance(value, float):
            assert 0 <= value <= 1, key
        elif value is None:
            assert key in metrics.undefined
    if truth.sum() > 0:
        y, s = np.append(truth, 0), np.append(scores / 5, 0.5)
        assert metrics.auc == pytest.approx(_auc(y, s))
        assert metrics.ap == pytest.approx(_ap(y, s))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": []}, "scores is empty"),
        ({"ground_truth": [[0]]}, "ground_truth must have an entry for each of the 2 .* got 1"),
        ({"labels": [0]}, "labels must have an entry for each of the 2"),
        ({"classes": [()]}, "classes must have an entry for each of the 2"),
        ({"names": ["a"]}, "names must have an entry for each of the 2"),
        ({"labels": [0, 2]}, "labels must be 0 or 1; got 2 for b"),
        (
            {"classes": [(), "Abuse"]},
            r"classes of b must be a list of names, as in \['Abuse'\]; got",
        ),
        ({"scores": [[0.1], [0.1, np.nan]]}, "scores of b must be finite; got nan at entry 1"),
        ({"scores": [[0.1], [0.1]]}, r"b: scores have shape \(1,\) and ground_truth \(2,\)"),
        ({"ground_truth": [[0], [[0, 1]]]}, r"b: scores .* ground_truth \(1, 2\)"),
        ({"ground_truth": [[0], [0, 3]]}, "ground_truth of b must"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    arguments = {
        "scores": [[0.1], [0.1, 0.9]],
        "ground_truth": [[0], [0, 1]],
        "labels": [0, 1],
        "classes": [(), ("Abuse",)],
        "names": ["a", "b"],
    }
    evaluate(**arguments)
    with pytest.raises(ValueError, match=message):
        evaluate(**(arguments | change))


def test_videos_without_names_are_counted():
    with pytest.raises(ValueError, match="scores of video 1 must be finite"):
        evaluate([[0.1], [np.inf]], [[0], [1]], [0, 1])


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"ladnet-fast\[tools\]"):
        evaluate([[0.1, 0.9]], [[0, 1]], [1])


@pytest.mark.parametrize("threshold", [np.nan, np.inf, -np.inf])
def test_a_threshold_that_is_no_number_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold must be a finite number; got {threshold}"):
        evaluate([[0.1, 0.9]], [[0, 1]], [1], threshold=threshold)
