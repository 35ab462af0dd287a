"""What scoring in bf16 costs in accuracy: ``python -m benchmarks.scoring_precision``.

Scores labelled videos with trained models in fp32 and in bf16, and prints how far the scores move
and what that does to AUC and AP, and how many different scores there are: in fp32, in bf16, and
where the scores themselves are computed in bf16, too. With ``--time`` also how long bf16 takes
beside fp32: the median over videos of the ratio, both sides in turns, files read before.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ladnet_fast._choices import SCORING_PRECISIONS
from ladnet_fast.data import Crop, Video, iter_crops, read_manifest, select_split
from ladnet_fast.engine import (
    evaluate_scores,
    load_config,
    load_model,
    score_video,
    score_videos,
)
from ladnet_fast.nn import LANet

from .extraction import processor


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, help="manifest with ground truth")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of training runs")
    parser.add_argument("--split", help="split of the manifest to score")
    parser.add_argument("--time", action="store_true", help="also compare times")
    given = parser.parse_args(arguments)
    videos = read_manifest(given.videos)
    if given.split is not None:
        videos = select_split(videos, given.split)
    print(f"{processor()}; {len(videos)} videos")
    print(
        "| run | trained in | score change, median | at most | AUC, fp32 | AUC, bf16 | AP, fp32 "
        "| AP, bf16 | different scores |\n|---|---|---|---|---|---|---|---|---|"
    )
    for run in given.runs:
        print(_row(run, videos), flush=True)
    if given.time:
        ratio = _time_ratio(load_model(given.runs[0]), videos)
        print(f"time in bf16 / in fp32, median over videos: {ratio:.2f}")


def _row(run: Path, videos: Sequence[Video]) -> str:
    model = load_model(run)
    trained_in = load_config(run / "config.yaml").training.mixed_precision.replace("no", "fp32")
    scores = [score_videos(model, videos, precision=name) for name in SCORING_PRECISIONS]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores.append(score_videos(model, videos))
    change = np.concatenate([np.abs(scores[1][v.name] - scores[0][v.name]) for v in videos])
    different = [len(np.unique(np.concatenate(list(found.values())))) for found in scores]
    figures = [evaluate_scores(videos, found) for found in scores[:2]]
    cells = [run.name, trained_in, f"{np.median(change):.1e}", f"{change.max():.1e}"]
    cells += [f"{found.auc:.4f}" for found in figures]
    cells += [f"{found.ap:.4f}" for found in figures]
    cells.append(" / ".join(f"{count:,}" for count in different))
    return f"| {' | '.join(cells)} |"


def _time_ratio(model: LANet, videos: Sequence[Video]) -> float:
    def seconds(video: Video, crops: Sequence[Crop], precision: str) -> float:
        start = time.perf_counter()
        score_video(model, video, crops=crops, precision=precision)
        return time.perf_counter() - start

    ratios = []
    for video in videos:
        crops = list(iter_crops(video))
        turns = [
            [seconds(video, crops, precision) for precision in SCORING_PRECISIONS] for _ in range(3)
        ]
        fp32, bf16 = map(min, zip(*turns, strict=True))
        ratios.append(bf16 / fp32)
    return statistics.median(ratios)


if __name__ == "__main__":
    main()
