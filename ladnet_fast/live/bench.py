"""Whether this machine keeps up with a camera: ``python -m ladnet_fast.live.bench``."""

from __future__ import annotations

import argparse
import http.server
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import torch

from .._allocator import keep_freed_memory
from ..nn import LANet
from ..video import I3D
from .extractors import i3d_extractor
from .loop import watch
from .results import Listener, Score
from .settings import Settings

_STEP = 0.04


def write_footage(path: Path, seconds: int, size: str, fps: int) -> None:
    """Write FFmpeg's moving test picture as H.264 in MPEG-TS."""
    with (
        av.open(f"testsrc2=size={size}:rate={fps}", format="lavfi") as source,
        av.open(str(path), "w", format="mpegts") as container,
    ):
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast"})
        width, height = map(int, size.split("x"))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            if number == seconds * fps:
                break
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())


@contextmanager
def camera(content: bytes, seconds: int) -> Iterator[str]:
    """Send a file over HTTP on loopback as fast as a camera would; yield the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server asks for
            self.send_response(200)
            self.end_headers()
            steps, start = round(seconds / _STEP), time.monotonic()
            try:
                for step in range(steps):
                    part = slice(len(content) * step // steps, len(content) * (step + 1) // steps)
                    self.wfile.write(content[part])
                    time.sleep(max(0.0, start + (step + 1) * _STEP - time.monotonic()))
            except ConnectionError:
                self.close_connection = True  # whoever watched has gone

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/live"
    finally:
        server.shutdown()
        server.server_close()


class _Delays(Listener):
    def __init__(self) -> None:
        self.delays: list[float] = []

    def score(self, score: Score) -> None:
        self.delays.append(score.delay)


def main() -> None:
    """Print what is scored, what is left out, and how late scores are, for each setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--crops", type=int, default=1)
    parser.add_argument("--precision", nargs="+", default=["float32"], metavar="DTYPE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.device}, {arguments.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "footage.ts")
        write_footage(path, arguments.seconds, arguments.size, arguments.fps)
        content = path.read_bytes()
    for precision in arguments.precision:
        network = I3D.from_pretrained(dtype=getattr(torch, precision)).to(arguments.device)
        extractor, heard = i3d_extractor(network, arguments.crops), _Delays()
        model = LANet(1024).to(arguments.device).eval()
        with camera(content, arguments.seconds) as address, keep_freed_memory():
            summary = watch(address, model, extractor, heard, settings=Settings(reconnect=0))
        counts, delays = summary.counts, sorted(heard.delays)
        print(
            f"{precision}, {arguments.crops} crops: {summary.snippets} snippets in "
            f"{summary.seconds:.1f} s ({summary.snippets / summary.seconds:.2f} per second, "
            f"{arguments.fps / extractor.frames_per_snippet:.2f} would keep up); "
            f"{counts.dropped} of {counts.frames} frames left out "
            f"({counts.dropped / counts.frames:.0%}); "
            f"delay {delays[len(delays) // 2]:.2f} s in the median, {delays[-1]:.2f} s at most"
        )


if __name__ == "__main__":
    main()
