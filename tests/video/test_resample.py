"""Frames by time: the nearest to k / rate, whatever the video's own rate."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast._records import record_of
from ladnet_fast.video import I3D, VideoError, extract_to_files, iter_features, read_frames
from ladnet_fast.video.resample import Timed, require_rate, resample, unusual

WriteVideo = Callable[..., Path]
MakeFrames = Callable[..., np.ndarray]


def chosen(times: list[Fraction], durations: list[Fraction], rate: Fraction) -> list[int]:
    """Numbers of the frames that come out, one by one."""
    frames = ((Timed(*moment), i) for i, moment in enumerate(zip(times, durations, strict=True)))
    return [i for i, count in resample(frames, rate) for _ in range(count)]


def nearest(times: list[Fraction], last: Fraction, rate: Fraction) -> list[int]:
    """The definition, by trying every frame; of two at one distance, the earlier."""
    shifted = [time - times[0] for time in times]
    numbers, k = [], 0
    while k == 0 or k / rate < shifted[-1] + last:
        numbers.append(min(range(len(times)), key=lambda i: (abs(shifted[i] - k / rate), i)))
        k += 1
    return numbers


@pytest.mark.parametrize("rate", ["0.5", "5", "12.5", "25", "29.97", "60"])
@pytest.mark.parametrize("own", ["1", "5", "25", "29.97", "50", "120"])
@pytest.mark.parametrize("start", [0, 3])
def test_a_steady_video_gives_the_nearest_frames(own: str, rate: str, start: int) -> None:
    step = 1 / Fraction(own)
    times = [start + i * step for i in range(41)]
    found = chosen(times, [step] * 41, Fraction(rate))
    assert found == nearest(times, step, Fraction(rate))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("known", [True, False])
def test_an_unsteady_video_gives_the_nearest_frames(seed: int, known: bool) -> None:
    draw = np.random.default_rng(seed)
    gaps = [Fraction(int(n), 1000) for n in draw.integers(1, 300, 30)]
    times = [Fraction(7) + sum(gaps[:i], Fraction(0)) for i in range(31)]
    durations = [*gaps, Fraction(1, 10)] if known else [Fraction(0)] * 31
    found = chosen(times, durations, Fraction(25))
    assert found == nearest(times, Fraction(1, 10) if known else gaps[-1], Fraction(25))
    assert found == sorted(found)


def test_frames_that_are_not_later_than_the_one_before_are_passed_over() -> None:
    times = [Fraction(n, 25) for n in (0, 1, 1, 0, 2)]
    assert chosen(times, [Fraction(1, 25)] * 5, Fraction(25)) == [0, 1, 4]


@pytest.mark.parametrize("times", [[], [Fraction(5)]])
def test_none_and_one_frame(times: list[Fraction]) -> None:
    assert chosen(times, [Fraction(0)] * len(times), Fraction(25)) == [0] * len(times)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "25", True, 1001])
def test_a_rate_that_is_none_is_refused(fps: object) -> None:
    with pytest.raises(
        ValueError, match=r"fps must be None or frames per second from 0\.01 to 1000"
    ):
        require_rate(fps)  # type: ignore[arg-type]


def test_a_video_is_read_at_another_rate(
    write_video: WriteVideo, grey_frames: MakeFrames, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.mkv", grey_frames(40))  # 25 frames per second
    values = [int(frame[0, 0, 0]) // 5 for frame in read_frames(path, fps=12.5)]
    assert values == list(range(0, 40, 2))
    twice = [int(frame[0, 0, 0]) // 5 for frame in read_frames(path, fps=50, max_frames=9)]
    assert twice == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    same = np.stack(list(read_frames(path, fps=25)))
    np.testing.assert_array_equal(same, np.stack(list(read_frames(path))))


def test_a_varying_rate_is_evened_out_by_times(
    write_video: WriteVideo, grey_frames: MakeFrames, tmp_path: Path
) -> None:
    pts = [0, 1, 2, 12, 13, 14]  # of 25 per second: a gap of ten
    path = write_video(tmp_path / "a.mkv", grey_frames(6), pts=pts)
    values = [int(frame[0, 0, 0]) // 5 for frame in read_frames(path, fps=25)]
    assert values[:13] == [0, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]
    assert values[13:15] == [4, 5]


def test_features_files_and_manifest_remember_the_rate(
    write_video: WriteVideo, grey_frames: MakeFrames, pixel_model: I3D, tmp_path: Path
) -> None:
    path, out = write_video(tmp_path / "a.mkv", grey_frames(40)), tmp_path / "out"
    (done,) = extract_to_files([path], out, model=pixel_model, fps=50)
    assert (done.num_snippets, done.num_frames) == (5, 80)
    record = record_of(done.features[0])
    assert record is not None
    assert record.made["settings"]["fps"] == 50
    assert (out / "videos.csv").read_text().splitlines() == [
        "video,features,label,num_frames,frames_per_snippet,fps", "a,a.npy,,80,16,50",
    ]  # fmt: skip
    (again,) = extract_to_files([path], out, model=pixel_model, fps=50)
    assert again.reused
    with pytest.raises(ValueError, match=r"fps 50\.0 then, None now"):
        extract_to_files([path], out, model=pixel_model)
    extract_to_files([path], out, model=pixel_model, overwrite=True)
    assert (out / "videos.csv").read_text().splitlines()[1] == "a,a.npy,,40,16,"


def test_a_video_too_short_at_that_rate_is_named(
    write_video: WriteVideo, grey_frames: MakeFrames, pixel_model: I3D, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.mkv", grey_frames(40))
    with pytest.raises(VideoError, match=r"has 8 frames at 5 per second, but a snippet is 16"):
        list(iter_features(path, model=pixel_model, fps=5))


@pytest.mark.parametrize(("rate", "told"), [(5, True), (19.9, True), (20, False), (60, True)])
def test_rates_far_from_the_usual_are_told_with_the_remedy(rate: float, told: bool) -> None:
    note = unusual(rate)
    assert (note is not None) == told
    assert note is None or "--fps 25" in note
    assert unusual(None) is None
