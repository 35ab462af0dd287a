"""What breaks is named and counted, and the rest goes on."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast import LANet
from ladnet_fast.live import AlertRule, Settings, watch
from ladnet_fast.live.reader import Reader
from ladnet_fast.video import VideoError

from .conftest import Brightness, Recording, av, levels_of
from .servers import http_server

Write = Callable[..., Path]


def test_a_live_source_that_is_too_fast_loses_whole_snippets_and_they_are_counted(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    levels = [20 + i for i in range(160)]  # every picture is another one
    path = write_levels(tmp_path / "a.mkv", levels, codec="ffv1")

    def until_all_is_read() -> None:
        (reader,) = (t for t in threading.enumerate() if isinstance(t, Reader))
        while reader.counts.frames < 160:
            time.sleep(0.001)

    heard, extractor = Recording(), Brightness(before=until_all_is_read)
    settings = Settings(drop=True, backlog=2, idle=0)
    summary = watch(str(path), model, extractor, heard, settings=settings)
    counts = summary.counts
    assert 1 <= summary.snippets <= 3  # one is being scored, and two wait
    assert counts.dropped + counts.incomplete + 16 * summary.snippets == counts.frames == 160
    assert counts.dropped > 0
    assert heard.videos[0][2]
    for score, seen in zip(heard.scores, extractor.seen, strict=True):
        steps = np.diff(seen.astype(int))
        assert np.abs(steps - 1).max() <= 1  # pictures that follow one another, up to rounding
        assert abs(int(seen[0]) - levels[score.first_frame]) <= 2
        assert score.time == pytest.approx(score.first_frame / 25)


def test_files_lose_nothing_however_slow_the_machine_is(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    path = write_levels(tmp_path / "a.mkv", levels_of("dLdLdLdL"))
    slow = Brightness(before=lambda: time.sleep(0.01))
    summary = watch(str(path), model, slow, Recording(), settings=Settings(idle=0, backlog=1))
    assert (summary.snippets, summary.counts.dropped) == (8, 0)


def test_a_packet_that_cannot_be_decoded_is_left_out_and_told(
    model: LANet, write_png: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    path = write_png(tmp_path / "a.mov", 49)
    content = bytearray(path.read_bytes())
    fifth = -1
    for _ in range(5):
        fifth = content.index(b"\x89PNG", fifth + 1)
    content[fifth : fifth + 60] = bytes(60)
    path.write_bytes(content)
    heard = Recording()
    summary = watch(str(path), model, Brightness(), heard, settings=Settings(idle=0))
    assert (summary.snippets, summary.counts.frames, summary.counts.damaged) == (3, 48, 1)
    assert summary.counts.failures == [(str(path), f"{path}: 1 packet can't be decoded")]
    assert summary.failed


@pytest.fixture
def write_png() -> Callable[[Path, int], Path]:
    def write(path: Path, count: int) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("png", rate=25)
            stream.width, stream.height, stream.pix_fmt = 80, 64, "rgb24"
            for _ in range(count):
                image = np.full((64, 80, 3), 200, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


def test_a_video_that_changes_size_goes_on_in_its_first_size(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    small = write_levels(tmp_path / "small.ts", levels_of("dd")[:-4])
    large = write_levels(tmp_path / "large.ts", levels_of("LL") + [220] * 4, size=(128, 96))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    heard, shapes = Recording(), []

    class Shapes(Brightness):
        def __call__(self, frames: np.ndarray) -> np.ndarray:
            shapes.append(frames.shape)
            return super().__call__(frames)

    summary = watch(str(both), model, Shapes(), heard, settings=Settings(idle=0))
    assert set(shapes) == {(16, 32, 40, 3)}
    assert heard.values == [0.01, 0.01, 0.99, 0.99]
    assert (summary.counts.size_changes, summary.failed) == (1, False)
    times = [score.time for score in heard.scores]
    assert times == pytest.approx([0, 0.64, 1.28, 1.92], abs=0.05)  # although timestamps jump back


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp2", rate=16_000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 16_000), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_source_without_pictures_is_named(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    path = sound_only(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match=r"a\.mkv: holds no video stream; it holds audio"):
        watch(str(path), model, Brightness(), Recording(), settings=Settings(idle=0))
    write_levels(tmp_path / "b.mkv", levels_of("L"))
    heard = Recording()
    summary = watch(str(tmp_path), model, Brightness(), heard, settings=Settings(idle=0, settle=0))
    assert heard.values == [0.99]
    assert [name for name, _ in summary.counts.failures] == [str(path)]


def test_an_mp4_file_without_its_index_says_what_to_record_instead(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    path = write_levels(tmp_path / "a.mp4", levels_of("dL"))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(VideoError, match=r"index at its end\. Record as MPEG-TS"):
        watch(str(path), model, Brightness(), Recording(), settings=Settings(idle=0))


@contextlib.contextmanager
def silent_server(content: bytes) -> Iterator[str]:
    """A stream that begins and then keeps silent, until the test has ended."""
    over = threading.Event()

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(content)
        over.wait(60)

    with http_server(answer) as address:
        try:
            yield address
        finally:
            over.set()


def test_a_camera_that_falls_silent_is_lost(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    content = write_levels(tmp_path / "a.ts", levels_of("LLLL")).read_bytes()
    heard = Recording()
    with silent_server(content) as address:
        settings = Settings(timeout=2, reconnect=0, drop=False, rule=AlertRule(hold=0.5))
        summary = watch(f"{address}/live", model, Brightness(), heard, settings=settings)
    assert heard.values[:3] == [0.99] * 3
    ((_, reason),) = summary.counts.failures
    assert "broke off after frame" in reason
    assert "no answer in time" in reason
    assert heard.events[-1].alert.reason == "lost"


def test_a_watch_of_a_silent_source_can_be_stopped(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    content = write_levels(tmp_path / "a.ts", levels_of("LLLL")).read_bytes()
    stop = threading.Event()
    heard = Recording(lambda score: stop.set() if score.snippet == 2 else None)
    with silent_server(content) as address:
        settings = Settings(timeout=5, drop=False, rule=AlertRule(hold=0.5))
        summary = watch(address, model, Brightness(), heard, settings=settings, stop=stop)
    assert (summary.stopped, summary.failed) == (True, False)
    assert heard.events[-1].alert.reason == "stopped"


def test_an_error_of_the_extractor_ends_the_watch_and_the_reader(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    def fail() -> None:
        raise MemoryError("none left")

    path = write_levels(tmp_path / "a.mkv", levels_of("L" * 8))
    with pytest.raises(MemoryError, match="none left"):
        watch(str(path), model, Brightness(before=fail), Recording(), settings=Settings(idle=0))
    for thread in threading.enumerate():
        if isinstance(thread, Reader):
            thread.join(30)
            assert not thread.is_alive()


def test_scores_that_wait_for_a_future_are_given_at_the_end(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    path = write_levels(tmp_path / "a.mkv", levels_of("dLLdL"))
    heard = Recording()
    settings = Settings(idle=0, delay=3, window=10, rule=AlertRule(hold=1))
    watch(str(path), model, Brightness(), heard, settings=settings)
    assert heard.values == [0.01, 0.99, 0.99, 0.01, 0.99]
    assert [score.snippet for score in heard.scores] == [0, 1, 2, 3, 4]
    assert heard.events[0].alert.begin == pytest.approx(0.64)
