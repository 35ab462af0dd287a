from __future__ import annotations

import math
import shlex
import shutil
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.video import VideoError, read_frames
from ladnet_fast.video.decode import Conversion, announced_frames, frame_rate
from ladnet_fast.video.frames import resize

WriteVideo = Callable[..., Path]


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 48, 64, 3), dtype=np.uint8)


def test_frames_come_back_as_written(
    write_video: WriteVideo, noise: np.ndarray, tmp_path: Path
) -> None:
    frames = list(read_frames(write_video(tmp_path / "a.mkv", noise)))
    assert all(frame.dtype == np.uint8 for frame in frames)
    np.testing.assert_array_equal(np.stack(frames), noise)


def test_size_and_max_frames_are_kept(
    write_video: WriteVideo, noise: np.ndarray, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.mkv", noise)
    frames = list(read_frames(str(path), size=(20, 30), max_frames=3))
    assert len(frames) == 3
    for frame, original in zip(frames, noise, strict=False):
        np.testing.assert_array_equal(frame, resize(original, (20, 30)))


def test_variable_frame_rate_gives_every_coded_frame_once(
    write_video: WriteVideo, noise: np.ndarray, tmp_path: Path
) -> None:
    pts = [0, 1, 2, 10, 11, 40, 41, 42, 90]
    path = write_video(tmp_path / "a.mkv", noise, pts=pts)
    np.testing.assert_array_equal(np.stack(list(read_frames(path))), noise)


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_conversion_is_that_of_each_frame_by_itself_whatever_came_before(order: int) -> None:
    av = pytest.importorskip("av")
    kinds = [
        (name, height, width, space, full)
        for name in ("yuv420p", "yuv444p", "gray", "rgb24")
        for height, width in ((32, 48), (33, 47))
        for space in (1, 5, 9)  # BT.709, BT.601, BT.2020
        for full in (1, 2)
    ]
    generator, conversion = np.random.default_rng(1), Conversion()
    seen = []
    for name, height, width, space, full in kinds[::order] * 2:
        plain = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(plain, format="rgb24").reformat(format=name)
        frame.colorspace, frame.color_range = space, full
        found = conversion.of(frame)
        np.testing.assert_array_equal(found, frame.to_ndarray(format="rgb24"))
        seen.append(found)
    assert {image.shape for image in seen} == {(32, 48, 3), (33, 47, 3)}


def turn_in_metadata(path: Path, degrees: int) -> None:
    """Set the rotation (clockwise, as players show it) in an MP4 file's track header."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # version 0: the nine numbers follow 40 bytes
    one = 1 << 16
    cos, sin = (round(f(math.radians(degrees))) * one for f in (math.cos, math.sin))
    numbers = (cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30)
    assert struct.unpack_from(">9i", content, matrix) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", content, matrix, *numbers)
    path.write_bytes(content)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_metadata_is_applied(
    write_video: WriteVideo, tmp_path: Path, degrees: int
) -> None:
    frames = np.zeros((4, 64, 96, 3), np.uint8)
    frames[:, :32, :48] = 255  # white in the upper left quarter
    path = write_video(tmp_path / "a.mp4", frames, codec="mpeg4", pix_fmt="yuv420p")
    turn_in_metadata(path, degrees)
    expected = np.rot90(frames[0], -degrees // 90)
    for frame in read_frames(path):
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 16


def test_size_of_the_first_frame_holds_when_it_changes(
    write_video: WriteVideo, tmp_path: Path
) -> None:
    parts = []
    for name, height in (("a.ts", 64), ("b.ts", 96)):
        frames = np.full((5, height, 96, 3), 128, np.uint8)
        path = write_video(tmp_path / name, frames, codec="mpeg2video", pix_fmt="yuv420p")
        parts.append(path.read_bytes())
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(parts))
    shapes = [frame.shape for frame in read_frames(joined)]
    assert len(shapes) > 5
    assert set(shapes) == {(64, 96, 3)}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "mpeg4", {}),
        ("a.mp4", "mpeg4", {"movflags": "faststart"}),
        ("a.mkv", "mpeg4", {}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_a_cut_file_is_an_error_that_names_it(
    write_video: WriteVideo, tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (100, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / name, frames, codec=codec, pix_fmt="yuv420p", options=options)
    assert len(list(read_frames(path))) == 100
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(VideoError, match=name):
        list(read_frames(path))


@pytest.mark.parametrize(
    "name", ["a b.mkv", "-y.mkv", "it's $HOME;`x`.mkv", "a:b.mkv", "\N{EURO SIGN}\n%d.mkv"]
)
def test_the_command_that_mends_a_file_reaches_the_shell_as_it_is_meant(
    write_video: WriteVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (100, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "whole.mkv", frames, codec="mpeg4", pix_fmt="yuv420p")
    cut = tmp_path / name
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    monkeypatch.chdir(tmp_path)  # the name is given without its folder, as one types it
    with pytest.raises(VideoError) as caught:
        list(read_frames(name))
    command = str(caught.value).partition("for example with: ")[2]
    mended = tmp_path / f"{cut.stem}-mended.mp4"
    assert shlex.split(command) == ["ffmpeg", "-i", str(cut), str(mended)]
    if ffmpeg := shutil.which("ffmpeg"):
        monkeypatch.chdir("/")
        command = command.replace("ffmpeg", f"{shlex.quote(ffmpeg)} -v error", 1)
        subprocess.run(command, shell=True, check=True, capture_output=True)
        assert 40 < len(list(read_frames(mended))) < 60


def test_other_files_are_errors_that_name_them(tmp_path: Path) -> None:
    pytest.importorskip("av")
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    for name, message in [
        ("text.mp4", "not a video that FFmpeg can read"),
        ("empty.mp4", "not a video that FFmpeg can read"),
        ("absent.mp4", "no such file"),
        ("sound.wav", "holds no video stream; is it an audio file"),
    ]:
        with pytest.raises(VideoError, match=f"{name}: {message}"):
            list(read_frames(tmp_path / name))
        with pytest.raises(VideoError, match=name):
            announced_frames(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 5)}, "size must be"),
        ({"size": (5,)}, "size must be"),
        ({"max_frames": 0}, "max_frames must be"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_frames(tmp_path / "a.mp4", **arguments)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_announced_frames_serve_a_progress_bar(
    write_video: WriteVideo, noise: np.ndarray, tmp_path: Path, name: str
) -> None:
    path = write_video(tmp_path / name, noise)
    assert announced_frames(path) == len(noise)


def test_the_rate_of_frames_is_the_files(
    write_video: WriteVideo, noise: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "a:b.mkv", noise)
    monkeypatch.chdir(tmp_path)
    assert frame_rate("a:b.mkv") == 25
    with pytest.raises(VideoError, match=r"absent\.mp4: no such file"):
        frame_rate("absent.mp4")


def test_without_pyav_the_package_imports_and_decoding_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    code = (
        "import sys; sys.modules['av'] = None\n"
        "import ladnet_fast.video as video\n"
        "try: next(video.read_frames('a.mp4'))\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "pip install 'ladnet-fast[video]'" in done.stdout
