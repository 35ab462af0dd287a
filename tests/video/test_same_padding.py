from __future__ import annotations

import numpy as np
import pytest
import torch

from ladnet_fast.video.same_padding import MaxPool3dSame, pad_same, same_padding


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (224, 7, 2, (2, 3)),  # Conv3d_1a
        (16, 7, 2, (2, 3)),
        (112, 3, 2, (0, 1)),  # MaxPool3d_2a on height and width
        (14, 2, 2, (0, 0)),  # MaxPool3d_5a
        (28, 3, 1, (1, 1)),
        (28, 1, 1, (0, 0)),
        (7, 2, 2, (0, 1)),
        (9, 3, 2, (1, 1)),
        (1, 7, 2, (3, 3)),
        (5, 1, 2, (0, 0)),
    ],
)
def test_padding_follows_tensorflow(
    size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    before, after = same_padding([size], [kernel], [stride])
    assert (before[0], after[0]) == expected


def test_pad_same_pads_each_axis_on_its_own_side() -> None:
    padded = pad_same(torch.ones(1, 1, 2, 3, 4), [1, 0, 2], [0, 3, 1])
    assert padded.shape == (1, 1, 3, 6, 7)
    assert padded[0, 0, 1:, :3, 2:6].eq(1).all()
    assert padded.sum() == 24


def naive_max_pool(x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
    """The largest element of each window, from the formula, one window at a time."""
    before, _ = same_padding(x.shape, kernel, stride)
    out = np.empty([-(-n // s) for n, s in zip(x.shape, stride, strict=True)])
    for index in np.ndindex(*out.shape):
        window = tuple(
            slice(max(i * s - b, 0), i * s - b + k)
            for i, s, b, k in zip(index, stride, before, kernel, strict=True)
        )
        out[index] = x[window].max()
    return out


@pytest.mark.parametrize("size", [(4, 8, 8), (5, 7, 9), (1, 1, 2), (2, 3, 6)])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (2, 2, 2)),
        ((2, 2, 2), (2, 2, 2)),
        ((3, 3, 3), (1, 1, 1)),
    ],
)
def test_max_pool_takes_the_largest_of_each_window(
    size: tuple[int, int, int], kernel: tuple[int, int, int], stride: tuple[int, int, int]
) -> None:
    x = -torch.rand(1, 1, *size, dtype=torch.float64) - 1  # a padded zero would win
    pooled = MaxPool3dSame(kernel, stride)(x)
    np.testing.assert_array_equal(
        pooled[0, 0].numpy(), naive_max_pool(x[0, 0].numpy(), kernel, stride)
    )


def test_max_pool_refuses_kernels_whose_padding_it_cannot_give() -> None:
    with pytest.raises(ValueError, match="kernel must be at most 3"):
        MaxPool3dSame((1, 5, 5), (1, 2, 2))
