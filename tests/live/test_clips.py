"""Files of events: clips of the coded packets, pictures of the peaks, programs that are told."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast import LANet
from ladnet_fast.live import AlertRule, Settings, clips, watch
from ladnet_fast.live.commands import CommandRunner

from .conftest import Brightness, Recording, av, levels_of

Write = Callable[..., Path]


def decoded(path: Path) -> list[tuple[float, int]]:
    """Times of the frames, and how light they are."""
    with av.open(str(path)) as container:
        return [
            (float(frame.time), int(frame.to_ndarray(format="rgb24").mean()))
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize(
    ("codec", "name", "suffix"),
    [("libx264", "a.ts", ".mp4"), ("mpeg4", "a.avi", ".mp4"), ("mjpeg", "a.mkv", ".mkv")],
)
def test_a_clip_holds_the_event_and_the_seconds_about_it(
    model: LANet, write_levels: Write, tmp_path: Path, codec: str, name: str, suffix: str
) -> None:
    path = write_levels(tmp_path / name, levels_of("dddLLLdddd"), codec=codec)
    heard = Recording()
    settings = Settings(
        idle=0, rule=AlertRule(hold=1), clips=tmp_path / "clips", before=0.5, after=0.5
    )
    summary = watch(str(path), model, Brightness(), heard, settings=settings)
    assert (summary.clips, summary.failed_clips, summary.failed) == (1, 0, False)
    (clip,) = (tmp_path / "clips").iterdir()
    assert {event.clip for event in heard.events} == {clip}
    assert clip.suffix == suffix
    frames = decoded(clip)
    light = [time for time, level in frames if level > 120]
    assert len(light) == 48
    assert frames[0][0] == pytest.approx(0, abs=0.05)
    # From a key frame, of which every eighth is one, at least half a second before.
    assert 0.5 - 0.05 <= light[0] <= 0.5 + 8 / 25 + 0.05
    # Up to half a second after the event's last frame ends, however far the scores lag behind.
    assert frames[-1][0] - light[-1] == pytest.approx(0.5 + 1 / 25, abs=0.03)


@pytest.mark.parametrize("after", [0, 0.3, 2.0])
def test_a_clip_does_not_depend_on_how_far_the_scores_lag_behind(
    model: LANet,
    write_levels: Write,
    tmp_path: Path,
    after: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every packet there before the first score, and with the next one after each score."""
    path = write_levels(tmp_path / "a.ts", levels_of("ddLLdLdddd"))
    everything = threading.Event()
    add = clips.ClipRecorder.add

    def counted(recorder: clips.ClipRecorder, packet: object, time: float) -> None:
        add(recorder, packet, time)
        if time >= 159 / 25 - 1e-3:
            everything.set()

    def kept(name: str, extractor: Brightness, backlog: int) -> list[list[tuple[float, int]]]:
        settings = Settings(
            idle=0, rule=AlertRule(hold=0), clips=tmp_path / name, before=0.5, after=after,
            backlog=backlog,
        )  # fmt: skip
        watch(str(path), model, extractor, Recording(), settings=settings)
        return [decoded(clip) for clip in sorted((tmp_path / name).iterdir())]

    monkeypatch.setattr(clips.ClipRecorder, "add", counted)
    late = kept("late", Brightness(before=lambda: everything.wait(60)), backlog=100)
    assert everything.is_set()
    assert len(late) == 2
    assert late == kept("prompt", Brightness(), backlog=1)


def test_packets_that_wait_for_a_score_are_bounded(
    model: LANet, write_levels: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit they are written before it is known that they belong to the event."""
    path = write_levels(tmp_path / "a.ts", levels_of("LL"))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        recorder = clips.ClipRecorder(
            tmp_path / "clips", before=0, after=0, longest=100, tell=pytest.fail
        )
        recorder._stream = stream
        monkeypatch.setattr(clips, "MOST_BYTES", 3 * max(packet.size for packet in packets))
        for i, packet in enumerate(packets):
            recorder.add(packet, i / 25)
            if i == 0:
                recorder.start("a", 0, datetime(2026, 1, 1, tzinfo=timezone.utc))
            clip = recorder._clip
            assert clip is not None
            assert clip.waiting_bytes == sum(packet.size for _, packet in clip.waiting)
            assert clip.waiting_bytes <= clips.MOST_BYTES
            assert clip.waiting or i == 0
        recorder.cut()
    assert (recorder.written, recorder.failed) == (1, 0)


def test_a_clip_ends_with_its_video_and_at_its_longest(
    model: LANet, write_levels: Write, tmp_path: Path
) -> None:
    path = write_levels(tmp_path / "a.ts", levels_of("dLLLLLLLLL"))
    settings = Settings(idle=0, rule=AlertRule(hold=0), clips=tmp_path / "whole", before=0)
    watch(str(path), model, Brightness(), Recording(), settings=settings)
    (clip,) = (tmp_path / "whole").iterdir()
    assert len([level for _, level in decoded(clip) if level > 120]) == 9 * 16
    settings = Settings(
        idle=0, rule=AlertRule(hold=0), clips=tmp_path / "short", before=0, longest_clip=2
    )
    watch(str(path), model, Brightness(), Recording(), settings=settings)
    (clip,) = (tmp_path / "short").iterdir()
    assert decoded(clip)[-1][0] == pytest.approx(2, abs=0.2)


def test_packets_that_no_clip_needs_are_forgotten(
    model: LANet, write_levels: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    forget = clips.ClipRecorder._forget

    def counted(recorder: clips.ClipRecorder) -> None:
        forget(recorder)
        kept.append(len(recorder._ring))

    monkeypatch.setattr(clips.ClipRecorder, "_forget", counted)
    path = write_levels(tmp_path / "a.ts", levels_of("d" * 12))
    settings = Settings(idle=0, clips=tmp_path / "clips", before=0.5, backlog=1)
    watch(str(path), model, Brightness(), Recording(), settings=settings)
    # half a second, a group of pictures, and snippets that wait for their score
    assert max(kept) <= 13 + 8 + 16 * 4 < 12 * 16
    monkeypatch.setattr(clips, "MOST_BYTES", 1500)
    kept.clear()
    settings = Settings(idle=0, clips=tmp_path / "clips", before=1000)
    watch(str(path), model, Brightness(), Recording(), settings=settings)
    assert max(kept) < 12 * 16


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk of Linux")
def test_a_full_disk_costs_the_clip_and_nothing_else(
    model: LANet, write_levels: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        yield Path("/dev/full")

    path = write_levels(tmp_path / "a.ts", levels_of("dLdL"))
    heard = Recording()
    settings = Settings(
        idle=0, rule=AlertRule(hold=0), clips=tmp_path / "clips", thumbnails=tmp_path / "pictures"
    )
    monkeypatch.setattr("ladnet_fast.live.clips.atomic_path", full)
    monkeypatch.setattr("ladnet_fast.live.evidence.atomic_path", full)
    summary = watch(str(path), model, Brightness(), heard, settings=settings)
    assert heard.values == [0.01, 0.99, 0.01, 0.99]
    assert (summary.alerts, summary.clips, summary.failed_clips) == (2, 0, 2)
    assert (summary.thumbnails, summary.failed_thumbnails) == (0, 4)
    assert summary.failed
    assert len([note for note in heard.notes if "No space left on device" in note]) == 6
    assert any(str(tmp_path / "clips") in note for note in heard.notes)


def test_a_picture_shows_the_peak(model: LANet, write_levels: Write, tmp_path: Path) -> None:
    path = write_levels(tmp_path / "a b.ts", levels_of("ddLLdL"))
    heard = Recording()
    settings = Settings(idle=0, rule=AlertRule(hold=1), thumbnails=tmp_path / "pictures")
    summary = watch(str(path), model, Brightness(), heard, settings=settings)
    (picture,) = (tmp_path / "pictures").iterdir()
    assert picture.name.endswith("-a-b-1.jpg")
    assert heard.events[0].thumbnail == picture
    assert (summary.thumbnails, summary.failed_thumbnails) == (1, 0)
    ((_, level),) = decoded(picture)
    assert abs(level - 220) < 6


@pytest.mark.parametrize("shape", [(257, 455, 3), (256, 256, 3)], ids=["odd", "even"])
def test_a_picture_is_a_jpeg_file_of_its_colours(shape: tuple[int, ...], tmp_path: Path) -> None:
    image = np.zeros(shape, np.uint8)
    image[:, :128] = (200, 40, 40)
    (tmp_path / "a.jpg").write_bytes(clips.jpeg(image))
    with av.open(str(tmp_path / "a.jpg")) as container:
        (frame,) = container.decode(video=0)
    shown = frame.to_ndarray(format="rgb24")
    assert shown.shape == (shape[0] // 2 * 2, shape[1] // 2 * 2, 3)
    assert np.abs(shown[100, 60].astype(int) - (200, 40, 40)).max() <= 6
    assert np.abs(shown[100, 250].astype(int)).max() <= 6


def test_no_file_is_replaced(tmp_path: Path) -> None:
    wall = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    first = clips.free_path(tmp_path, "../a/b:c", wall, ".mkv")
    assert first == tmp_path / "20260102T030405Z-a-b-c.mkv"
    first.touch()
    assert clips.free_path(tmp_path, "../a/b:c", wall, ".mkv").name.endswith("-a-b-c-2.mkv")


def python(code: str, *arguments: object) -> str:
    import shlex

    return shlex.join([sys.executable, "-c", code, *map(str, arguments)])


def test_a_program_gets_the_lines_one_after_the_other(tmp_path: Path) -> None:
    out = tmp_path / "told.txt"
    told: list[str] = []
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    runner = CommandRunner(python(code, out), timeout=60, tell=told.append)
    for number in range(3):
        runner.give(json.dumps({"event": number, "name": "a; rm -rf $HOME"}))
    runner.close()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["event"] for line in lines] == [0, 1, 2]
    assert lines[0]["name"] == "a; rm -rf $HOME"
    assert (runner.started, runner.failed, told) == (3, 0, [])


def test_a_program_that_fails_is_named_and_the_next_one_starts() -> None:
    told: list[str] = []
    runner = CommandRunner("sh -c 'exit 3'", timeout=60, tell=told.append)
    runner.give("{}")
    runner.give("{}")
    runner.close()
    assert (runner.started, runner.failed) == (2, 2)
    assert told == ["--exec sh -c 'exit 3': ended with status 3"] * 2
    slow = CommandRunner("sleep 60", timeout=0.05, tell=told.append)
    slow.give("{}")
    slow.close()
    assert "took more than 0.05 seconds and was killed" in told[-1]


@pytest.mark.parametrize("command", ["", "no-such-program-here x", "sh -c 'open"])
def test_a_program_that_is_not_there_is_refused_at_once(command: str) -> None:
    with pytest.raises(ValueError, match="--exec"):
        CommandRunner(command, timeout=1, tell=print)
