"""Whether this machine keeps up with a camera: ``python -m benchmarks camera``."""

from __future__ import annotations

import http.server
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer

from ladnet_fast._allocator import keep_freed_memory
from ladnet_fast._extras import import_extra
from ladnet_fast.nn import LANet

from .i3d import dtype_of

#: Seconds between two writes of the stream.
_STEP = 0.04


def write_footage(path: Path, seconds: int, size: str, fps: int) -> None:
    """Write FFmpeg's moving test picture as H.264 in MPEG-TS."""
    import av

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
def stream(content: bytes, seconds: int) -> Iterator[str]:
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


def camera(
    seconds: Annotated[int, typer.Option(min=1, help="Length of the stream.")] = 40,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the stream.")] = "640x360",
    fps: Annotated[int, typer.Option(min=1, help="Frames per second of the stream.")] = 25,
    crops: Annotated[int, typer.Option(help="Crops of every frame.")] = 1,
    precision: Annotated[
        list[str] | None, typer.Option(help="float32 (default) or bfloat16; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Default: torch's own choice.")] = None,
) -> None:
    """Watch a camera's stream: what is scored, what is left out, and how late scores are.

    Example: python -m benchmarks camera --precision float32 --precision bfloat16 --seconds 25
    """
    import_extra("av", extra="video", purpose="write and watch a stream")
    dtypes = [dtype_of(name, "--precision") for name in precision or ["float32"]]
    torch.set_num_threads(threads or torch.get_num_threads())
    typer.echo(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "footage.ts")
        write_footage(path, seconds, size, fps)
        content = path.read_bytes()
    for dtype in dtypes:
        found = _watch(content, seconds, fps, crops, dtype, device)
        typer.echo(f"{str(dtype).removeprefix('torch.')}, {crops} crops: {found}")


def _watch(
    content: bytes, seconds: int, fps: int, crops: int, dtype: torch.dtype, device: str
) -> str:
    from ladnet_fast.live.extractors import i3d_extractor
    from ladnet_fast.live.loop import watch
    from ladnet_fast.live.results import Listener, Score
    from ladnet_fast.live.settings import Settings
    from ladnet_fast.video import I3D

    delays: list[float] = []

    class Delays(Listener):
        def score(self, score: Score) -> None:
            delays.append(score.delay)

    extractor = i3d_extractor(I3D.from_pretrained(dtype=dtype).to(device), crops)
    model = LANet(1024).to(device).eval()
    with stream(content, seconds) as address, keep_freed_memory():
        summary = watch(address, model, extractor, Delays(), settings=Settings(reconnect=0))
    counts = summary.counts
    delays.sort()
    return (
        f"{summary.snippets} snippets in {summary.seconds:.1f} s "
        f"({summary.snippets / summary.seconds:.2f} per second, "
        f"{fps / extractor.frames_per_snippet:.2f} would keep up); "
        f"{counts.dropped} of {counts.frames} frames left out "
        f"({counts.dropped / counts.frames:.0%}); "
        f"delay {delays[len(delays) // 2]:.2f} s in the median, {delays[-1]:.2f} s at most"
    )
