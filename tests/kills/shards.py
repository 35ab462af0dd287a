"""Several processes share a command's videos, and some of them are killed.

``python -m tests.kills.shards alike COMMAND FOLDER`` starts two, three and four processes at once
and compares what they give together with what one process gives. ``killed COMMAND FOLDER COUNT``
ends some of them by SIGKILL at random moments, and lets another number of processes, at last one,
do what is missing.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

from ladnet_fast._files import remove_leftovers

from . import driver

VIDEOS = 6


def prepare(folder: Path) -> None:
    """Make what the driver makes, with more videos."""
    driver.VIDEOS = VIDEOS
    driver.prepare(folder)


def SCORE(folder: Path, out: Path) -> list[str]:
    """Score video files."""
    return [
        "score", str(folder / "clips"), "--model", str(folder / "wide.safetensors"), "--out",
        str(out), "--device", "cpu", "--no-plots",
    ]  # fmt: skip


COMMANDS = {"extract": driver.EXTRACT, "score": SCORE}


def start(arguments: list[str], shard: str, environment: dict[str, str] | None = None) -> int:
    """Start a command in a fork as one of several; return its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.environ.update(environment or {})
        driver._become([*arguments, *(["--shard", shard] if shard else [])], None)
    return child


def end(child: int) -> int:
    """Wait for a process and return its status."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def together(name: str, folder: Path, out: Path, count: int, *, launcher: bool = False) -> None:
    """Let ``count`` processes do a command at the same time; all must end well."""
    arguments = COMMANDS[name](folder, out)
    if launcher:
        torchrun = [{"RANK": str(i), "WORLD_SIZE": str(count)} for i in range(count)]
        children = [start(arguments, "", variables) for variables in torchrun]
    else:
        children = [start(arguments, f"{i + 1}/{count}") for i in range(count)]
    statuses = [end(child) for child in children]
    assert statuses == [0] * count, f"{name}, {count} processes ended with {statuses}"


def content(out: Path) -> dict[str, bytes]:
    """Return the files; of a manifest the rows, whose order is that in which videos were done."""
    files = driver.content(out)
    for path in list(files):
        if Path(path).name == "videos.csv":
            header, *rows = csv.reader(files[path].decode().splitlines())
            files[path] = json.dumps([header, sorted(rows)]).encode()
    return files


def check(name: str, out: Path, expected: dict[str, bytes], where: str) -> None:
    """Compare with what one process gives; and nothing may be left over."""
    driver.check_whole(out)
    found = content(out)
    different = {k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)}
    assert not different, f"{where}: differs in {sorted(different)}"
    remove_leftovers(out)
    left = [path for path in out.rglob(".ladnet-*") if path.name != ".ladnet"]
    assert not left, f"{where}: left {left}"


def calls(out: Path) -> list[dict[str, object]]:
    """Return what run.json tells of every process that got to its end."""
    run = json.loads((out / "run.json").read_text())
    earlier: list[dict[str, object]] = run.pop("earlier", [])
    return [*earlier, run]


def times(out: Path) -> dict[Path, int]:
    """Return when the arrays were written."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.npy")}


def alike(name: str, folder: Path) -> int:
    """Two, three and four processes give what one gives, each its part; return how many ran."""
    expected = alone(name, folder)
    started = 0
    for count in (2, 3, 4):
        out = folder / f"shared{count}"
        together(name, folder, out, count, launcher=count == 3)
        started += count
        check(name, out, expected, f"{count} processes")
        parts = [_part(call) for call in calls(out)]
        assert sorted(parts) == [f"{i + 1}/{count}" for i in range(count)], parts
        # Other processes, in another number, find everything.
        before = times(out)
        together(name, folder, out, 5 - count if count < 4 else 2)
        assert times(out) == before, "what was there was done again"
        check(name, out, expected, f"{count} processes, and again")
    return started


def _part(call: dict[str, object]) -> object:
    options = call.get("options", call)
    assert isinstance(options, dict)
    return options["shard"]


def killed(name: str, folder: Path, count: int) -> int:
    """Kill processes at random moments; return how many were."""
    expected = alone(name, folder)
    generator = random.Random(1)
    begin = time.monotonic()
    together(name, folder, folder / "timed", 3)
    length = time.monotonic() - begin
    kills = 0
    while kills < count:
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        # Another number of processes each time: the parts are not those of the time before.
        for processes in (3, 2, 4):
            arguments = COMMANDS[name](folder, out)
            children = [start(arguments, f"{i + 1}/{processes}") for i in range(processes)]
            for child in children[: processes - 1]:
                time.sleep(generator.uniform(0, length / processes))
                os.kill(child, signal.SIGKILL)
            statuses = [end(child) for child in children]
            assert statuses[-1] == 0, f"the process that nobody killed ended with {statuses[-1]}"
            kills += statuses.count(-signal.SIGKILL)
            driver.check_whole(out)
        assert driver.run(COMMANDS[name](folder, out)) == 0
        check(name, out, expected, f"after {kills} kills")
    return kills


def alone(name: str, folder: Path) -> dict[str, bytes]:
    """Do the command by one process and return what it gives."""
    out = folder / "alone"
    assert driver.run_and_import(COMMANDS[name](folder, out)) == 0
    return content(out)


def main() -> None:
    """Do what the arguments say and print how many processes there were, or kills."""
    from ladnet_fast.engine import ModelConfig, save_model

    how, name, place, *count = sys.argv[1:]
    torch.set_num_threads(1)
    folder = Path(place)
    prepare(folder)
    config = ModelConfig(feature_dim=1024, hidden_dim=8, mlp_dims=(8, 4))
    torch.manual_seed(0)
    save_model(folder / "wide.safetensors", config.build(), config)
    number = alike(name, folder) if how == "alike" else killed(name, folder, int(count[0]))
    print(f"{number} {how}")


if __name__ == "__main__":
    main()
