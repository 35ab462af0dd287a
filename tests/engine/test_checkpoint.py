"""Checkpoints: whole or absent, and read without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ladnet_fast.engine import Checkpoint, CheckpointError, load_checkpoint


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    model[0].bias.requires_grad_(False)  # a parameter that the optimiser doesn't know
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        model(torch.randn(5, 3)).sum().backward()
        optimizer.step()
    return model, optimizer


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = trained()
    progress = {"epoch": 2, "sums": [0.1, 1 / 3], "nested": {"x": None}}
    Checkpoint.capture(model, optimizer, None, progress).save(tmp_path / "c.safetensors")
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    assert loaded.progress == progress

    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    other[0].bias.requires_grad_(False)
    fresh = torch.optim.Adam([p for p in other.parameters() if p.requires_grad], lr=1.0)
    loaded.restore(other, fresh, None)
    for name, entry in model.state_dict().items():
        assert torch.equal(entry, other.state_dict()[name])
    saved, restored = optimizer.state_dict(), fresh.state_dict()
    assert saved["param_groups"] == restored["param_groups"]
    assert saved["state"].keys() == restored["state"].keys()
    for i, entries in saved["state"].items():
        for key, entry in entries.items():
            assert torch.equal(entry, restored["state"][i][key])


def test_crash_while_writing_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    model, optimizer = trained()
    Checkpoint.capture(model, optimizer, None, {"epoch": 1}).save(path)
    before = path.read_bytes()

    def half(tensors: dict, filename: Path, **_: object) -> None:
        Path(filename).write_bytes(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ladnet_fast._tensors.save_file", half)
    with pytest.raises(OSError, match="No space left"):
        Checkpoint.capture(model, optimizer, None, {"epoch": 2}).save(path)
    assert path.read_bytes() == before
    assert load_checkpoint(path).progress == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    model, optimizer = trained()
    Checkpoint.capture(model, optimizer, None, {}).save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"c\.safetensors is not a whole safetensors file"):
        load_checkpoint(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        load_checkpoint(tmp_path / "absent.safetensors")


def test_no_flipped_bit_of_a_checkpoint_is_taken_for_its_state(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    model, optimizer = trained()
    Checkpoint.capture(model, optimizer, None, {"epoch": 2, "sums": [0.25]}).save(path)
    whole, want = path.read_bytes(), load_checkpoint(path)
    header = 8 + int.from_bytes(whole[:8], "little")
    for bit in [*range(0, 8 * header, 37), *range(8 * header, 8 * len(whole), 23)]:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            loaded = load_checkpoint(path)
        except CheckpointError as error:
            assert "c.safetensors" in str(error)  # noqa: PT017
            continue
        assert bit < 8 * header, "a bit of the tensors"
        assert loaded.progress == want.progress
        assert loaded.optimizer_groups == want.optimizer_groups


def test_checkpoint_of_an_earlier_version_without_a_digest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    metadata = {
        "format": "ladnet_fast.checkpoint.1", "optimizer_groups": '[{"betas": [0.9, 0.99]}]',
        "scaler": "null", "progress": '{"epoch": 2}',
    }  # fmt: skip
    save_file({"model.x": torch.ones(2)}, path, metadata=metadata)
    assert load_checkpoint(path).optimizer_groups == [{"betas": (0.9, 0.99)}]
    for name in ("optimizer_groups", "progress"):
        save_file({"model.x": torch.ones(2)}, path, metadata={**metadata, name: "{"})
        with pytest.raises(CheckpointError, match=r"c\.safetensors is damaged.*rm "):
            load_checkpoint(path)
