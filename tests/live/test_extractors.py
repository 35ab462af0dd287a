"""What makes rows of snippets: the true network, untrained, and another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import LANet
from ladnet_fast.live import CroppedExtractor, Settings, i3d_extractor, watch
from ladnet_fast.video import I3D, extract_features
from ladnet_fast.video.extractors import Preparation

from .conftest import Recording


@pytest.mark.slow
@pytest.mark.parametrize("crops", [1, 5])
def test_features_and_scores_of_a_stream_are_those_of_the_file(
    write_levels: Callable[..., Path], tmp_path: Path, crops: int
) -> None:
    torch.manual_seed(0)
    network = I3D().fold().requires_grad_(False).eval()
    levels = [int(128 + 100 * np.sin(i / 3)) for i in range(40)]
    path = write_levels(tmp_path / "a.mkv", levels, size=(120, 90))
    model = LANet(1024, hidden_dim=8, mlp_dims=(8, 4)).eval()
    rows, heard = [], Recording()
    extractor = i3d_extractor(network, crops)

    def remembering(clips: np.ndarray) -> np.ndarray:
        rows.append(describe(clips))
        return rows[-1]

    describe, extractor._describe = extractor._describe, remembering
    watch(str(path), model, extractor, heard, settings=Settings(idle=0))
    features = np.stack(rows, axis=1)
    # as many crops at once as the stream's extractor takes, so that not a bit differs
    assert np.array_equal(features, extract_features(path, model=network, crops=crops, batch=crops))
    with torch.inference_mode():
        whole = model(torch.from_numpy(features)).scores.double().mean(0).numpy()
    assert heard.scores[-1].score == pytest.approx(whole[-1], abs=1e-5)


def test_another_network_says_what_it_wants(
    model: LANet, write_levels: Callable[..., Path], tmp_path: Path
) -> None:
    """Eight frames of 64 x 64 from a short side of 80, five crops."""
    shapes = []

    def describe(clips: np.ndarray) -> np.ndarray:
        shapes.append(clips.shape)
        level = clips.mean((1, 2, 3, 4)) / 255 - 0.5
        return np.stack([level, -level, 0 * level, 0 * level], axis=1).astype(np.float32)

    extractor = CroppedExtractor(describe, 5, frames_per_snippet=8, preparation=Preparation(80, 64))
    heard = Recording()
    path = write_levels(tmp_path / "a.mkv", [30] * 8 + [220] * 8)
    watch(str(path), model, extractor, heard, settings=Settings(idle=0))
    assert shapes == [(5, 8, 64, 64, 3)] * 2
    assert heard.values == [0.01, 0.99]
