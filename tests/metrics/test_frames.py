import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ladnet_fast.metrics import frame_scores, smooth

SCORES = [0.1, 0.5, 0.9]


@pytest.mark.parametrize(
    ("per_snippet", "num_frames", "expected"),
    [
        (2, None, [0.1, 0.1, 0.5, 0.5, 0.9, 0.9]),
        (2, 6, [0.1, 0.1, 0.5, 0.5, 0.9, 0.9]),
        (2, 5, [0.1, 0.1, 0.5, 0.5, 0.9]),  # the last snippet was filled up
        (2, 7, [0.1, 0.1, 0.5, 0.5, 0.9, 0.9, 0.9]),  # an incomplete one was left out
        (2, 8, [0.1, 0.1, 0.5, 0.5, 0.9, 0.9, 0.9, 0.9]),  # a frame lost to optical flow
        (1, None, SCORES),
        (None, 7, [0.1, 0.1, 0.1, 0.5, 0.5, 0.9, 0.9]),
        (None, 6, [0.1, 0.1, 0.5, 0.5, 0.9, 0.9]),
        (None, 2, [0.1, 0.5]),
    ],
)
def test_each_frame_gets_its_snippets_score(per_snippet, num_frames, expected):
    frames = frame_scores(SCORES, per_snippet, num_frames)
    assert frames.dtype == np.float64
    assert frames.tolist() == expected
    assert (
        frame_scores(torch.tensor(SCORES, dtype=torch.float64), per_snippet, num_frames).tolist()
        == expected
    )


@given(st.integers(1, 40), st.integers(1, 300))
def test_even_shares_differ_by_one_frame(snippets, num_frames):
    counts = np.bincount(
        frame_scores(np.arange(snippets), None, num_frames).astype(int), minlength=snippets
    )
    assert counts.sum() == num_frames
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("scores", "per_snippet", "num_frames", "message"),
    [
        (SCORES, 2, 4, "3 snippets of 2 frames cover 6 frames, which doesn't fit num_frames=4"),
        (SCORES, 2, 9, "doesn't fit num_frames=9"),
        (SCORES, 2, 0, "num_frames must be at least 1"),
        (SCORES, 0, None, "frames_per_snippet must be at least 1"),
        (SCORES, None, None, "num_frames must be given"),
        ([], 2, None, r"scores must be a vector .* shape \(0,\)"),
        ([SCORES], 2, None, r"scores must be a vector .* shape \(1, 3\)"),
        ([0.1, np.nan], 2, None, "scores must be finite; got nan at entry 1"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, per_snippet, num_frames, message):
    with pytest.raises(ValueError, match=message):
        frame_scores(scores, per_snippet, num_frames)


def _loop(scores, kind, k, edge):
    """Take every block or window by itself."""
    out = []
    for t in range(len(scores)):
        start = t // k * k if kind == "fixed" else t
        window = scores[start : start + k]
        out.append(sum(window) / (k if edge == "zero" else len(window)))
    return out


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.sampled_from(["fixed", "slide"]),
    st.integers(1, 40),
    st.sampled_from(["shrink", "zero"]),
)
def test_smoothing_is_the_mean_that_a_loop_takes(scores, kind, k, edge):
    smoothed = smooth(scores, kind, k, edge=edge)
    np.testing.assert_allclose(smoothed, _loop(scores, kind, k, edge), rtol=1e-12, atol=1e-15)


def test_smoothing_by_hand():
    scores = [0.0, 1.0, 0.5, 0.5, 1.0]
    assert smooth(scores, "fixed", 2).tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]
    assert smooth(scores, "fixed", 2, edge="zero").tolist() == [0.5, 0.5, 0.5, 0.5, 0.5]
    assert smooth(scores, "slide", 2).tolist() == [0.5, 0.75, 0.5, 0.75, 1.0]
    assert smooth(scores, "slide", 2, edge="zero").tolist() == [0.5, 0.75, 0.5, 0.75, 0.5]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((SCORES, "gauss", 2), {}, "kind must be one of .*'gauss'"),
        ((SCORES, "fixed", 0), {}, "k must be at least 1"),
        ((SCORES, "fixed", 2), {"edge": "same"}, "edge must be one of .*'same'"),
        (([], "fixed", 2), {}, "scores must be a vector"),
    ],
)
def test_bad_smoothing_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        smooth(*arguments, **options)
