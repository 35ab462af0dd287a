"""The true network, untrained: a stream's features are those of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import LANet
from ladnet_fast.live import I3DExtractor, Settings, watch
from ladnet_fast.video import I3D, extract_features

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
    rows = []

    class Remembering(I3DExtractor):
        def __call__(self, frames: np.ndarray) -> np.ndarray:
            rows.append(super().__call__(frames))
            return rows[-1]

    heard = Recording()
    watch(str(path), model, Remembering(network, crops), heard, settings=Settings(idle=0))
    features = np.concatenate(rows, axis=1)
    # as many crops at once as the stream's extractor takes, so that not a bit differs
    assert np.array_equal(features, extract_features(path, model=network, crops=crops, batch=crops))
    with torch.inference_mode():
        whole = model(torch.from_numpy(features)).scores.double().mean(0).numpy()
    assert heard.scores[-1].score == pytest.approx(whole[-1], abs=1e-5)
