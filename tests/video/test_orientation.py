"""Display matrices: how frames are turned and mirrored."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.video import VideoError, read_frames
from ladnet_fast.video.decode import announced_frames
from ladnet_fast.video.frames import resize
from ladnet_fast.video.orientation import Orientation, orient, orientation_of

WriteVideo = Callable[..., Path]
ONE, LAST = 1 << 16, 1 << 30

#: The four numbers a, b, c, d of all combinations of right angles and mirrors.
EIGHT = [
    four
    for first, second in itertools.product((1, -1), repeat=2)
    for four in ((first, 0, 0, second), (0, first, second, 0))
]


def shown(image: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Move every pixel as ``libavutil/display.h`` defines: (p, q) to (a p + c q, b p + d q)."""
    rows, columns = np.indices(image.shape[:2])
    x, y = a * columns + c * rows, b * columns + d * rows
    x, y = x - x.min(), y - y.min()
    result = np.zeros((y.max() + 1, x.max() + 1, 3), image.dtype)
    result[y, x] = image
    return result


def set_matrix(path: Path, a: int, b: int, c: int, d: int, *rest: int) -> None:
    """Write a display matrix to an MP4 file's track header."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # version 0: the nine numbers follow 40 bytes
    plain = (ONE, 0, 0, 0, ONE, 0, 0, 0, LAST)
    assert struct.unpack_from(">9i", content, place) == plain
    x, y = rest or (0, 0)
    struct.pack_into(">9i", content, place, a, b, 0, c, d, 0, x, y, LAST)
    path.write_bytes(content)


@pytest.fixture
def video(write_video: WriteVideo, tmp_path: Path) -> Path:
    """A picture of which every quarter differs, 48 x 80, four times."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 10, 3), dtype=np.uint8)
    frames = noise.repeat(8, axis=1).repeat(8, axis=2)
    return write_video(tmp_path / "a.mp4", frames, codec="mpeg4", pix_fmt="yuv420p")


def test_there_are_eight() -> None:
    assert len(set(EIGHT)) == 8
    image = np.arange(3 * 3 * 3, dtype=np.uint8).reshape(3, 3, 3)
    assert len({shown(image, *four).tobytes() for four in EIGHT}) == 8


@pytest.mark.parametrize("four", EIGHT, ids=str)
@pytest.mark.parametrize("size", [None, (30, 50)])
def test_frames_of_a_file_are_turned_and_mirrored_as_its_matrix_says(
    video: Path, four: tuple[int, int, int, int], size: tuple[int, int] | None
) -> None:
    coded = list(read_frames(video))
    set_matrix(video, *(number * ONE for number in four))
    frames = list(read_frames(video, size))
    assert len(frames) == len(coded) == announced_frames(video)
    for frame, plain in zip(frames, coded, strict=True):
        expected = shown(plain, *four)
        assert frame.flags.c_contiguous
        np.testing.assert_array_equal(frame, expected if size is None else resize(expected, size))


def test_where_the_picture_lies_and_how_it_is_stretched_turns_nothing(video: Path) -> None:
    coded = next(read_frames(video))
    set_matrix(video, -ONE // 3, 0, 0, 2 * ONE, 80 * ONE, -5 * ONE)
    np.testing.assert_array_equal(next(read_frames(video)), coded[:, ::-1])


def test_a_blank_matrix_turns_nothing(video: Path) -> None:
    coded = next(read_frames(video))
    set_matrix(video, 0, 0, 0, 0)
    np.testing.assert_array_equal(next(read_frames(video)), coded)


def test_an_angle_that_is_right_but_for_rounding_is_right() -> None:
    for degrees in range(0, 360, 90):
        for off in (-0.9, 0.9):
            angle = math.radians(degrees + off)
            a, b = round(ONE * math.cos(angle)), round(ONE * math.sin(angle))
            angle = math.radians(degrees)
            right = round(math.cos(angle)), round(math.sin(angle))
            found = orientation_of((a, b, 0, -b, a, 0, 0, 0, LAST))
            assert found == orientation_of((*right, 0, -right[1], right[0], 0, 0, 0, 1))


def _turn(degrees: float) -> tuple[int, int, int, int]:
    a, b = (round(ONE * f(math.radians(degrees))) for f in (math.cos, math.sin))
    return a, b, -b, a


@pytest.mark.parametrize(
    ("four", "message"),
    [
        (_turn(45), "turns the picture by 45 degrees"),
        (_turn(-30), "turns the picture by -30 degrees"),
        (_turn(88), "turns the picture by 88 degrees"),
        ((ONE, 0, 0, 0), "flattens the picture"),
        ((ONE, ONE, ONE, ONE), "flattens the picture"),
        ((0, ONE, 0, ONE), "flattens the picture"),
        ((ONE, 0, ONE // 2, ONE), "shears the picture"),
    ],
)
def test_any_other_matrix_is_an_error_with_the_file_and_a_remedy(
    video: Path, four: tuple[int, int, int, int], message: str
) -> None:
    set_matrix(video, *four)
    with pytest.raises(VideoError, match=rf"a\.mp4: its display matrix {message}.*ffmpeg -display"):
        next(read_frames(video))


def test_a_perspective_is_refused() -> None:
    with pytest.raises(ValueError, match="perspective"):
        orientation_of((ONE, 0, 1, 0, ONE, 0, 0, 0, LAST))


def test_nothing_to_do_copies_nothing() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    assert orient(image, Orientation()) is image
