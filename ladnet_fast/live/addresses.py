"""Kinds of sources: a camera, an address, a file that grows, a folder, a pipe."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from dataclasses import dataclass
from typing import Literal

from ..video import VideoError

Kind = Literal["device", "network", "file", "folder", "pipe"]

#: Protocols that are read; each is FFmpeg's of this name.
PROTOCOLS = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "udp", "tcp", "rtp")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Source:
    """Where frames come from.

    Attributes
    ----------
    kind : {"device", "network", "file", "folder", "pipe"}
        How it is read.
    address : str
        What is opened: a path, an address, or ``-`` for standard input.
    name : str
        What messages and lines of JSON call it: without a user's name and password.
    """

    kind: Kind
    address: str
    name: str

    @property
    def lasts(self) -> bool:
        """Whether it has no end of its own, so that an end is a loss: a camera, or an address."""
        return self.kind in ("device", "network")


def parse_source(given: str) -> Source:
    """Recognise what kind of source is meant.

    Parameters
    ----------
    given : str
        ``-`` for standard input; a number or the path of a device for a camera; an address such
        as ``rtsp://host/stream``; the path of a file, a named pipe or a folder. A file whose name
        is a number is ``./0``.

    Raises
    ------
    VideoError
        If there is nothing of that name, or the protocol is not one that is read.
    """
    if given == "-":
        return Source("pipe", given, "standard input")
    if given.isascii() and given.isdigit():
        given = f"/dev/video{int(given)}"
        return _device(given)
    if found := _ADDRESS.fullmatch(given):
        return _network(given, found[1].lower())
    try:
        mode = os.stat(given).st_mode
    except FileNotFoundError as error:
        if given.startswith("/dev/"):
            return _device(given)
        raise VideoError(
            f"{given}: no such file or folder; a source is a camera (0 or /dev/video0), an address "
            f"({PROTOCOLS[0]}://..., {PROTOCOLS[2]}://...), a file, a folder, or - for a pipe"
        ) from error
    if stat.S_ISCHR(mode):
        return _device(given)
    if stat.S_ISDIR(mode):
        return Source("folder", given, given)
    return Source("pipe" if stat.S_ISFIFO(mode) else "file", given, given)


def _device(path: str) -> Source:
    if not sys.platform.startswith("linux"):
        raise VideoError(
            f"{path}: cameras are opened by their device on Linux only; elsewhere send the "
            "camera's pictures through a pipe: ffmpeg ... -f mpegts - | ladnet-fast watch - ..."
        )
    if not os.path.exists(path):
        there = sorted(glob.glob("/dev/video*"))
        known = f"there are {', '.join(there)}" if there else "this machine has no /dev/video*"
        raise VideoError(f"{path}: no such device; {known}. Is the camera connected?")
    return Source("device", path, path)


def _network(given: str, protocol: str) -> Source:
    name = without_password(given)
    if protocol not in PROTOCOLS:
        hint = "give the file's path" if protocol == "file" else f"use {', '.join(PROTOCOLS)}"
        raise VideoError(f"{name}: addresses of {protocol}:// are not read; {hint}")
    return Source("network", given, name)


def without_password(address: str) -> str:
    """Return an address with ``***`` for a user's name and password, and for what follows a ``?``.

    Both may be secrets, and output is often kept in logs.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return address
    place, _, path = found[2].partition("/")
    _, at, host = place.rpartition("@")
    path, asks, _ = path.partition("?")
    rest = f"/{path}" if "/" in found[2] else ""
    return f"{found[1]}://{'***@' if at else ''}{host}{rest}{'?***' if asks else ''}"
