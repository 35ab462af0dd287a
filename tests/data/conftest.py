"""Small feature files and videos to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from ladnet_fast.data import FeatureSource, Video

# A busy machine must not fail a test.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def save(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """Write a .npy file of random float32 features under tmp_path, or of a given array."""

    def write(name: str, shape: tuple[int, ...] = (5, 4), array: np.ndarray | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.normal(size=shape).astype(np.float32) if array is None else array)
        return path

    return write


@pytest.fixture
def make_video(save: Callable[..., Path]) -> Callable[..., Video]:
    """Make a video whose crops are files of the given shapes."""

    def make(
        name: str = "v", shapes: tuple[tuple[int, ...], ...] = ((5, 4),), **fields: object
    ) -> Video:
        sources = tuple(
            FeatureSource(save(f"{name}__{crop}.npy", shape)) for crop, shape in enumerate(shapes)
        )
        return Video(**{"name": name, "features": sources, "label": 0, **fields})  # type: ignore[arg-type]

    return make
