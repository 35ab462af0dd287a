"""Three held-out bags of the demo: their scores, their truth, and where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ladnet_fast._files import atomic_write_text
from ladnet_fast.data import read_frame_labels, read_manifest
from ladnet_fast.demo.bags import MANIFEST
from ladnet_fast.demo.reels import HELD_OUT
from ladnet_fast.demo.variants import DDL
from ladnet_fast.metrics import FrameAUC
from ladnet_fast.video.i3d import SNIPPET_FRAMES

from .. import machine, results

FILE = results.FOLDER / "front-page" / "demo-bags.json"
#: Whose scores are shown: the package's defaults, the first training.
TRIAL = f"{DDL}-seed0"


def choose(demo: Path) -> dict[str, Any]:
    """Return the anomalous held-out bags at the quartiles of their frame AUC, from a demo's folder.

    A rule chooses them, so nobody picked the ones that look best. Where a quartile falls between
    two bags, the worse one is taken.

    Parameters
    ----------
    demo : Path
        What ``ladnet-fast demo`` wrote.

    Returns
    -------
    dict
        ``bags``: of each ``name``, ``auc``, ``scores`` (T,) with four digits and ``truth``,
        [start, stop) in snippets of what is anomalous. ``of``: how many they were chosen from.
        Besides the command, date, processor and versions.

    Raises
    ------
    ValueError
        If the folder has no scores of `TRIAL`, or of fewer than four anomalous bags.
    """
    folder = demo / "scores" / TRIAL
    if not folder.is_dir():
        raise ValueError(
            f"{demo} has no folder scores/{TRIAL}; give the folder that this command writes: "
            "ladnet-fast demo"
        )
    found = []
    for video in read_manifest(demo / "bags" / MANIFEST):
        if video.split == HELD_OUT and video.label:
            assert video.frame_labels is not None  # the demo knows every frame
            frames = read_frame_labels(video.frame_labels)
            scores = np.load(folder / f"{video.name}.npy", allow_pickle=False)
            found.append(_describe(video.name, scores, frames))
    if len(found) < 4:
        raise ValueError(
            f"{demo} has {len(found)} anomalous held-out bags, and quartiles need four or more; "
            "give the folder that this command writes: ladnet-fast demo"
        )
    found.sort(key=lambda bag: (bag["auc"], bag["name"]))
    run = json.loads((demo / "run.json").read_text(encoding="utf-8"))
    return {
        "command": "ladnet-fast demo",
        "date": run["time"][:10],
        "processor": machine.processor_name(),
        "versions": run["versions"],
        "trial": TRIAL,
        "of": len(found),
        "bags": [found[(len(found) - 1) * quarter // 4] for quarter in (1, 2, 3)],
    }


def _describe(name: str, scores: np.ndarray, frames: np.ndarray) -> dict[str, Any]:
    figure = FrameAUC(SNIPPET_FRAMES)
    figure.update(torch.from_numpy(scores), torch.from_numpy(frames))
    steps = np.diff(np.concatenate([[0], frames[::SNIPPET_FRAMES].astype(np.int8), [0]]))
    starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return {
        "name": name,
        "auc": round(float(figure.compute()), 4),
        "scores": [round(float(score), 4) for score in scores],
        "truth": [list(run) for run in zip(starts.tolist(), stops.tolist(), strict=True)],
    }


def write(chosen: dict[str, Any], path: Path = FILE) -> None:
    """Write it as JSON, atomically, one line for each entry and bag."""
    head = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in chosen.items() if k != "bags"]
    bags = ",\n".join(f"  {json.dumps(bag)}" for bag in chosen["bags"])
    atomic_write_text(path, "{\n" + ",\n".join([*head, f' "bags": [\n{bags}\n ]']) + "\n}\n")


def read(path: Path = FILE) -> dict[str, Any]:
    """Read what `write` wrote."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
