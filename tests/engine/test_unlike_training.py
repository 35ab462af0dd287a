"""Features of another precision or rate than the training's are told of, once for each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladnet_fast._records import recorded
from ladnet_fast.data import FeatureSource, Video
from ladnet_fast.engine.unlike_training import unlike_training

TRAINED = {"network": "i3d", "weights": "1", "precision": "float32"}


def made(folder: Path, name: str, settings: dict[str, Any] | None) -> Video:
    path = folder / f"{name}.npy"
    if settings is None:
        np.save(path, np.zeros((2, 4), np.float32))
    else:
        about = {"kind": "features", "settings": settings}
        with recorded(path, about) as temporary, temporary.open("wb") as file:
            np.save(file, np.zeros((2, 4), np.float32))
    return Video(name, (FeatureSource(path),), None)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({}, []),
        ({"engine": "openvino"}, []),
        ({"precision": "bfloat16"}, ["are bf16, and the model was trained on fp32"]),
        (
            {"precision": "int8", "engine": "openvino"},
            ["are int8, and the model was tr"],
        ),
        ({"fps": 25.0}, ["at 25 frames per second, and those of the training of all frames"]),
        ({"fps": 25.0, "precision": "int8"}, ["are int8", "leaving out --fps"]),
    ],
)
def test_each_difference_is_told_once(tmp_path: Path, now: dict[str, Any], told: list[str]) -> None:
    videos = [made(tmp_path, name, TRAINED | now) for name in ("a", "b")]
    notes = unlike_training(TRAINED, videos)
    assert len(notes) == len(told)
    for note, part in zip(notes, told, strict=True):
        assert part in note
        assert note.startswith("the features of a and 1 more ")


def test_what_is_not_known_is_not_told(tmp_path: Path) -> None:
    known, unknown = made(tmp_path, "a", TRAINED), made(tmp_path, "b", None)
    assert unlike_training({}, [known, unknown]) == []
    assert unlike_training(TRAINED | {"precision": "bfloat16"}, [unknown]) == []


def test_the_rate_of_the_training_is_the_remedy(tmp_path: Path) -> None:
    (note,) = unlike_training(TRAINED | {"fps": 25.0}, [made(tmp_path, "a", TRAINED)])
    assert "were made of all frames" in note
    assert "--fps 25 gives the same kind" in note
