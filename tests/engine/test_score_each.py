"""Scoring into files: what the commands' own tests don't reach."""

from pathlib import Path

import pytest

from ladnet_fast import LANet
from ladnet_fast.data import DataError
from ladnet_fast.engine.inputs import Inputs
from ladnet_fast.engine.score_each import score_each
from ladnet_fast.engine.score_files import ScoreFolder


def test_nothing_to_score_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    net = LANet(feature_dim=4, hidden_dim=8, mlp_dims=(8, 4)).eval()
    with pytest.raises(DataError, match="holds no videos; fill it with find_inputs"):
        score_each(net, Inputs(), ScoreFolder(tmp_path / "scores", net))
    assert not (tmp_path / "scores").exists()
