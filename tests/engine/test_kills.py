"""A run that is killed at any of its writes is made whole by resuming it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ladnet_fast.data import Video
from ladnet_fast.engine import Config, GroundTruth, cross_validate, load_model, train
from ladnet_fast.engine.tested import evaluate_run

MakeVideos = Callable[..., list[Video]]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small files are written, and no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda _: None)


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it on the way."""


@contextmanager
def killed_at(number: int, *, after: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """End the process at its ``number``-th atomic write: before the renaming, or right after it.

    Yields the names of the files that were written.
    """
    replace, written = Path.replace, list[str]()

    def once_too_often(self: Path, target: Path) -> Path:
        if len(written) == number and not after:
            raise KilledError
        result = replace(self, target)
        written.append(str(target))
        if len(written) == number + 1 and after:
            raise KilledError
        return result

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", once_too_often)
        yield written


def content(folder: Path) -> dict[str, object]:
    """Return what a folder of results says, without times and command lines."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if ".ladnet/" in f"{name}/" or not path.is_file() or path.name == "run.json":
            continue
        assert ".part" not in name
        if path.suffix == ".safetensors":  # its metadata have no order
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key).tolist() for key in file.keys()}  # noqa: SIM118
                found[name] = (tensors, file.metadata())
        else:
            found[name] = path.read_bytes()
    return found


def whole_run(
    config: Config, videos: list[Video], test: list[Video], folder: Path, *, resume: bool
) -> None:
    """Do what the command does: train, then score and evaluate the test videos."""
    result = train(config, videos, run_dir=folder, test_videos=test, resume=resume)
    evaluate_run(result, test, GroundTruth())


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_run_killed_at_any_write_ends_as_if_it_had_not_been(
    make_videos: MakeVideos,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: bool,
) -> None:
    # The best epoch is not the last one, and checkpoints are rarer than epochs.
    options = {"epochs": 4, "validation": 0.4, "checkpoint_every": 2, "lr": 0.3}
    config = config.replace(training=options)
    videos, test = make_videos(10), make_videos(2, first=10)
    with killed_at(-2, after=False, monkeypatch=monkeypatch) as writes:
        whole_run(config, videos, test, tmp_path / "whole", resume=False)
    history = json.loads((tmp_path / "whole" / "history.json").read_text())
    assert max(record["epoch"] for record in history if record["best"]) < 4
    want = content(tmp_path / "whole")
    assert {"scores/v10.npy", "scores/v11.csv", "metrics.json"} <= want.keys()
    for number in range(len(writes)):
        folder = tmp_path / f"killed{number}"
        with killed_at(number, after=after, monkeypatch=monkeypatch), pytest.raises(KilledError):
            whole_run(config, videos, test, folder, resume=False)
        whole_run(config, videos, test, folder, resume=True)
        assert content(folder) == want, f"killed at write {number} of {writes[number]}"
        run = json.loads((folder / "run.json").read_text())
        assert len(run.get("earlier", [])) <= 1


@pytest.mark.slow
def test_cross_validation_killed_at_any_write_ends_as_if_it_had_not_been(
    make_videos: MakeVideos, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.replace(training={"epochs": 1})
    videos = make_videos(8)
    with killed_at(-2, after=False, monkeypatch=monkeypatch) as writes:
        cross_validate(config, videos, out_dir=tmp_path / "whole")
    want = content(tmp_path / "whole")
    assert {"cross-validation.json", "fold0/metrics.json", "fold1/scores/v2.npy"} <= want.keys()
    for number in range(0, len(writes), 4):
        folder = tmp_path / f"killed{number}"
        with killed_at(number, after=False, monkeypatch=monkeypatch), pytest.raises(KilledError):
            cross_validate(config, videos, out_dir=folder)
        cross_validate(config, videos, out_dir=folder, resume=True)
        assert content(folder) == want, f"killed at write {number} of {writes[number]}"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "history.json", "config.yaml", "run.json", "metrics.json"]
)
@pytest.mark.parametrize("epochs", [4, 5])
def test_resuming_writes_again_what_a_run_lacks(
    make_videos: MakeVideos, config: Config, tmp_path: Path, name: str, epochs: int
) -> None:
    config = config.replace(training={"epochs": 4, "validation": 0.4, "lr": 0.3})
    longer = config.replace(training={"epochs": epochs})
    videos, test = make_videos(10), make_videos(2, first=10)
    whole_run(longer, videos, test, tmp_path / "whole", resume=False)
    whole_run(config, videos, test, tmp_path / "lacking", resume=False)
    (tmp_path / "lacking" / name).unlink()
    whole_run(longer, videos, test, tmp_path / "lacking", resume=True)
    want, got = content(tmp_path / "whole"), content(tmp_path / "lacking")
    assert got == want


def test_damaged_model_is_made_again_from_the_checkpoint(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    """The best epoch lies before the last checkpoint, whose own weights are later ones."""
    config = config.replace(training={"epochs": 4, "validation": 0.4, "lr": 0.3})
    videos = make_videos(10)
    whole = train(config, videos, run_dir=tmp_path / "run")
    assert whole.epoch < 4
    path = tmp_path / "run" / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        load_model(tmp_path / "run")
    with pytest.raises(ValueError, match=r"model\.safetensors would be replaced"):
        train(config, videos, run_dir=tmp_path / "run", resume=True)
    path.unlink()
    again = train(config, videos, run_dir=tmp_path / "run", resume=True)
    for name, entry in whole.model.state_dict().items():
        assert torch.equal(entry, again.model.state_dict()[name])
