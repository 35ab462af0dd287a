"""Real sources: a file, one that grows, pipes, a folder, HTTP, RTSP, a device."""

from __future__ import annotations

import http.server
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ladnet_fast import LANet
from ladnet_fast.live import AlertRule, Settings, watch
from ladnet_fast.video import VideoError, read_frames

from .conftest import Brightness, Recording, levels_of
from .servers import RtspServer, http_server

SAID = [0.01, 0.01, 0.99, 0.99, 0.99, 0.01]
PATTERN = "ddLLLd"
Write = Callable[..., Path]
InThread = Callable[[Callable[[], object]], threading.Thread]


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv", "a.avi"])
def test_a_file_is_scored_to_its_end(
    model: LANet, write_levels: Write, tmp_path: Path, name: str
) -> None:
    path = write_levels(tmp_path / name, levels_of(PATTERN) + [30] * 5)
    heard, extractor = Recording(), Brightness()
    summary = watch(
        str(path), model, extractor, heard, settings=Settings(idle=0, rule=AlertRule(hold=1.5))
    )
    assert heard.values == SAID
    assert [score.first_frame for score in heard.scores] == [0, 16, 32, 48, 64, 80]
    assert [round(score.time, 2) for score in heard.scores] == [0, 0.64, 1.28, 1.92, 2.56, 3.2]
    assert heard.videos == [(str(path), 25.0, False)]
    assert [e.alert.state for e in heard.events] == ["start", "end"]
    assert (heard.events[0].alert.begin, heard.events[1].alert.reason) == (1.28, "release")
    counts = summary.counts
    assert (counts.frames, counts.incomplete, counts.dropped) == (101, 5, 0)
    assert (summary.snippets, summary.failed, summary.stopped) == (6, False, False)
    # pictures are those that features of files are made of
    seen = [level for snippet in extractor.seen for level in snippet]
    assert seen == [frame[0, 0, 0] for frame in read_frames(path)][:96]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.ts", {}),
        ("a.mkv", {}),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
    ],
    ids=["mpegts", "matroska", "fragmented-mp4"],
)
def test_a_file_is_scored_while_it_grows(
    model: LANet,
    write_levels: Write,
    in_thread: InThread,
    tmp_path: Path,
    name: str,
    options: dict[str, str],
) -> None:
    content = write_levels(
        tmp_path / f"whole-{name}", levels_of(PATTERN + "d"), options=options
    ).read_bytes()
    growing = tmp_path / name
    growing.write_bytes(content[: len(content) // 2])
    first_score, stop = threading.Event(), threading.Event()
    heard = Recording(
        lambda _: (first_score.set(), stop.set() if len(heard.scores) == len(SAID) else None)
    )

    def append() -> None:
        # What is there is scored before there is more.
        assert first_score.wait(30)
        with growing.open("ab") as file:
            for start in range(len(content) // 2, len(content), 500):
                file.write(content[start : start + 500])
                file.flush()

    in_thread(append)
    settings = Settings(idle=30)
    summary = watch(str(growing), model, Brightness(), heard, settings=settings, stop=stop)
    assert heard.values[: len(SAID)] == SAID
    assert (summary.stopped, summary.failed) == (True, False)


@pytest.mark.parametrize("kind", ["standard-input", "named-pipe"])
def test_a_pipe_is_scored_to_its_end_without_drops(
    model: LANet,
    write_levels: Write,
    in_thread: InThread,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    content = write_levels(tmp_path / "a.ts", levels_of(PATTERN)).read_bytes()
    if kind == "standard-input":
        reading, writing = os.pipe()
        monkeypatch.setattr(sys, "stdin", os.fdopen(reading, "rb"))
        source = "-"
    else:
        source = str(tmp_path / "fifo")
        os.mkfifo(source)

    def send() -> None:
        with os.fdopen(writing, "wb") if source == "-" else open(source, "wb") as file:
            for start in range(0, len(content), 1000):
                file.write(content[start : start + 1000])

    in_thread(send)
    heard = Recording()
    summary = watch(source, model, Brightness(), heard)
    assert heard.values == SAID
    assert (heard.videos[0][2], summary.counts.dropped, summary.failed) == (False, 0, False)


def test_a_folder_gives_what_is_there_and_what_arrives(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    folder, aside = tmp_path / "in", tmp_path / "aside"
    folder.mkdir(), aside.mkdir()
    first = write_levels(folder / "first.ts", levels_of("dL"))
    (folder / "not-a-video.mp4").write_bytes(b"no video at all")
    (folder / ".hidden.ts").write_bytes(first.read_bytes())
    (folder / "notes.txt").write_text("no video, and not named like one")
    os.utime(first, (1, 1))
    second = write_levels(aside / "second.mkv", levels_of("LLd"))
    stop = threading.Event()

    def arrive(score: object) -> None:
        if len(heard.scores) == 2:
            second.rename(folder / "second.mkv")
        if len(heard.scores) == 5:
            stop.set()

    heard = Recording(arrive)
    settings = Settings(settle=0, rule=AlertRule(hold=0.5))
    summary = watch(str(folder), model, Brightness(), heard, settings=settings, stop=stop)
    assert heard.values == [0.01, 0.99, 0.99, 0.99, 0.01]
    assert [(Path(s.source).name, s.snippet) for s in heard.scores] == [
        ("first.ts", 0), ("first.ts", 1), ("second.mkv", 0), ("second.mkv", 1), ("second.mkv", 2),
    ]  # fmt: skip
    # An event ends with its video, and the next video's is another one.
    assert [(e.alert.event, e.alert.state, e.alert.reason) for e in heard.events] == [
        (1, "start", None), (1, "end", "end"), (2, "start", None), (2, "end", "release"),
    ]  # fmt: skip
    ((name, reason),) = summary.counts.failures
    assert name == str(folder / "not-a-video.mp4")
    assert reason.startswith(name)
    assert reason in heard.notes
    assert summary.failed


def test_a_folders_files_that_are_there_can_be_left_out(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    write_levels(tmp_path / "old.ts", levels_of("L"))
    heard = Recording()
    settings = Settings(skip_existing=True, idle=0, settle=0)
    assert watch(str(tmp_path), model, Brightness(), heard, settings=settings).snippets == 0
    settings = Settings(idle=0, settle=0)
    assert watch(str(tmp_path), model, Brightness(), heard, settings=settings).snippets == 1


def test_a_recording_on_a_web_server_is_read_once_and_whole(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    content = write_levels(tmp_path / "a.mp4", levels_of(PATTERN)).read_bytes()
    content_ts = write_levels(tmp_path / "a.ts", levels_of(PATTERN)).read_bytes()

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        body = content_ts if request.path.endswith(".ts") else content
        start = int(request.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        request.send_response(206)
        request.send_header("Content-Length", str(len(body) - start))
        request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("Accept-Ranges", "bytes")
        request.end_headers()
        request.wfile.write(body[start:])

    with http_server(answer) as address:
        for name in ("a.ts", "a.mp4"):
            heard = Recording()
            summary = watch(f"{address}/{name}", model, Brightness(), heard)
            assert heard.values == SAID
            assert heard.videos == [(f"{address}/{name}", 25.0, False)]
            assert (summary.failed, summary.counts.reconnects) == (False, 0)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.ts", {}), ("a.mp4", {"movflags": "frag_keyframe+empty_moov"})],
    ids=["mpegts", "fragmented-mp4"],
)
def test_a_stream_over_http_is_connected_again_until_it_is_lost(
    model: LANet, write_levels: Write, tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    content = write_levels(tmp_path / name, levels_of(PATTERN), options=options).read_bytes()
    asked = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        if len(asked) > 2:
            request.send_error(404)
            return
        request.send_response(200)  # and no length: nobody knows where it ends
        request.end_headers()
        request.wfile.write(content)

    with http_server(answer) as address:
        heard = Recording()
        settings = Settings(reconnect=2, backoff=0, drop=False, rule=AlertRule(hold=1))
        summary = watch(f"{address}/live", model, Brightness(), heard, settings=settings)
    assert len(asked) == 4
    assert heard.values == SAID * 2
    # The number goes on over a reconnect, as the window does.
    assert [score.snippet for score in heard.scores] == list(range(12))
    assert all(a.time < b.time for a, b in zip(heard.scores, heard.scores[1:], strict=False))
    assert summary.counts.reconnects == 1
    ((_, reason),) = summary.counts.failures
    assert "is lost after 2 failed attempts to reconnect" in reason
    assert "404" in reason


def test_a_camera_over_rtsp_that_vanishes_is_connected_again(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    big = (320, 320)  # pictures that don't fit one packet
    path = write_levels(tmp_path / "a.ts", levels_of("dLL"), size=big)
    with RtspServer([path, path]) as server:
        heard = Recording()
        settings = Settings(reconnect=1, backoff=0, drop=False, rule=AlertRule(hold=1))
        summary = watch(server.address, model, Brightness(), heard, settings=settings)
    assert server.requests.count("PLAY") == 2
    assert heard.values == [0.01, 0.99, 0.99] * 2
    # An event ends where the camera is lost: what it sees later is another one.
    assert [(e.alert.event, e.alert.state, e.alert.reason) for e in heard.events] == [
        (1, "start", None), (1, "end", "lost"), (2, "start", None), (2, "end", "lost"),
    ]  # fmt: skip
    assert (summary.counts.reconnects, summary.counts.failed, summary.stopped) == (1, 1, False)
    told = " ".join([*heard.notes, *(score.source for score in heard.scores)])
    assert "is lost after 1 failed attempt to reconnect" in told
    assert "secret" not in told


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="devices of Linux")
def test_a_device_is_read_until_it_is_stopped(model: LANet) -> None:
    """One that is always faster than whoever reads it."""
    stop = threading.Event()
    heard = Recording(lambda score: stop.set() if score.snippet == 5 else None)
    settings = Settings(
        input_format="rawvideo",
        input_options={"video_size": "64x64", "pixel_format": "gray", "framerate": "25"},
    )
    summary = watch("/dev/zero", model, Brightness(), heard, settings=settings, stop=stop)
    assert heard.values[:6] == [0.01] * 6
    assert heard.videos == [("/dev/zero", 25.0, True)]
    assert (summary.stopped, summary.failed) == (True, False)
    read = 16 * summary.snippets + summary.counts.dropped
    assert read <= summary.counts.frames


def test_another_rate_is_made_and_told(model: LANet, write_levels: Write, tmp_path: Path) -> None:
    path = write_levels(tmp_path / "a.mkv", levels_of("dL", each=16), rate=5)
    heard = Recording()
    watch(str(path), model, Brightness(), heard, settings=Settings(idle=0))
    assert "5 frames per second" in heard.notes[0]
    assert "--fps 25" in heard.notes[0]
    assert [score.seconds for score in heard.scores] == pytest.approx([3.2, 3.2])
    heard = Recording()
    watch(str(path), model, Brightness(), heard, settings=Settings(idle=0, fps=25))
    assert heard.notes == []
    assert heard.values == [0.01] * 5 + [0.99] * 5  # 32 x 5 frames
    assert [score.seconds for score in heard.scores] == pytest.approx([0.64] * 10)


def test_what_cannot_be_opened_at_all_is_an_error(model: LANet, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(VideoError, match="a NumPy array, not a video"):
        watch(str(tmp_path / "a.npy"), model, Brightness(), Recording())
    with RtspServer([]) as server:
        server._thread.join(30)  # nobody listens any more
        with pytest.raises(VideoError, match=r"\*\*\*@127.0.0.1.*can't be opened"):
            watch(server.address, model, Brightness(), Recording())


def test_a_model_that_asks_by_sound_is_refused(tmp_path: Path) -> None:
    net = LANet(4, hidden_dim=4, mlp_dims=(1,), query_dim=3)
    with pytest.raises(ValueError, match="query_dim = 3"):
        watch("-", net, Brightness(), Recording())
