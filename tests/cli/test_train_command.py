"""``train`` with what it must not write over, folds, test videos without truth, and full disks."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from typer.testing import Result

Run = Callable[..., Result]
SMALL = (
    "--set", "model.hidden_dim=8", "--set", "model.mlp_dims=[16, 8]", "--epochs", "2",
    "--batch-size", "4", "--validation", "0", "--device", "cpu", "--no-tensorboard",
)  # fmt: skip


def everything_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), "a traceback"
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml", "run.json", "history.json", "metrics.json", "scores/v6.npy", "scores/v7.csv",
    ],
)  # fmt: skip
@pytest.mark.parametrize("resume", [False, True])
def test_file_of_somebody_else_is_never_replaced(
    run: Run, split_manifest: Path, tmp_path: Path, name: str, resume: bool
) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    before = everything_below(out)
    options = ("--split", "train", "--test-split", "test", "--out", out, *SMALL)
    more = ("--resume",) if resume else ()
    refused(run("train", split_manifest, *options, *more), name, "did not write it")
    assert everything_below(out) == before


def test_model_of_somebody_else_is_not_taken_for_an_unfinished_run(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    model = (trained / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(model)
    refused(run("train", manifest, "--out", out, *SMALL), "already holds a training run")
    result = run("train", manifest, "--out", out, "--resume", *SMALL)
    refused(result, "model.safetensors would be replaced")
    assert everything_below(out) == {"model.safetensors": model}


def test_inputs_are_never_written_over(run: Run, manifest: Path, tmp_path: Path) -> None:
    """The configuration, the manifest, features and ground truth; through links too."""
    config = tmp_path / "config.yaml"
    config.write_text("training: {lr: 0.001}\n")
    here = run("train", manifest, "--config", config, "--out", tmp_path, *SMALL)
    refused(here, "config.yaml is an input")
    assert config.read_text() == "training: {lr: 0.001}\n"

    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "history.json").symlink_to(manifest)
    text = manifest.read_text()
    refused(run("train", manifest, "--out", linked, *SMALL), "is an input")
    hard = tmp_path / "hard"
    hard.mkdir()
    os.link(tmp_path / "v3.npy", hard / "run.json")
    features = (tmp_path / "v3.npy").read_bytes()
    refused(run("train", manifest, "--out", hard, *SMALL), "v3.npy", "is an input")
    truth = tmp_path / "truth"
    truth.mkdir()
    os.link(tmp_path / "gt2.npy", truth / "config.yaml")
    refused(run("train", manifest, "--out", truth, *SMALL), "gt2.npy", "is an input")
    assert manifest.read_text() == text
    assert (tmp_path / "v3.npy").read_bytes() == features
    assert not (linked / "run.json").exists()


def test_test_videos_whose_scores_would_replace_their_features_are_refused(
    run: Run, split_manifest: Path, tmp_path: Path
) -> None:
    """Features that lie where the run would write scores of the same names."""
    folder = tmp_path / "run" / "scores"
    folder.mkdir(parents=True)
    for name in ("v6", "v7"):
        (tmp_path / f"{name}.npy").rename(folder / f"{name}.npy")
    text = split_manifest.read_text()
    for name in ("v6", "v7"):
        text = text.replace(f"{name}.npy", f"run/scores/{name}.npy")
    split_manifest.write_text(text)
    before = everything_below(tmp_path)
    options = ("--split", "train", "--test-split", "test", "--out", tmp_path / "run", *SMALL)
    refused(run("train", split_manifest, *options), "v6.npy is an input")
    assert everything_below(tmp_path) == before


def test_run_is_resumed_with_its_own_configuration(
    run: Run, split_manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    data = ("--split", "train", "--test-split", "test", "--out", out, "--no-tensorboard")
    assert run("train", split_manifest, *data, *SMALL).exit_code == 0
    own = ("--resume", "--config", out / "config.yaml")
    for more in ((), ("--epochs", "3"), ("--epochs", "4")):
        result = run("train", split_manifest, *data, *own, *more)
        assert result.exit_code == 0, result.output
    assert len(json.loads((out / "history.json").read_text())) == 4
    # Somebody lengthens it with an editor: the file says what will be written.
    config = out / "config.yaml"
    config.write_text("# longer\n" + config.read_text().replace("epochs: 4", "epochs: 5"))
    result = run("train", split_manifest, *data, *own)
    assert result.exit_code == 0, result.output
    assert config.read_text().startswith("# longer\n")
    assert len(json.loads((out / "history.json").read_text())) == 5


def test_run_of_an_earlier_version_is_resumed(run: Run, manifest: Path, trained: Path) -> None:
    """Before files had records and digests; they all are a run's because its checkpoint is."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    for path in (trained / "checkpoint.safetensors", trained / "model.safetensors"):
        with safe_open(path, framework="pt") as file:
            metadata = {k: v for k, v in file.metadata().items() if "sha256" not in k}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, metadata=metadata)
    for record in (trained / ".ladnet").iterdir():
        record.unlink()
    longer = [*SMALL, "--resume", "--set", "training.schedule=cosine"]
    longer[longer.index("--epochs") + 1] = "3"
    result = run("train", manifest, "--out", trained, *longer)
    assert result.exit_code == 0, result.output
    assert len(json.loads((trained / "history.json").read_text())) == 3


def test_folds_are_all_checked_before_the_first_training(
    run: Run, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cv"
    (out / "fold1" / "scores").mkdir(parents=True)
    foreign = out / "fold1" / "scores" / "v2.npy"
    foreign.write_bytes(b"mine")
    refused(run("train", manifest, "--folds", "all", "--out", out, *SMALL), "v2.npy")
    assert everything_below(out) == {"fold1/scores/v2.npy": b"mine"}
    foreign.unlink()
    (out / "cross-validation.json").write_text("{}")
    refused(run("train", manifest, "--folds", "0", "--out", out, *SMALL), "cross-validation.json")
    assert not (out / "fold0").exists()


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ("", "--folds must be 'all' or numbers such as '0,2'; got ''"),
        (" ", "--folds must be 'all' or numbers"),
        (",", "--folds must be 'all' or numbers"),
        ("0,", "--folds must be 'all' or numbers"),
        ("0,1,0", "--folds names fold 0 twice"),
        ("1,01", "--folds names fold 1 twice"),
        ("all,0", "--folds must be 'all' or numbers"),
    ],
)
@pytest.mark.parametrize("make", [(), ("--make-folds", "2")])
def test_folds_that_say_nothing_are_refused(
    run: Run, manifest: Path, tmp_path: Path, folds: str, message: str, make: tuple[str, ...]
) -> None:
    result = run("train", manifest, "--folds", folds, "--out", tmp_path / "cv", *make, *SMALL)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
    assert not (tmp_path / "cv").exists()


def without_truth(manifest: Path, videos: str = "1357") -> Path:
    """Take the ground truth of anomalous videos out of a manifest."""
    text = manifest.read_text()
    for number in videos:
        text = text.replace(f"gt{number}.npy", "")
    path = manifest.with_name("bags.csv")
    path.write_text(text)
    return path


def test_folds_on_bag_labels_alone_report_figures_of_videos(
    run: Run, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cv"
    result = run("train", without_truth(manifest), "--folds", "all", "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    written = json.loads((out / "cross-validation.json").read_text())
    for figures in (*written["folds"].values(), written["pooled"]):
        assert figures["auc"] is None
        assert "frame-level truth" in figures["undefined"]["auc"]
        assert 0 <= figures["video_auc"] <= 1
    assert set(written["mean"]) == {"video_auc"}
    # The figure of videos doesn't depend on the truth of frames.
    other = run("train", manifest, "--folds", "all", "--out", tmp_path / "all", *SMALL)
    assert other.exit_code == 0
    whole = json.loads((tmp_path / "all" / "cross-validation.json").read_text())
    assert whole["mean"]["video_auc"] == written["mean"]["video_auc"]
    assert whole["pooled"]["video_auc"] == written["pooled"]["video_auc"]


def test_test_videos_with_bag_labels_alone_report_figures_of_videos(
    run: Run, split_manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = ("--split", "train", "--test-split", "test", "--out", out, *SMALL)
    result = run("train", without_truth(split_manifest), *options)
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["auc"] is None
    assert figures["video_auc"] in (0, 0.5, 1)


@pytest.mark.parametrize("folds", [True, False])
def test_truth_that_does_not_fit_is_found_before_training(
    run: Run, split_manifest: Path, tmp_path: Path, folds: bool
) -> None:
    np.save(tmp_path / "gt7.npy", np.ones(900, np.uint8))
    out = tmp_path / "run"
    how = ("--folds", "all", "--split", "train") if folds else ("--split", "train")
    test = () if folds else ("--test-split", "test")
    if folds:
        split_manifest.write_text(split_manifest.read_text().replace(",test", ",train"))
    refused(run("train", split_manifest, *how, *test, "--out", out, *SMALL), "v7")
    assert not out.exists()


def test_features_of_another_width_among_test_videos_are_found_before_training(
    run: Run, split_manifest: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "v7.npy", np.zeros((10, 9), np.float32))
    out = tmp_path / "run"
    options = ("--split", "train", "--test-split", "test", "--out", out, *SMALL)
    refused(run("train", split_manifest, *options), "v7.npy", "9 wide")
    assert not out.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.safetensors"])
def test_full_disk_gives_one_sentence_and_leaves_the_run_to_resume(
    run: Run, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import ladnet_fast._tensors as tensors

    out, save = tmp_path / "run", tensors.save_file
    seen: list[int] = []

    def full(state: dict, filename: Path, **options: object) -> None:
        checkpoint = any(key.startswith("optimizer.") for key in state)
        seen.append(1)
        if len(seen) > 2 and checkpoint == (name == "checkpoint.safetensors"):
            Path(filename).write_bytes(b"half")
            raise SafetensorError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            )
        save(state, filename, **options)

    with monkeypatch.context() as patched:
        patched.setattr(tensors, "save_file", full)
        result = run("train", manifest, "--out", out, *SMALL)
    refused(result, name, "No space left on device")
    assert not list(out.rglob("*.part"))
    resumed = run("train", manifest, "--out", out, "--resume", *SMALL)
    assert resumed.exit_code == 0, resumed.output
    assert len(json.loads((out / "history.json").read_text())) == 2


@pytest.mark.slow
def test_file_size_limit_of_the_system_gives_one_sentence(manifest: Path, tmp_path: Path) -> None:
    """What a quota does: files can be made, but not of the model's size."""
    limit = 4096
    done = subprocess.run(
        [sys.executable, "-m", "ladnet_fast.cli", "train", manifest, "--out", "run", *SMALL],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert ".safetensors: " in done.stderr
    assert "File too large" in done.stderr
    assert not list((tmp_path / "run").rglob("*.part"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 728. TiB for an array with shape (3, 4)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to "
                     "allocate 800000000000000 bytes. Error code 12"),
        RuntimeError("Storage size calculation overflowed with sizes=[4611686018427387904, 1024]"),
    ],
)  # fmt: skip
def test_memory_that_runs_out_gives_one_sentence(
    run: Run, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from ladnet_fast.engine.run import TrainingRun

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(TrainingRun, "_part", fails)
    result = run("train", manifest, "--out", tmp_path / "run", *SMALL)
    assert result.exit_code == 1
    message = f"{result.exception} {result.stderr}"
    assert "not enough memory" in message
    assert "--batch-size" in message
    if "allocate" in str(error):
        assert re.search(r"72\d(\.\d)? TiB more were asked for", message)


def test_damaged_checkpoint_is_named_and_the_remedy_works(
    run: Run, manifest: Path, trained: Path
) -> None:
    path = trained / "checkpoint.safetensors"
    want = (trained / "history.json").read_text()
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 16
    path.write_bytes(damaged)
    again = ("train", manifest, "--out", trained, "--resume", *SMALL)
    result = run(*again)
    refused(result, "checkpoint.safetensors is damaged")
    remedy = re.search(r"train again from the start: (rm .*)$", result.stderr.strip())
    assert remedy
    subprocess.run(["sh", "-c", remedy[1]], check=True)
    assert run(*again).exit_code == 0
    assert (trained / "history.json").read_text() == want


def test_what_killed_processes_left_is_removed(run: Run, manifest: Path, trained: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    node = f"{zlib.crc32(platform.node().encode()):08x}"
    (trained / "scores").mkdir()
    left = [
        folder / f".ladnet-{node}-{done.stdout.strip()}-0123456789ab.part"
        for folder in (trained, trained / "scores")
    ]
    for path in left:
        path.write_bytes(b"half")
    assert run("train", manifest, "--out", trained, "--resume", *SMALL).exit_code == 0
    assert not any(path.exists() for path in left)
