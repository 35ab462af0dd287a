"""Video files to scores, end to end: ``python -m benchmarks.extraction``.

Every engine and precision scores one clip by the command line, in a process of its own, in turns;
beside it what decoding and the network alone reach, in the same run. Reports frames per second,
the highest memory of the process, and how far features and scores are from those of the first. With
``--decoders`` instead: several videos that are decoded at once, for a network that costs nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

CHOICES = ("torch:fp32", "torch:bf16", "openvino:fp32", "openvino:bf16", "openvino:int8")


class Call(NamedTuple):
    """Seconds and MiB of one process."""

    seconds: float
    mebibytes: float


def demo_footage() -> list[Path]:
    """Return the two large ones of the videos that the demo fetches."""
    from ladnet_fast.demo.footage import fetch_shipped

    return [file for file in fetch_shipped() if file.name in ("bikes.mp4", "bigbuckbunny.mp4")]


def write_clip(path: Path, seconds: float, footage: list[Path]) -> None:
    """Write H.264 of real footage, 640x360 at 25 frames/s: forwards and backwards until it lasts.

    MPEG-4 where there is no encoder of H.264.
    """
    import av

    frames: list[Any] = []
    for file in footage:
        with av.open(str(file)) as source:
            shown = [
                frame.reformat(640, 360, "rgb24").to_ndarray() for frame in source.decode(video=0)
            ]
        frames += shown + shown[-2:0:-1]
    with av.open(str(path), "w") as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 360, 640, "yuv420p"
        for i in range(round(25 * seconds)):
            image = frames[i % len(frames)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def score(clip: Path, model: Path, out: Path, options: list[str], source: str) -> Call:
    """Score a clip by the command line of the source tree ``source``."""
    command = [
        sys.executable, "-m", "ladnet_fast.cli", "score", str(clip), "--model", str(model),
        "--out", str(out), "--no-plots", *options,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": source}
    start = time.perf_counter()
    # In the tree itself: Python looks into the current folder before PYTHONPATH.
    process = subprocess.Popen(command, cwd=source, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Call(seconds, usage.ru_maxrss / 1024)


def parts(
    clip: Path, choices: list[str], folder: Path, device: str, snippets: int = 16
) -> dict[str, float]:
    """Return frames a second of decoding with resizing, and of each network on a clip's frames."""
    from ladnet_fast._allocator import keep_freed_memory
    from ladnet_fast.video.extractors import I3DExtractor, make_extractor
    from ladnet_fast.video.features import centre_snippets

    described: Any = I3DExtractor(lambda: None)  # type: ignore[arg-type, return-value]
    start = time.perf_counter()
    taken = centre_snippets(clip, described, 10**9)
    speeds = {"decoding and resizing": len(taken) * 16 / (time.perf_counter() - start)}
    batches = [np.concatenate(taken[i : i + 8]) for i in range(0, min(snippets, len(taken)), 8)]
    with keep_freed_memory():
        for choice in choices:
            engine, precision = choice.split(":")
            extractor: Any = make_extractor(
                "i3d", device=device, engine=engine, precision=precision
            )
            if hasattr(extractor, "place"):
                extractor.place(folder / choice.replace(":", "-") / "features", [clip])
            extractor.load()
            extractor(batches[0])
            start = time.perf_counter()
            for batch in batches:
                extractor(batch)
            speeds[choice] = 16 * sum(map(len, batches)) / (time.perf_counter() - start)
            del extractor
    return speeds


class Free:
    """A network that costs nothing: what remains is decoding, resizing and files."""

    name, width, frames_per_snippet, device = "free", 1, 16, "cpu"
    settings: ClassVar = {"network": "free", "weights": "", "precision": "float32"}

    def __init__(self) -> None:
        from ladnet_fast.video.extractors import Preparation

        self.preparation = Preparation(256, 224)

    def load(self) -> None:
        """Do nothing."""

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Describe every snippet by zero."""
        return np.zeros((len(clips), 1), np.float32)


def decoding(clip: Path, decoders: list[int], rounds: int, folder: Path) -> dict[int, float]:
    """Return frames a second of extracting copies of a clip with a free network, in turns."""
    from ladnet_fast.video import extract_to_files

    copies = [folder / f"copy{i}.mp4" for i in range(2 * max(decoders))]
    for copy in copies:
        copy.symlink_to(clip)
    seconds: dict[int, list[float]] = {number: [] for number in decoders}
    for _ in range(rounds):
        for number in decoders:
            start = time.perf_counter()
            done = extract_to_files(
                copies, folder / "free", model=Free(), overwrite=True, decoders=number
            )
            seconds[number].append(time.perf_counter() - start)
    frames = sum(video.num_frames or 0 for video in done)
    return {number: frames / statistics.median(each) for number, each in seconds.items()}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("choices", nargs="*", default=list(CHOICES), help="ENGINE:PRECISION")
    parser.add_argument(
        "--footage", type=Path, nargs="+", help="what the clip shows; default: the demo's videos"
    )
    parser.add_argument("--seconds", type=float, default=180, help="length of the clip, 640x360")
    parser.add_argument("--warm", type=float, default=32, help="seconds of the clip before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="where the network computes")
    parser.add_argument("--before", help="source tree of an earlier version, scored in fp32 first")
    parser.add_argument("--no-parts", action="store_true", help="only end to end")
    parser.add_argument(
        "--decoders", type=int, nargs="+", default=[],
        help="only decode, so many videos at once, for a network that costs nothing",
    )  # fmt: skip
    arguments = parser.parse_args()
    here = str(Path(__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, model = folder / "clip.mp4", folder / "model.safetensors"
        footage = arguments.footage or demo_footage()
        write_clip(clip, arguments.seconds, footage)
        _save_model(model)
        frames = round(25 * arguments.seconds)
        if arguments.decoders:
            for number, speed in decoding(
                clip, arguments.decoders, arguments.rounds, folder
            ).items():
                print(f"{number} at once: {speed:.0f} frames/s")
            print(f"{processor()}, {os.cpu_count()} cores; {frames} frames of 640x360")
            return
        on = ["--device", arguments.device]
        rows = {choice: ([*_options(choice), *on], here) for choice in arguments.choices}
        if arguments.before:
            rows = {"before": (on, str(Path(arguments.before).resolve())), **rows}
        # Conversion and calibration, once and for all, and Python's files.
        warm = folder / "warm.mp4"
        write_clip(warm, arguments.warm, footage)
        for name, (options, source) in rows.items():
            score(warm, model, folder / name.replace(":", "-"), options, source)
        calls: dict[str, list[Call]] = {name: [] for name in rows}
        for _ in range(arguments.rounds):
            for name, (options, source) in rows.items():
                out, again = folder / name.replace(":", "-"), [*options, "--overwrite"]
                calls[name].append(score(clip, model, out, again, source))
        speeds = (
            {} if arguments.no_parts else parts(warm, arguments.choices, folder, arguments.device)
        )
        print(f"{processor()}, {os.cpu_count()} cores; {frames} frames of 640x360", end="")
        print(f"; {arguments.rounds} rounds in turns, medians; Python {platform.python_version()}")
        if speeds:
            print(f"decoding and resizing alone: {speeds['decoding and resizing']:.0f} frames/s")
        _print_table(folder, calls, frames, speeds)


def _print_table(
    folder: Path, calls: dict[str, list[Call]], frames: int, speeds: dict[str, float]
) -> None:
    print("| | end to end, frames/s | times | network alone | MiB | feature error | score error |")
    print("|---|---|---|---|---|---|---|")
    first = next(iter(calls))
    base = statistics.median(call.seconds for call in calls[first])
    for name, made in calls.items():
        seconds = statistics.median(call.seconds for call in made)
        kept = [folder / n.replace(":", "-") for n in (first, name)]
        reference, features = (np.load(place / "features" / "clip.npy") for place in kept)
        one, other = (np.load(place / "clip.npy") for place in kept)
        error = np.linalg.norm(features - reference, axis=1) / np.linalg.norm(reference, axis=1)
        network = f"{speeds[name]:.0f}" if name in speeds else ""
        print(
            f"| {name} | {frames / seconds:.0f} | {base / seconds:.2f} | {network} | "
            f"{max(call.mebibytes for call in made):.0f} | {np.median(error):.1e}, at most "
            f"{error.max():.1e} | {np.abs(one - other).max():.1e} |"
        )


def _options(choice: str) -> list[str]:
    engine, precision = choice.split(":")
    return ["--engine", engine, "--precision", precision]


def _save_model(path: Path) -> None:
    import torch

    from ladnet_fast.engine import ModelConfig, save_model

    torch.manual_seed(0)
    config = ModelConfig(feature_dim=1024)
    save_model(path, config.build(), config)


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if "model name" in line), "?")


if __name__ == "__main__":
    main()
