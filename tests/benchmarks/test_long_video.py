"""The day of video, at a few hundred snippets."""

from __future__ import annotations

import pytest
import torch

from benchmarks import impls, long_video
from ladnet_fast import LANet, _native

needs_native = pytest.mark.skipif(_native.cpu is None, reason=str(_native.cpu_problem))


@pytest.mark.parametrize("snippets", [3, 300])
def test_the_check_knows_the_networks_scores(snippets):
    net = LANet(feature_dim=24, impl="reference").eval()
    x = torch.randn(1, snippets, 24)
    with torch.inference_mode():
        scores = net(x).scores[0]
        for entry in long_video.compare(*long_video._check(net, x, scores)):
            assert entry.ok
        for entry in long_video.compare(*long_video._check(net, x, scores + 1e-4)):
            assert not entry.ok


@needs_native
def test_a_short_day_is_scored_and_measured_in_its_own_process():
    row = long_video.score_day(1, snippets=200, feature_dim=24)
    assert row["status"] == "ok", row["reason"]
    assert row["shape"] == {"B": 1, "T": 200, "D": 24}
    assert row["peak_bytes"] > 2**20
    assert all(entry["error"] <= entry["budget"] for entry in row["errors"])


def test_without_our_kernels_it_says_so_and_has_no_figures(monkeypatch):
    monkeypatch.setitem(impls.BACKENDS, "locality_attention", {})
    row = long_video.measure(1, 50, 24)
    assert row.status == "unavailable"
    assert "native" in row.reason
    assert row.seconds is None
    assert row.peak_bytes is None


@needs_native
def test_wrong_scores_have_no_figures(monkeypatch):
    right = long_video._check

    def wrong(net, x, scores):
        return right(net, x, scores + 1e-3)

    monkeypatch.setattr(long_video, "_check", wrong)
    row = long_video.measure(1, 50, 24)
    assert (row.status, row.seconds, row.peak_bytes) == ("wrong", None, None)


def test_a_process_that_dies_is_reported():
    row = long_video.score_day(0, snippets=10)  # torch refuses zero threads
    assert row["status"] == "error"
    assert "threads" in row["reason"]
