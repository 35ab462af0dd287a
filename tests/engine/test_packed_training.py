"""Training from packs, and by a budget of snippets: the same results, resumed to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ladnet_fast import DDLLoss
from ladnet_fast.data import BagDataset, Video, collate, read_manifest, write_pack
from ladnet_fast.data.batch_reader import pack_bags
from ladnet_fast.engine import Config, TrainingDivergedError, load_checkpoint, train

from .test_resume import PowerCut, _PowerCutError, assert_same_run

MakeVideos = Callable[..., list[Video]]


def packed(videos: list[Video], folder: Path) -> list[Video]:
    write_pack(videos, folder, shard_bytes=2000)
    return read_manifest(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"validation": 0.3},
        {"sampling": "none", "accumulate": 3},
        {"sampling": "bins", "snippets": 6, "balanced": True, "batch_size": 4},
        {"preload": True, "crops": "first"},
        {"workers": 1, "epochs": 1},
    ],
    ids=["validation", "whole bags", "balanced bins", "preload", "a worker"],
)
@pytest.mark.parametrize("query_dim", [0, 3])
def test_training_from_a_pack_is_training_from_its_files(
    make_videos: MakeVideos,
    config: Config,
    tmp_path: Path,
    options: dict[str, Any],
    query_dim: int,
) -> None:
    videos = make_videos(10, crops=2, query_dim=query_dim)
    config = config.replace(training={"epochs": 2, **options})
    train(config, videos, run_dir=tmp_path / "files")
    train(config, packed(videos, tmp_path / "pack"), run_dir=tmp_path / "packed")
    assert_same_run(tmp_path / "files", tmp_path / "packed")


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_run_by_a_budget_resumes_in_mid_epoch_to_the_same_bits(
    make_videos: MakeVideos, config: Config, tmp_path: Path, cut: int, balanced: bool
) -> None:
    videos = packed(make_videos(10), tmp_path / "pack")
    config = config.replace(
        training={
            "checkpoint_steps": 1, "token_budget": 40, "sampling": "none", "balanced": balanced,
            "accumulate": 2, "validation": 0.3,
        }
    )  # fmt: skip
    whole = train(config, videos, run_dir=tmp_path / "whole")
    with pytest.raises(_PowerCutError):
        train(config, videos, run_dir=tmp_path / "cut", reporter=PowerCut(cut))
    resumed = train(config, videos, run_dir=tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert resumed.history == whole.history


def test_a_budget_is_the_same_from_files_and_from_a_pack(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos(8, query_dim=3)
    config = config.replace(training={"token_budget": 50, "sampling": "none"})
    train(config, videos, run_dir=tmp_path / "files")
    train(config, packed(videos, tmp_path / "pack"), run_dir=tmp_path / "packed")
    assert_same_run(tmp_path / "files", tmp_path / "packed")


def test_one_step_on_packed_bags_is_one_step_on_padded_bags(
    make_videos: MakeVideos, config: Config
) -> None:
    videos = make_videos(6)
    torch.manual_seed(0)
    net = config.replace(model={"feature_dim": 12, "dropout": 0.0}).model.build().double()
    dataset = BagDataset(videos, sampling="none")
    bags = [dataset[i] for i in range(len(dataset))]
    batch, packed_bags = collate(bags), pack_bags(bags)
    gradients = []
    out = net(batch.features.double(), lengths=batch.lengths)
    padded = DDLLoss()(*out, batch.labels, lengths=batch.lengths)
    out = net(packed_bags.features.double(), cu_seqlens=packed_bags.cu_seqlens)
    flat = DDLLoss()(
        out.scores[0], out.features[0], packed_bags.labels, cu_seqlens=packed_bags.cu_seqlens
    )
    for terms in (padded, flat):
        net.zero_grad()
        terms.total.backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    torch.testing.assert_close(padded, flat)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_mean_of_an_epoch_is_over_its_own_steps(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    config = config.replace(training={"token_budget": 20, "sampling": "none", "epochs": 4})
    seen: dict[int, list[float]] = {}

    class Kept(PowerCut):
        def step(self, record: Any) -> None:
            seen.setdefault(record.epoch, []).append(record.total)

    result = train(config, make_videos(9), run_dir=tmp_path / "run", reporter=Kept(-1))
    assert len({len(totals) for totals in seen.values()}) > 1, "epochs differ in their steps"
    for record in result.history:
        assert record.total == pytest.approx(sum(seen[record.epoch]) / len(seen[record.epoch]))


def test_a_bag_that_makes_a_packed_batch_diverge_is_named(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    import numpy as np

    videos = make_videos(4)
    np.save(videos[2].features[0].path, np.full((9, 12), 3e38, np.float32))
    config = config.replace(training={"token_budget": 1000, "sampling": "none"})
    with pytest.raises(TrainingDivergedError, match="scores of v2"):
        train(config, packed(videos, tmp_path / "pack"), run_dir=tmp_path / "run")


def test_resuming_with_another_budget_is_refused(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos(4)
    train(config, videos, run_dir=tmp_path / "run")
    budget = config.replace(training={"token_budget": 9})
    with pytest.raises(ValueError, match=r"training\.token_budget: None then, 9 now"):
        train(budget, videos, run_dir=tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").progress
