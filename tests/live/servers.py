"""Servers on loopback: RTSP as cameras speak it (H.264 in RTP over TCP), and HTTP."""

from __future__ import annotations

import contextlib
import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av

_CLOCK = 90_000
_PAYLOAD = 1200


class RtspServer:
    """Plays one video file for each connection, then hangs up: a camera that vanishes.

    ``turns`` holds for each connection the file; after the last one connections are refused.
    """

    def __init__(self, turns: list[Path]) -> None:
        self._turns = turns
        self.requests: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RtspServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        # shutdown wakes a thread that waits in accept; close alone does not
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(30)

    @property
    def address(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.port}/live"

    def _serve(self) -> None:
        for path in self._turns:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self._talk(connection, path)
        self._socket.close()

    def _talk(self, connection: socket.socket, path: Path) -> None:
        file = connection.makefile("rb")
        while line := file.readline():
            method = line.split()[0].decode()
            headers = {}
            while (header := file.readline().strip()) != b"":
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            self.requests.append(method)
            answer, body = [f"CSeq: {headers['cseq']}", "Session: 1"], ""
            if method == "OPTIONS":
                answer.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == "DESCRIBE":
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
                    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                    "a=fmtp:96 packetization-mode=1\r\na=framerate:25\r\na=control:track\r\n"
                )
                answer += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                answer.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            text = "\r\n".join(["RTSP/1.0 200 OK", *answer, "", body])
            connection.sendall(text.encode())
            if method == "PLAY":
                for packet in rtp_packets(path):
                    connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
                return


def rtp_packets(path: Path) -> Iterator[bytes]:
    """Cut an H.264 video into RTP packets (RFC 6184, single units and FU-A)."""
    sequence = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if not packet.size:
                continue
            stamp = int(packet.pts * packet.time_base * _CLOCK)
            units = [unit for unit in _units(bytes(packet)) if unit]
            for i, unit in enumerate(units):
                pieces = list(_pieces(unit))
                for j, piece in enumerate(pieces):
                    last = i == len(units) - 1 and j == len(pieces) - 1
                    head = struct.pack(">BBHII", 0x80, 96 | last << 7, sequence, stamp, 1)
                    sequence = (sequence + 1) & 0xFFFF
                    yield head + piece


def _units(data: bytes) -> Iterator[bytes]:
    for part in data.split(b"\0\0\1"):
        yield part.rstrip(b"\0")


def _pieces(unit: bytes) -> Iterator[bytes]:
    if len(unit) <= _PAYLOAD:
        yield unit
        return
    indicator, kind = unit[0] & 0xE0 | 28, unit[0] & 0x1F
    body = unit[1:]
    for start in range(0, len(body), _PAYLOAD):
        piece = body[start : start + _PAYLOAD]
        first, last = start == 0, start + _PAYLOAD >= len(body)
        yield bytes([indicator, first << 7 | last << 6 | kind]) + piece


@contextlib.contextmanager
def http_server(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None],
) -> Iterator[str]:
    """Answer every GET with a function; yields the server's address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
