"""Where the time of ``ladnet-fast train`` goes, beside the bare loop on the same bags.

Processor time of the process, not the clock's: it says the same on a busy machine.
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ladnet_fast._extras import import_extra
from ladnet_fast.data import train_validation_split
from ladnet_fast.engine import Config, train

from . import datasets, study
from .grid import Setup, TrialConfig
from .training import _train

#: What a reader sees, and the functions whose time it is: file's end, name.
_PARTS = {
    "reading bags": ("data/bags.py", "_read"),
    "padding batches": ("data/bags.py", "collate"),
    "forward, loss, backward, step": ("engine/run.py", "_part"),
    "scoring held-out videos": ("engine/validation.py", "__call__"),
    "model files": ("engine/weights.py", "save_model"),
    "checkpoints": ("engine/run.py", "_checkpoint"),
}


def measure(source: str, epochs: int = 2, *, preload: bool = False) -> dict[str, Any]:
    """Train on a manifest's training videos in both ways, one thread each.

    Returns
    -------
    dict
        Seconds of processor time for one epoch: ``bare`` (forward, loss, backward, step, bags in
        memory), ``engine`` (all of ``ladnet-fast train``), ``parts`` of the engine's, and
        ``setup``, what the engine needs once.
    """
    import_extra("sklearn.metrics", extra="tools", purpose="validate")  # its import is no epoch
    dataset = datasets.load(source)
    videos = list(dataset.parts[0].train)
    config = Config().replace(training={"epochs": epochs, "preload": preload, "device": "cpu"})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        kept, _ = train_validation_split(videos, fraction=config.training.validation, seed=0)
        bags = datasets.training_bags(kept, config.training)
        with torch.random.fork_rng(devices=[]):
            bare = _processor_time(
                lambda: _train(
                    bags, lambda x: x, Setup(config, TrialConfig()), 0, lambda score, seconds: None
                )
            )
        profile = cProfile.Profile(time.process_time)
        with tempfile.TemporaryDirectory() as folder:
            profile.enable()
            engine = _processor_time(
                lambda: train(config, videos, run_dir=Path(folder) / "run", command=[])
            )
            profile.disable()
    finally:
        torch.set_num_threads(threads)
    parts = {name: _cumulative(profile, *where) / epochs for name, where in _PARTS.items()}
    return {
        "schema": study.SCHEMA,
        "study": "speed",
        "dataset": dataset.name,
        "preload": preload,
        "bags": len(bags),
        "epochs": epochs,
        "bare": round(bare / epochs, 3),
        "engine": round(engine / epochs, 3),
        "parts": {name: round(seconds, 3) for name, seconds in parts.items()},
    }


def _processor_time(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _cumulative(profile: cProfile.Profile, file: str, function: str) -> float:
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return sum(
        float(entry[3])
        for (path, _, name), entry in stats.items()
        if name == function and Path(path).as_posix().endswith(f"ladnet_fast/{file}")
    )
