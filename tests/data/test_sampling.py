import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladnet_fast.data import bin_mean, linspace_indices, linspace_sample


@given(st.integers(1, 100_000), st.integers(1, 512))
def test_indices_are_numpys_linspace_or_all(length, size):
    indices = linspace_indices(length, size)
    if length > size:
        np.testing.assert_array_equal(indices, np.linspace(0, length - 1, size, dtype=int))
        assert len(indices) == size
    else:
        np.testing.assert_array_equal(indices, np.arange(length))
    assert indices[0] == 0
    assert indices.max() < length
    assert (np.diff(indices) >= 1).all()


def test_indices_of_a_day_long_video_do_not_overflow():
    assert linspace_indices(135_000)[-1] == 134_999


@pytest.mark.parametrize("length", [1, 31, 199, 200, 201, 500, 70_000])
def test_sample_keeps_rows_at_the_indices(length):
    features = np.arange(length * 2, dtype=np.float32).reshape(length, 2)
    sample = linspace_sample(features)
    assert sample.dtype == np.float32
    np.testing.assert_array_equal(sample, features[linspace_indices(length)])


@given(st.integers(1, 300), st.integers(1, 64))
def test_bins_are_the_means_that_a_loop_gives(length, bins):
    features = np.random.default_rng(length).normal(size=(length, 3)).astype(np.float32)
    edges = np.linspace(0, length, bins + 1, dtype=int)
    expected = [
        features[start:stop].astype(np.float64).mean(axis=0) if start < stop else features[start]
        for start, stop in itertools.pairwise(edges)
    ]
    out = bin_mean(features, bins)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("function", [linspace_sample, bin_mean])
@pytest.mark.parametrize("shape", [(4,), (0, 3), (3, 0), (2, 3, 4)])
def test_anything_but_a_matrix_is_refused(function, shape):
    with pytest.raises(ValueError, match=r"features must have shape \(T, D\)"):
        function(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("size", [0, -1])
def test_size_below_one_is_refused(size):
    features = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="size must be at least 1"):
        linspace_sample(features, size)
    with pytest.raises(ValueError, match="bins must be at least 1"):
        bin_mean(features, size)
    with pytest.raises(ValueError, match="length must be at least 1"):
        linspace_indices(size)
