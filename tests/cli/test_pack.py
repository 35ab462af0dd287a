"""``ladnet-fast pack``, and its folder in the place of a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from typer.testing import Result

from ladnet_fast.data import read_info

from .conftest import SMALL

Run = Callable[..., Result]


def said(result: Result) -> str:
    return " ".join(result.output.split())


def test_the_folder_stands_for_a_manifest_everywhere(
    run: Run, split_manifest: Path, tmp_path: Path
) -> None:
    pack = tmp_path / "pack"
    result = run("pack", split_manifest, "--out", pack)
    assert result.exit_code == 0, result.output
    assert "8 videos, 80 rows" in said(result)
    assert run("check", pack).exit_code == 0
    figures = []
    for name, videos in (("files", split_manifest), ("packed", pack)):
        arguments = (*SMALL, "--split", "train", "--test-split", "test")
        result = run("train", videos, "--out", tmp_path / name, *arguments, "--no-tensorboard")
        assert result.exit_code == 0, result.output
        figures.append(json.loads((tmp_path / name / "metrics.json").read_text()))
    assert figures[0] == figures[1]
    scored = run("score", pack, "--model", tmp_path / "packed", "--out", tmp_path / "scores")
    assert scored.exit_code == 0, scored.output
    assert "left out" not in scored.output
    assert len(list((tmp_path / "scores").glob("*.npy"))) == 8
    part = run(
        "score", pack, "--split", "test", "--model", tmp_path / "packed", "--out", tmp_path / "two"
    )
    assert part.exit_code == 0, part.output
    assert len(list((tmp_path / "two").glob("*.npy"))) == 2
    evaluated = run("evaluate", tmp_path / "scores", pack, "--split", "test")
    assert evaluated.exit_code == 0, evaluated.output


def test_packing_again_and_lossy_types_say_what_they_did(
    run: Run, manifest: Path, tmp_path: Path
) -> None:
    pack = tmp_path / "pack"
    result = run("pack", manifest, "--out", pack, "--dtype", "float16", "--shard-size", "1e-7")
    assert result.exit_code == 0, result.output
    assert "float16 changes a row by" in said(result)
    assert len(read_info(pack).shards) == 8
    assert run("pack", manifest, "--out", pack).exit_code == 0
    assert read_info(pack).dtype == "float32"
    assert len(list(pack.glob("features-*.npy"))) == 1


def test_check_names_a_shard_with_a_turned_bit(run: Run, manifest: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    for i in range(8):
        np.save(manifest.parent / f"v{i}.npy", np.ones((1000, 6), np.float32))
    assert run("pack", manifest, "--out", pack).exit_code == 0
    shard = pack / "features-0000.npy"
    content = bytearray(shard.read_bytes())
    content[9000] ^= 4
    shard.write_bytes(content)
    result = run("check", pack)
    assert result.exit_code == 1
    assert "1 of 1 shards have changed" in said(result)


def test_wrong_arguments_say_what_is_allowed(run: Run, manifest: Path, tmp_path: Path) -> None:
    result = run("pack", manifest, "--out", tmp_path / "p", "--dtype", "int8")
    assert "must be one of float32, float16, bfloat16; got 'int8'" in said(result)
    result = run("pack", manifest, "--out", tmp_path / "p", "--shard-size", "0")
    assert "must be greater than 0 and less than" in said(result)
    result = run("train", tmp_path, "--out", tmp_path / "r", "--layout", "ucf-i3d")
    assert result.exit_code != 0
    (tmp_path / "empty").mkdir()
    result = run("train", tmp_path / "empty", "--out", tmp_path / "r")
    assert result.exit_code == 1
    assert "doesn't hold a videos.csv" in said(result)
    assert not (tmp_path / "p").exists()
