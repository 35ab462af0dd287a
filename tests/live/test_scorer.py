"""A stream's scores are LA-Net's on the window that they are defined by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ladnet_fast import LANet
from ladnet_fast.data import Crop, FeatureSource, Video
from ladnet_fast.engine import score_video
from ladnet_fast.live import StreamScorer

KINDS: dict[str, dict[str, Any]] = {
    "additive": {},
    "logit-heads": {"prior": "logit", "prior_form": "exp_abs", "num_heads": 2},
    "no-prior": {"prior": "none"},
    "flat-prior": {"sigma": 1e6, "kernel_size": 1},
    "wide-kernel": {"kernel_size": 12},
    "query": {"query_dim": 5},
}


def network(kind: str, dtype: torch.dtype = torch.float32) -> LANet:
    options = {"hidden_dim": 8, "mlp_dims": (16, 8), **KINDS[kind]}
    net = LANet(12, **options).to(dtype).eval()
    with torch.no_grad():  # scores far from one another
        net.classifier.weight.mul_(8)
    return net


def as_defined(
    net: LANet, x: torch.Tensor, query: torch.Tensor | None, window: int, delay: int
) -> np.ndarray:
    """The definition, word by word: one pass over its own window for every snippet."""
    scores = []
    with torch.inference_mode():
        for i in range(x.shape[1]):
            end = min(i + delay, x.shape[1] - 1) + 1
            start = max(0, end - window)
            asked = None if query is None else query[:, start:end]
            seen = net(x[:, start:end], query=asked).scores.double().mean(0)
            scores.append(float(seen[i - start]))
    return np.array(scores)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("window", "delay", "crops"), [(1, 0, 1), (9, 0, 2), (9, 4, 1), (100, 3, 1)]
)
def test_a_score_is_that_of_its_window(kind: str, window: int, delay: int, crops: int) -> None:
    net = network(kind)
    x, query = torch.randn(crops, 60, 12), None
    if net.query_dim is not None:
        query = torch.randn(crops, 60, net.query_dim)
    scorer = StreamScorer(net, window=window, delay=delay, crops=crops)
    given = []
    for start, stop in ((0, 0), (0, 1), (1, 30), (30, 60)):  # as it comes
        asked = None if query is None else query[:, start:stop]
        given.append(scorer.push(x[:, start:stop].numpy(), asked))
    given.append(scorer.finish())
    scores = np.concatenate(given)
    assert scores.dtype == np.float32
    assert scores.shape == (60,)
    assert np.ptp(scores) > 0.1
    assert np.allclose(scores, as_defined(net, x, query, window, delay), rtol=0, atol=1e-5)


def test_float64_agrees_to_its_own_rounding() -> None:
    net = network("additive", torch.float64)
    x = torch.randn(1, 60, 12, dtype=torch.float64)
    scorer = StreamScorer(net, window=20)
    # float32 is what scores are given in
    expected = as_defined(net, x, None, 20, 0).astype(np.float32)
    assert np.abs(scorer.push(x) - expected).max() <= np.finfo(np.float32).eps


def test_scores_do_not_depend_on_how_rows_are_divided() -> None:
    net, x = network("additive"), np.random.default_rng(0).normal(size=(70, 12)).astype(np.float32)
    at_once = StreamScorer(net, window=30, delay=2).push(x)
    scorer = StreamScorer(net, window=30, delay=2)
    one_by_one = np.concatenate([scorer.push(row[None]) for row in x])
    assert np.array_equal(at_once, one_by_one)


@pytest.mark.parametrize("window", [64, 65, 500], ids=["exactly", "one-more", "far-more"])
def test_a_window_over_the_whole_video_gives_its_full_length_scores(window: int) -> None:
    net = network("additive")
    rows = torch.randn(64, 12)
    scorer = StreamScorer(net, window=window)
    causal = scorer.push(rows)
    video = Video(name="v", features=(FeatureSource(Path("unread.npy")),), label=None)
    whole = score_video(net, video, crops=[Crop(rows.numpy(), None)])
    assert np.array_equal(scorer.scores(), whole)  # bit for bit
    assert causal[-1] == pytest.approx(whole[-1], abs=1e-5)  # nothing comes after the last one
    # with all of the future, every score is the full-length one
    waiting = StreamScorer(net, window=64, delay=63)
    scores = np.concatenate([waiting.push(rows), waiting.finish()])
    assert np.allclose(scores, whole, rtol=0, atol=1e-5)


def test_the_window_forgets_and_memory_stays() -> None:
    net = network("additive")
    scorer = StreamScorer(net, window=10)
    x = torch.randn(400, 12)
    sizes = set()
    for start in range(0, 400, 50):
        scorer.push(x[start : start + 50])
        sizes.add(scorer._rows._held.shape[1])  # type: ignore[union-attr]
    assert max(sizes) <= 10 + 64
    with torch.inference_mode():
        expected = net(x[None, -10:]).scores[0].numpy()
    assert np.array_equal(scorer.scores(), expected)
    assert (scorer.pushed, scorer.scored) == (400, 400)


def test_a_stream_goes_on_after_finish_and_begins_anew_after_reset() -> None:
    net, x = network("additive"), torch.randn(12, 12)
    scorer = StreamScorer(net, window=50, delay=2)
    first = scorer.push(x[:6])
    rest = scorer.finish()
    assert (len(first), len(rest)) == (4, 2)
    assert len(scorer.push(x[6:])) == 4
    assert len(scorer.finish()) == 2
    scorer.reset()
    assert np.array_equal(scorer.push(x[:6]), first)


def test_training_mode_is_as_it_was() -> None:
    net = network("additive").train()
    scorer = StreamScorer(net)
    first = scorer.push(torch.ones(3, 12))
    assert net.training
    assert np.array_equal(StreamScorer(net.eval()).push(torch.ones(3, 12)), first)


def test_nothing_pushed_gives_nothing() -> None:
    scorer = StreamScorer(network("additive"))
    assert len(scorer.scores()) == len(scorer.finish()) == len(scorer.push(np.empty((0, 12)))) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"window": 0}, "window must be at least 1"),
        ({"window": 2.5}, "window must be"),
        ({"window": 4, "delay": 4}, "delay must be less than window = 4"),
        ({"delay": -1}, "delay must be at least 0"),
        ({"crops": 0}, "crops must be at least 1"),
        ({"model": "runs/first"}, "load_model"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_arguments_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        StreamScorer(**{"model": network("additive"), **options})


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.ones((3, 11), np.float32), r"\(n, 12\)"),
        (np.ones((2, 3, 12), np.float32), r"\(1, n, 12\)"),
        (np.ones(12, np.float32), "shape"),
        (np.ones((3, 12), np.int64), "floating-point"),
        (np.full((1, 12), np.nan, np.float32), "score of snippet 0 is not finite"),
    ],
    ids=["width", "crops", "one-row", "integers", "nan"],
)
def test_rows_that_do_not_fit_are_named(rows: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        StreamScorer(network("additive")).push(rows)


def test_queries_come_exactly_where_the_network_asks() -> None:
    with pytest.raises(ValueError, match="query is missing"):
        StreamScorer(network("query")).push(torch.ones(2, 12))
    with pytest.raises(ValueError, match="leave it out"):
        StreamScorer(network("additive")).push(torch.ones(2, 12), torch.ones(2, 5))
    with pytest.raises(ValueError, match="the 2 snippets"):
        StreamScorer(network("query")).push(torch.ones(2, 12), torch.ones(3, 5))
