from __future__ import annotations

import numpy as np
import pytest
import torch

from ladnet_fast.video.frames import cut_crops, resize, short_side_size


def triangle_resize(image: np.ndarray, new: int) -> np.ndarray:
    """Resize axis 0 of a float image by the formula in the docstring of `resize`."""
    old = len(image)
    scale = old / new
    centre = (np.arange(new)[:, None] + 0.5) * scale
    position = np.arange(old)[None] + 0.5
    weight = np.maximum(0, 1 - np.abs(position - centre) / max(1.0, scale))
    weight /= weight.sum(1, keepdims=True)
    return np.tensordot(weight, image, axes=(1, 0))


@pytest.mark.parametrize("size", [(20, 30), (64, 48), (33, 17), (1, 1), (100, 9)])
def test_resize_is_the_antialiased_triangle(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    expected = triangle_resize(frame.astype(float), size[0])
    expected = triangle_resize(expected.swapaxes(0, 1), size[1]).swapaxes(0, 1)
    resized = resize(frame, size)
    assert resized.dtype == np.uint8
    assert resized.shape == (*size, 3)
    assert np.abs(resized - expected).max() <= 1.5  # two roundings, one per axis


def test_resize_to_the_same_size_changes_nothing() -> None:
    frame = np.zeros((4, 5, 3), np.uint8)
    assert resize(frame, (4, 5)) is frame


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (240, 320, (256, 341)),
        (320, 240, (341, 256)),
        (272, 640, (256, 602)),
        (1080, 1920, (256, 455)),
        (256, 256, (256, 256)),
        (512, 513, (256, 257)),  # 256.5, halves go up
        (1, 3, (256, 768)),
    ],
)
def test_short_side_becomes_256(height: int, width: int, expected: tuple[int, int]) -> None:
    assert short_side_size(height, width) == expected


def test_crops_come_in_the_published_order() -> None:
    frames = torch.arange(2 * 7 * 9 * 3).view(2, 7, 9, 3)
    crops = cut_crops(frames, 10, size=4)
    places = [(1, 2), (0, 0), (0, 5), (3, 0), (3, 5)]
    for crop, (y, x) in zip(crops[:5], places, strict=True):
        assert torch.equal(crop, frames[:, y : y + 4, x : x + 4])
    for crop, mirrored in zip(crops[:5], crops[5:], strict=True):
        assert torch.equal(mirrored, crop.flip(2))


@pytest.mark.parametrize("crops", [1, 5])
def test_fewer_crops_are_the_first_of_ten(crops: int) -> None:
    frames = torch.rand(2, 6, 6, 3)
    for few, many in zip(cut_crops(frames, crops, 4), cut_crops(frames, 10, 4), strict=False):
        assert torch.equal(few, many)
    assert len(cut_crops(frames, crops, 4)) == crops


@pytest.mark.parametrize("crops", [0, 2, 3, "1"])
def test_other_numbers_of_crops_are_refused(crops: object) -> None:
    with pytest.raises(ValueError, match="crops must be 1"):
        cut_crops(torch.zeros(1, 4, 4, 3), crops, 4)
