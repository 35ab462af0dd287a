"""All runs of a study: a pool of processes, a file a run, and what is left after a stop."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ladnet_fast import __version__
from ladnet_fast._files import atomic_path, atomic_write_text

from . import datasets, training
from .grid import Grid, Setup

SCHEMA = 1
#: One thread a run: results don't depend on the number of workers.
THREADS = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One configuration, one data set, one seed."""

    source: str  # NAME=MANIFEST
    dataset: str
    digest: str
    name: str
    setup: Setup
    seed: int

    @property
    def key(self) -> str:
        """Hash of all that the result depends on; not of the configuration's name."""
        content = {
            "schema": SCHEMA,
            "version": __version__,
            "data": self.digest,
            "setup": self.setup.as_dict(),
            "seed": self.seed,
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, folder: Path) -> Path:
        """Return the run's result file; the scores lie beside it, with suffix .npz."""
        return folder / "runs" / f"{self.dataset}-s{self.seed}-{self.key}.json"


def jobs_of(sources: Sequence[str], grid: Grid, seeds: int) -> list[Job]:
    """Return all runs of a study, seed by seed, so that a stopped study is a smaller one.

    Raises
    ------
    DataError, FileNotFoundError
        From a manifest.
    ValueError
        If two data sets have one name.
    """
    loaded = {}
    for source in sources:
        name, _ = datasets.name_of(source)
        if name in loaded:
            raise ValueError(
                f"two manifests are called {name!r}; give names: NAME={source}, with another NAME"
            )
        loaded[name] = (source, _load(source))
    return [
        Job(source, name, dataset.digest, configuration, grid.setup(configuration, name), seed)
        for seed in range(seeds)
        for name, (source, dataset) in loaded.items()
        for configuration in grid.configurations
    ]


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    *,
    workers: int = 2,
    progress: Callable[[str], None] = print,
) -> None:
    """Do the runs whose files are not there yet.

    Raises
    ------
    RuntimeError
        If a run failed; the others are done first, and the message names all that failed.
    """
    todo = [job for job in _unique(jobs) if not job.path(folder).exists()]
    progress(f"{len(todo)} of {len(jobs)} runs are to do; results in {folder}")
    failed = []
    for done, (job, outcome) in enumerate(_outcomes(todo, folder, workers), start=1):
        label = f"{job.dataset} {job.name} seed {job.seed}"
        if isinstance(outcome, Exception):
            failed.append(f"{label}: {outcome}")
        progress(f"[{done}/{len(todo)}] {label}: {outcome}")
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(todo)} runs failed: " + "; ".join(failed))


def _outcomes(
    todo: Sequence[Job], folder: Path, workers: int
) -> Iterator[tuple[Job, str | Exception]]:
    if workers == 1 or len(todo) < 2:
        for job in todo:
            try:
                yield job, _work(job, folder)
            except Exception as error:
                yield job, error
        return
    # Spawned: a fork would copy the state of threads that torch may have started.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = {pool.submit(_work, job, folder): job for job in todo}
        for future in as_completed(waiting):
            failure = future.exception()
            if failure is not None and not isinstance(failure, Exception):
                raise failure
            yield waiting[future], future.result() if failure is None else failure


def _unique(jobs: Sequence[Job]) -> list[Job]:
    """Leave out configurations that are another one under a second name."""
    return list({(job.dataset, job.key): job for job in reversed(jobs)}.values())[::-1]


@lru_cache(maxsize=4)
def _load(source: str) -> datasets.DataSet:
    return datasets.load(source)


def _work(job: Job, folder: Path) -> str:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        result, scores = training.run(_load(job.source), job.setup, job.seed)
    finally:
        torch.set_num_threads(before)
    path = job.path(folder)
    # The scores first: a result file says that the run is whole.
    with atomic_path(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, scores=scores)
    content = {
        "schema": SCHEMA,
        "dataset": job.dataset,
        "digest": job.digest,
        "seed": job.seed,
        "setup": job.setup.as_dict(),
        "version": __version__,
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        **result,
    }
    atomic_write_text(path, json.dumps(content) + "\n")
    seconds = sum(result["train_seconds"]) + sum(result["score_seconds"])
    return f"{len(scores)} epochs in {seconds:.1f} s"


def read_run(job: Job, folder: Path) -> tuple[dict[str, Any], NDArray[np.float64]] | None:
    """Return a run's figures and scores (epochs, snippets), or None where it wasn't done."""
    path = job.path(folder)
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as content:
        return result, content["scores"].astype(np.float64)


def names_of(job: Job) -> list[str]:
    """Return the names of the test videos of a job's data set."""
    return [video.name for video in _load(job.source).tested]


def truth_of(job: Job) -> datasets.Truth:
    """Return the truth of a job's data set."""
    return _load(job.source).truth
