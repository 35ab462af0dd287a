"""What a source is, told by how it is written and by what is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ladnet_fast.live import parse_source
from ladnet_fast.live.addresses import without_password
from ladnet_fast.video import VideoError

linux = pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="devices of Linux")


def test_standard_input_is_a_minus() -> None:
    assert parse_source("-").kind == "pipe"


@pytest.mark.parametrize("address", ["rtsp://cam/1", "HTTP://cam/live.ts", "srt://10.0.0.1:9000"])
def test_an_address_is_one_by_its_protocol(address: str) -> None:
    source = parse_source(address)
    assert (source.kind, source.address, source.lasts) == ("network", address, True)


def test_files_and_folders_are_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "7").write_bytes(b"")
    assert parse_source(str(tmp_path)).kind == "folder"
    assert parse_source(str(tmp_path / "7")).kind == "file"
    os.mkfifo(tmp_path / "fifo")
    assert parse_source(str(tmp_path / "fifo")).kind == "pipe"


@linux
def test_a_device_is_one_that_the_system_calls_so() -> None:
    assert parse_source("/dev/zero").kind == "device"


@linux
@pytest.mark.parametrize("given", ["97", "/dev/video97"])
def test_a_camera_that_is_not_there_is_named(given: str) -> None:
    with pytest.raises(VideoError, match="/dev/video97: no such device"):
        parse_source(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nothing.mp4", "no such file or folder; a source is"),
        ("file:///tmp/a.mp4", "give the file's path"),
        ("gopher://u:p@host/x", r"gopher://\*\*\*@host/x: addresses of gopher:// are not read"),
    ],
)
def test_what_is_no_source_is_refused_with_what_is(given: str, says: str) -> None:
    with pytest.raises(VideoError, match=says):
        parse_source(given)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("rtsp://admin:p@ss@cam:554/1", "rtsp://***@cam:554/1"),
        ("http://cam/x.ts?token=abc", "http://cam/x.ts?***"),
        ("http://user@cam", "http://***@cam"),
        ("clips/a@b?.mp4", "clips/a@b?.mp4"),
    ],
)
def test_what_may_be_a_secret_is_not_shown(address: str, shown: str) -> None:
    assert without_password(address) == shown
