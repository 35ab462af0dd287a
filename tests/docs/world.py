"""The files that the pages speak of, small: videos, features, lists, truth, a trained network."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import torch

from ladnet_fast.engine import ModelConfig, save_model

from .markdown import blocks

#: Of I3D, so that one model takes what videos give and what files hold.
WIDTH = 1024
_SNIPPETS = 12
_NAMES = (
    "Abuse001_x264", "Normal_Videos_001_x264", "Arson002_x264", "Normal_Videos_002_x264",
    "Fighting003_x264", "Normal_Videos_003_x264", "Robbery004_x264", "Normal_Videos_004_x264",
)  # fmt: skip
_TEST = 2  # the last two videos test


def make(folder: Path) -> None:
    """Fill an empty folder."""
    rng = np.random.default_rng(0)
    gt = []
    for name in _NAMES:
        anomalous = not name.startswith("Normal")
        truth = np.zeros(_SNIPPETS * 16, np.uint8)
        truth[64:112] = anomalous
        gt.append(truth)
        for root in (folder, folder / "ucf", folder / "features"):
            root.mkdir(exist_ok=True)
            for crop in ("", "__1"):
                features = rng.normal(size=(_SNIPPETS, WIDTH)).astype(np.float32)
                features[4:7] += anomalous
                np.save(root / f"{name}{crop}.npy", features)
        np.save(folder / f"{name}-gt.npy", truth)
    _manifests(folder)
    for root, prefix in ((folder, ""), (folder / "ucf", "ucf_")):
        for kind, names in (("train", _NAMES[:-_TEST]), ("test", _NAMES[-_TEST:])):
            lines = [f"{name}{crop}.npy\n" for name in names for crop in ("", "__1")]
            (root / f"{prefix}{kind}.list").write_text("".join(lines))
            (folder / f"{prefix}{kind}.list").write_text("".join(lines))
    np.save(folder / "gt.npy", np.concatenate(gt[-_TEST:]))
    np.save(folder / "gt-ucf.npy", np.concatenate(gt[-_TEST:]))
    lines = [f"{n}.mp4  {n[:-8]}  65  112  -1  -1\n" for n in _NAMES if n[0] != "N"]
    lines += [f"{n}.mp4  Normal  -1  -1  -1  -1\n" for n in _NAMES if n[0] == "N"]
    (folder / "annotations.txt").write_text("".join(lines))
    (folder / "scores").mkdir()
    for name in _NAMES[-_TEST:]:
        np.save(folder / "scores" / f"{name}.npy", rng.random(_SNIPPETS, dtype=np.float32))
    _videos(folder)
    _model(folder / "runs" / "first")


def _manifests(folder: Path) -> None:
    header = ["video", "features", "label", "num_frames", "fold", "frame_labels"]
    rows = [
        [name, f"{name}.npy;{name}__1.npy", int(name[0] != "N"), _SNIPPETS * 16, i // 2 % 2,
         f"{name}-gt.npy"]
        for i, name in enumerate(_NAMES)
    ]  # fmt: skip
    for file, part in (("videos", rows), ("train", rows[:-_TEST]), ("test", rows[-_TEST:])):
        _write(folder / f"{file}.csv", [header, *part])
    splits = ["train"] * (len(rows) - _TEST) + ["test"] * _TEST
    _write(
        folder / "splits.csv",
        [[*header, "split"], *([*row, split] for row, split in zip(rows, splits, strict=True))],
    )
    _write(folder / "features" / "videos.csv", [header[:5], *(row[:5] for row in rows)])


def _write(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _videos(folder: Path) -> None:
    """Write clips of 40 frames, moving noise; each of its own content."""
    import av

    places = (
        "video.mp4", "clip.mp4", "street.mp4", "shop.mkv", "bikes.mp4", "videos/a.mp4",
        "videos/b.mp4", "cams/door/monday.mp4", "cams/gate/monday.mp4",
    )  # fmt: skip
    for seed, place in enumerate(places):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        frames = 250 if place == "bikes.mp4" else 40
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
            for i in range(frames):
                frame = av.VideoFrame.from_ndarray(np.roll(noise, i, axis=1), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


def _model(folder: Path) -> None:
    torch.manual_seed(0)
    config = ModelConfig(feature_dim=WIDTH, hidden_dim=8, mlp_dims=(16, 8))
    folder.mkdir(parents=True)
    save_model(folder / "model.safetensors", config.build(), config)


def copy(world: Path, folder: Path, page: str) -> None:
    """Give a page a world of its own, without what the page makes before it uses it."""
    shutil.copytree(world, folder, dirs_exist_ok=True)
    if page in _SPLIT:
        shutil.copyfile(folder / "splits.csv", folder / "videos.csv")
    if page in _ELSEWHERE:
        for path in folder.glob("ucf_*.list"):
            lines = path.read_text().splitlines()
            path.write_text("".join(f"D:\\feat\\{line}\n" for line in lines))
    code = "\n".join(block.text for block in blocks(page) if not block.reason)
    for made in ("gt.npy", "runs/first", "scores"):
        first = re.search(rf"(?P<out>--out )?(?<![\w/-]){re.escape(made)}(?![\w/-])", code)
        if first and first["out"]:
            path = folder / made
            shutil.rmtree(path) if path.is_dir() else path.unlink()


#: Pages whose `videos.csv` has a column `split`.
_SPLIT = ("docs/data-formats.md", "docs/live.md")
#: Pages whose lists were written on another machine.
_ELSEWHERE = ("docs/data-formats.md",)
