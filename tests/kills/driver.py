"""Kills commands in the middle, looks at what they left, and runs them again.

``python -m tests.kills.driver COMMAND FOLDER COUNT`` ends the command by SIGKILL at its first
rename, then at its second, and so on until it gets through; and then at COUNT random moments. After
each kill no visible file may be half written; the same command run again must give, byte for byte,
what a run without a kill gives, and leave nothing else behind.

Each run is a fork of this process, which has imported what the first run of its kind imported: so
hundreds of kills take seconds.
"""

from __future__ import annotations

import csv
import gc
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from ladnet_fast._files import remove_leftovers
from ladnet_fast._records import verify
from ladnet_fast._tensors import load_tensors, tensors_digest
from ladnet_fast.cli.app import app

from ..pixels import Pixels

VIDEOS = 3
#: What differs between two runs by nature: times and command lines.
VARYING = ("run.json",)


def prepare(folder: Path) -> None:
    """Make features, a manifest, videos and a trained model."""
    rng = np.random.default_rng(0)
    rows = ["video,features,label,num_frames,frames_per_snippet,fold,frame_labels"]
    for i in range(8):
        np.save(folder / f"v{i}.npy", rng.normal(size=(10, 6)).astype(np.float32) + i % 2)
        np.save(folder / f"gt{i}.npy", (np.arange(40) > 20) * (i % 2))
        rows.append(f"v{i},v{i}.npy,{i % 2},40,4,{i // 2 % 2},gt{i}.npy")
    (folder / "videos.csv").write_text("\n".join(rows) + "\n")
    (folder / "three.csv").write_text("\n".join(rows[:4]) + "\n")
    import av

    (folder / "clips").mkdir()
    for i in range(VIDEOS):
        with av.open(str(folder / "clips" / f"c{i}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for value in range(24):
                image = np.full((64, 64, 3), 5 * value + i, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    assert run_and_import(TRAIN(folder, folder / "model")) == 0


def TRAIN(folder: Path, out: Path) -> list[str]:
    """Train with validation and a test set."""
    return [
        "train", str(folder / "videos.csv"), "--out", str(out), "--epochs", "3",
        "--batch-size", "4", "--validation", "0.3", "--device", "cpu", "--no-tensorboard",
        "--set", "model.hidden_dim=8", "--set", "model.mlp_dims=[16, 8]",
        "--set", "training.checkpoint_steps=1", "--resume",
    ]  # fmt: skip


def SCORE(folder: Path, out: Path) -> list[str]:
    """Score a manifest, with plots."""
    return [
        "score", str(folder / "three.csv"), "--model", str(folder / "model"), "--out", str(out),
        "--device", "cpu",
    ]  # fmt: skip


def EXTRACT(folder: Path, out: Path) -> list[str]:
    """Extract the features of all crops of a folder of videos."""
    return ["extract", str(folder / "clips"), "--out", str(out), "--crops", "5", "--device", "cpu"]


COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "train": TRAIN,
    "score": SCORE,
    "extract": EXTRACT,
}


class Sketch:
    """A figure that is written as another, but not drawn, which would be most of the time."""

    def __init__(self, scores: np.ndarray, **shown: object) -> None:
        self.content = f"{scores.tolist()} {shown}".encode()

    def savefig(self, path: Path, **_: object) -> None:
        """Write what the figure would show, and the end of a picture."""
        path.write_bytes(self.content + b"IEND\xaeB`\x82")


def run(arguments: list[str], kill_at: int | None = None) -> int:
    """Run a command in a fork; with ``kill_at`` it ends itself by SIGKILL at that rename."""
    child = os.fork()
    if child == 0:
        _become(arguments, kill_at)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_and_import(arguments: list[str]) -> int:
    """Run a command in a fork, then import here what it imported: later forks have it from us."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become(arguments, None, tell_imports=writing)
    os.close(writing)
    with os.fdopen(reading) as told:
        names = told.read().split()
    for name in names:
        if name not in sys.modules:
            importlib.import_module(name)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(arguments: list[str], kill_at: int | None, tell_imports: int | None = None) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    if kill_at is not None:
        left = [kill_at]
        rename = Path.replace

        def replace(self: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(self, target)

        Path.replace = replace  # type: ignore[method-assign]
    from ladnet_fast.engine import score_files
    from ladnet_fast.video import extraction

    torch.manual_seed(0)
    model = Pixels().eval()
    extraction._pretrained = lambda *_: model
    score_files.score_figure = Sketch
    sys.argv = ["ladnet-fast", *arguments]
    try:
        app(arguments, prog_name="ladnet-fast")
    except SystemExit as end:
        if tell_imports is not None:
            os.write(tell_imports, "\n".join(_imported()).encode())
        os._exit(int(end.code or 0))
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(70)
    os._exit(0)


def _imported() -> list[str]:
    """Return the names of the modules that ``import`` knows by their names."""
    specs = {name: getattr(module, "__spec__", None) for name, module in sys.modules.items()}
    return [name for name, spec in specs.items() if spec is not None and spec.name == name]


def check_whole(folder: Path) -> None:
    """Raise where a visible file is half written or has other bytes than its record says."""
    for path in visible(folder):
        if path.suffix != ".csv" or path.name != "videos.csv":
            verify(path)
        text = path.read_bytes()
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        elif path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".yaml":
            assert yaml.safe_load(text)
        elif path.suffix == ".safetensors":
            load_tensors(path)
        elif path.suffix == ".png":
            assert text.endswith(b"IEND\xaeB`\x82"), path
        elif path.suffix == ".csv":
            rows = list(csv.reader(text.decode().splitlines()))
            assert len({len(row) for row in rows}) == 1, path
        else:
            raise AssertionError(f"{path} is left over")


def visible(folder: Path) -> list[Path]:
    """Return the files that a user sees."""
    if not folder.exists():
        return []
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def content(folder: Path) -> dict[str, bytes]:
    """Return what two runs must agree in."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in visible(folder)
        if path.name not in VARYING
    }


def _content(path: Path) -> bytes:
    if path.suffix != ".safetensors":
        return path.read_bytes()
    metadata, tensors = load_tensors(path)  # whose metadata the library writes in any order
    return tensors_digest(tensors, metadata).encode()


def check_again(name: str, folder: Path, out: Path, expected: dict[str, bytes], where: str) -> None:
    """Look at what a kill left, run the command again, and compare."""
    check_whole(out)
    status = run(COMMANDS[name](folder, out))
    assert status == 0, f"{where}: run again, it ended with {status}"
    found = content(out)
    different = {
        key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)
    }
    assert not different, f"{where}: run again, it differs in {sorted(different)}"
    left = [path for path in out.rglob(".ladnet-*") if path.name != ".ladnet"]
    assert not left, f"{where}: left {left}"


def kill_at_every_write(name: str, folder: Path, expected: dict[str, bytes]) -> int:
    """End the command at each rename in turn; return how many there are."""
    at = 0
    while True:
        at += 1
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        status = run(COMMANDS[name](folder, out), kill_at=at)
        if status == 0:
            return at - 1
        assert status == -signal.SIGKILL, f"{name}, write {at}: it ended with {status}"
        check_again(name, folder, out, expected, f"{name}, write {at}")


def kill_at_random(name: str, folder: Path, expected: dict[str, bytes], count: int) -> int:
    """End the command at random moments, several times before it is let through; return kills."""
    generator = random.Random(0)
    start = time.monotonic()
    run(COMMANDS[name](folder, folder / "timed"))
    length = time.monotonic() - start
    kills = 0
    while kills < count:
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                _become(COMMANDS[name](folder, out), None)
            time.sleep(generator.uniform(0, length))
            os.kill(child, signal.SIGKILL)
            kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            check_whole(out)
        check_again(name, folder, out, expected, f"{name}, random kill {kills}")
    return kills


def uninterrupted(name: str, folder: Path) -> dict[str, bytes]:
    """Run the command once without a kill and return what it gives."""
    out = folder / "whole"
    assert run_and_import(COMMANDS[name](folder, out)) == 0
    check_whole(out)
    remove_leftovers(out)
    return content(out)


def main() -> None:
    """Do what the arguments say and print how many kills there were."""
    name, place, count = sys.argv[1:]
    torch.set_num_threads(1)
    folder = Path(place)
    prepare(folder)
    gc.collect()
    gc.freeze()  # else every fork's garbage collector would copy all pages by looking at them
    expected = uninterrupted(name, folder)
    writes = kill_at_every_write(name, folder, expected)
    print(f"{writes} {kill_at_random(name, folder, expected, int(count))} kills")


if __name__ == "__main__":
    main()
