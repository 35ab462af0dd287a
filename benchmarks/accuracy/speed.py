"""Where the time of ``ladnet-fast train`` goes, beside the bare loop on the same bags.

Processor time of the process, not the clock's: it says nearly the same on a busy machine. Both
sides take turns, and the figure of each is the median over its epochs.
"""

from __future__ import annotations

import cProfile
import itertools
import pstats
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ladnet_fast._extras import import_extra
from ladnet_fast.data import BagDataset, Video, iter_crops, train_validation_split
from ladnet_fast.engine import Config, EpochRecord, Plan, Reporter, train

from . import datasets, study
from .grid import Setup, TrialConfig
from .training import Scorer, _train

#: What a reader sees, and the functions whose time it is: file's end, name.
_PARTS = {
    "reading bags": ("data/bags.py", "_read"),
    "padding batches": ("data/bags.py", "collate"),
    "forward, loss, backward, step": ("engine/run.py", "_part"),
    "scoring held-out videos": ("engine/validation.py", "__call__"),
    "model files": ("engine/weights.py", "save_model"),
    "checkpoints": ("engine/run.py", "_checkpoint"),
}


Preload = Literal["auto", True, False]


class _Clock(Reporter):
    """Takes the processor's time when training begins and after every epoch."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def start(self, plan: Plan) -> None:
        self.times = [time.process_time()]

    def epoch(self, record: EpochRecord) -> None:
        self.times.append(time.process_time())

    def seconds(self) -> list[float]:
        return [after - before for before, after in itertools.pairwise(self.times)]


def measure(
    source: str, epochs: int = 2, *, preload: Preload = "auto", rounds: int = 1, threads: int = 1
) -> dict[str, Any]:
    """Train on a manifest's training videos in both ways, which take turns.

    Parameters
    ----------
    source : str
        A manifest, as for `datasets.load`.
    epochs : int
        Of one training.
    preload : "auto", True or False
        ``training.preload``.
    rounds : int
        Trainings on each side.
    threads : int
        Of torch.

    Returns
    -------
    dict
        Seconds of processor time for one epoch, medians: ``bare`` (forward, loss, backward, step,
        bags in memory), ``bare_scoring`` (held-out videos one by one, in memory too), ``engine``
        (an epoch of ``ladnet-fast train`` after the first, where there is one); ``first`` is the
        engine's first epoch, ``setup`` what it needs once before that. ``parts`` are those of a
        mean epoch, profiled in a training of their own, which makes Python look dearer.
    """
    import_extra("sklearn.metrics", extra="tools", purpose="validate")  # its import is no epoch
    dataset = datasets.load(source)
    videos = list(dataset.parts[0].train)
    config = Config().replace(training={"epochs": epochs, "preload": preload, "device": "cpu"})
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    taken: dict[str, list[float]] = {
        name: [] for name in ("bare", "bare_scoring", "engine", "first", "setup")
    }
    try:
        kept, held_out = train_validation_split(
            videos, fraction=config.training.validation, seed=config.training.seed
        )
        bags = datasets.training_bags(kept, config.training)
        crops = [torch.from_numpy(c.features)[None] for v in held_out for c in iter_crops(v)]
        for _ in range(rounds):
            trained, scored = _bare(config, bags, crops)
            start = time.process_time()
            clock = _train_with_engine(config, videos)
            seconds = clock.seconds()
            taken["bare"] += trained
            taken["bare_scoring"] += scored
            taken["engine"] += seconds[1:] or seconds
            taken["first"].append(seconds[0])
            taken["setup"].append(clock.times[0] - start)
        profile = cProfile.Profile(time.process_time)
        profile.enable()
        _train_with_engine(config, videos)
        profile.disable()
    finally:
        torch.set_num_threads(threads_before)
    parts = {name: _cumulative(profile, *where) / epochs for name, where in _PARTS.items()}
    return {
        "schema": study.SCHEMA,
        "study": "speed",
        "dataset": dataset.name,
        "preload": preload,
        "bags": len(bags),
        "epochs": epochs,
        "rounds": rounds,
        "threads": threads,
        **{name: round(statistics.median(seconds), 3) for name, seconds in taken.items()},
        "parts": {name: round(seconds, 3) for name, seconds in parts.items()},
    }


def _bare(
    config: Config, bags: BagDataset, crops: Sequence[torch.Tensor]
) -> tuple[list[float], list[float]]:
    """Return the seconds of training and of scoring, epoch by epoch."""
    trained: list[float] = []
    scored: list[float] = []
    lengths = [torch.tensor([x.shape[1]]) for x in crops]
    start = time.process_time()

    def finish(score: Scorer, _: float) -> None:
        nonlocal start
        between = time.process_time()
        with torch.inference_mode():
            for x, length in zip(crops, lengths, strict=True):
                score(x, length)
        trained.append(between - start)
        start = time.process_time()
        scored.append(start - between)

    with torch.random.fork_rng(devices=[]):
        _train(bags, lambda x: x, Setup(config, TrialConfig()), config.training.seed, finish)
    return trained, scored


def _train_with_engine(config: Config, videos: Sequence[Video]) -> _Clock:
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        train(config, videos, run_dir=Path(folder) / "run", command=[], reporter=clock)
    return clock


def _cumulative(profile: cProfile.Profile, file: str, function: str) -> float:
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return sum(
        float(entry[3])
        for (path, _, name), entry in stats.items()
        if name == function and Path(path).as_posix().endswith(f"ladnet_fast/{file}")
    )
