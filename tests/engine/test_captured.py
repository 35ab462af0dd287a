"""The captured step, with a tape in the graph's place: the weights, records and errors of eager."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast.data import Batch, Video
from ladnet_fast.engine import (
    Config,
    ConfigError,
    EpochRecord,
    Reporter,
    TrainingDivergedError,
    load_checkpoint,
    stepping,
    train,
)
from ladnet_fast.engine.captured import CapturedStep, Recorder, Recording, check_capturable
from ladnet_fast.engine.run import learning_rate
from ladnet_fast.engine.step import Evidence
from ladnet_fast.functional import DDLTerms

from .tape import Tape
from .test_late_reading import Heard
from .test_resume import PowerCut, _PowerCutError, assert_same_run

MakeVideos = Callable[..., list[Video]]
CPU = torch.device("cpu")


class Eager(Tape):
    """Repeats the step itself instead of a recording: what a replay must equal."""

    def record(self, body: Callable[[], Evidence]) -> Recording:
        self.recorded += 1
        evidence = body()
        first = True

        def replay() -> None:
            nonlocal first
            if first:
                first = False
                return
            new = body()
            for old, fresh in ((evidence.values, new.values), (evidence.scores, new.scores)):
                old.copy_(fresh)

        return Recording(replay, evidence)


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Tape]], list[Tape]]:
    """Return a function that lets ``cuda_graph`` record with a stand-in; gives those made."""

    def use(kind: type[Tape]) -> list[Tape]:
        made: list[Tape] = []

        def make(device: torch.device) -> Tape:
            made.append(kind(device))
            return made[-1]

        monkeypatch.setattr(stepping, "check_capturable", lambda *_: None)
        monkeypatch.setattr(stepping, "CudaGraphs", make)
        return made

    return use


@pytest.fixture
def captured(config: Config) -> Config:
    """Batches of three, the last of an epoch smaller; bags shorter than what they are padded to."""
    return config.replace(
        model={"impl": "reference"},
        loss={"impl": "reference", "preset": "paper"},
        training={"cuda_graph": True, "snippets": 16, "clip_norm": 0.5, "epochs": 4},
    )


def test_replayed_steps_train_to_the_bits_of_eager_ones(
    make_videos: MakeVideos,
    captured: Config,
    tmp_path: Path,
    on_the_cpu: Callable[[type[Tape]], list[Tape]],
) -> None:
    videos = make_videos(11, query_dim=5)
    heard = {kind: Heard() for kind in (Eager, Tape)}
    for kind, reporter in heard.items():
        made = on_the_cpu(kind)
        train(captured, videos, run_dir=tmp_path / kind.__name__, reporter=reporter)
    (tape,) = made
    # Three full batches and a smaller one per epoch; dropout and learning rate change every time.
    assert (tape.warmed, tape.recorded, tape.replayed) == (3, 1, 9)
    assert heard[Eager].records == heard[Tape].records
    assert_same_run(tmp_path / "Eager", tmp_path / "Tape")


def test_a_captured_run_that_is_cut_goes_on_to_the_same_weights(
    make_videos: MakeVideos,
    captured: Config,
    tmp_path: Path,
    on_the_cpu: Callable[[type[Tape]], list[Tape]],
) -> None:
    config = captured.replace(training={"checkpoint_steps": 1})
    videos = make_videos(11)
    on_the_cpu(Tape)
    train(config, videos, run_dir=tmp_path / "whole")
    with pytest.raises(_PowerCutError):
        train(config, videos, run_dir=tmp_path / "cut", reporter=PowerCut(7))
    train(config, videos, run_dir=tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    (group,) = load_checkpoint(tmp_path / "cut" / "checkpoint.safetensors").optimizer_groups
    assert json.loads(json.dumps(group["lr"])) == pytest.approx(learning_rate(config.training, 3))


def test_captured_training_is_adam_on_the_same_batches(
    make_videos: MakeVideos,
    captured: Config,
    tmp_path: Path,
    on_the_cpu: Callable[[type[Tape]], list[Tape]],
) -> None:
    on_the_cpu(Tape)
    videos = make_videos(12)
    # Masks of dropout differ where batches are padded to another length.
    captured = captured.replace(model={"dropout": 0.0})
    replayed = train(captured, videos, run_dir=tmp_path / "captured")
    plain = captured.replace(training={"cuda_graph": False})
    launched = train(plain, videos, run_dir=tmp_path / "plain")
    for one, other in zip(replayed.history, launched.history, strict=True):
        assert one.total == pytest.approx(other.total, rel=1e-4)


def test_divergence_in_a_replay_names_step_and_video(
    make_videos: MakeVideos,
    captured: Config,
    tmp_path: Path,
    on_the_cpu: Callable[[type[Tape]], list[Tape]],
) -> None:
    videos, config = make_videos(24), captured.replace(training={"preload": False})
    path = videos[3].features[0].path

    class Spoil(Reporter):
        def epoch(self, record: EpochRecord) -> None:
            np.save(path, np.full_like(np.load(path), 3e38))

    made = on_the_cpu(Tape)
    with pytest.raises(TrainingDivergedError, match=r"epoch 2, step \d of 8.*scores of v3;"):
        train(config, videos, run_dir=tmp_path / "run", reporter=Spoil())
    assert made[0].replayed > 5
    saved = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert saved.progress["epochs_done"] == 1
    assert all(entry.isfinite().all() for entry in saved.model.values())


def step_with(factor: Callable[[], float | torch.Tensor]) -> Callable[[Batch], Evidence]:
    def step(batch: Batch) -> Evidence:
        values = batch.features.sum() * factor() * torch.ones(4)
        return Evidence(DDLTerms(*values.unbind()), values, None, batch.features[..., 0], None)

    return step


def a_batch(value: float, bags: int = 2, snippets: int = 3) -> Batch:
    return Batch(
        torch.full((bags, snippets, 1), value),
        torch.full((bags,), snippets),
        torch.ones(bags),
        None,
    )


@pytest.mark.parametrize("on_device", [True, False])
def test_a_number_that_python_hands_over_stays_what_it_was(on_device: bool) -> None:
    # The tape must find what a graph would get wrong, or the tests above show nothing.
    factor = torch.tensor(1.0) if on_device else [1.0]
    step = step_with(lambda: factor if isinstance(factor, torch.Tensor) else factor[0])
    call = CapturedStep(step, Tape(CPU), (2, 3, 1), None, CPU, warm_ups=0)
    assert call(a_batch(1.0)).values[0] == 6
    if isinstance(factor, torch.Tensor):
        factor.fill_(2.0)
    else:
        factor[0] = 2.0
    assert call(a_batch(1.0)).values[0] == (12 if on_device else 6)


def test_what_a_step_leaves_stays_when_the_next_one_is_replayed() -> None:
    call = CapturedStep(step_with(lambda: 1.0), Tape(CPU), (2, 3, 1), None, CPU, warm_ups=1)
    left = [call(a_batch(float(i))) for i in range(4)]
    assert [evidence.values[0].item() for evidence in left] == [0, 6, 12, 18]
    assert [evidence.scores[0, 0].item() for evidence in left] == [0, 1, 2, 3]
    assert [evidence.terms.total.item() for evidence in left] == [0, 6, 12, 18]


def test_batches_of_another_size_are_done_as_they_are() -> None:
    tape = Tape(CPU)
    call = CapturedStep(step_with(lambda: 1.0), tape, (2, 3, 1), None, CPU, warm_ups=0)
    assert call(a_batch(1.0, bags=1)).values[0] == 3
    assert tape.recorded == 0
    # Shorter than what they are padded to: what an earlier batch left behind is padding.
    call(a_batch(5.0))
    assert call(a_batch(1.0, snippets=2)).scores.shape == (2, 3)


@pytest.mark.parametrize(
    ("problem", "kind", "message"),
    [
        (RuntimeError("not permitted"), ConfigError, r"cuda_graph=true.*not permitted.*leave the"),
        (torch.OutOfMemoryError("no memory"), torch.OutOfMemoryError, r"^no memory$"),
    ],
    ids=["host-read", "out-of-memory"],
)
def test_a_step_that_can_not_be_recorded_is_refused_with_the_remedy(
    problem: Exception, kind: type[Exception], message: str
) -> None:
    class Failing(Tape):
        def record(self, body: Callable[[], Evidence]) -> Recording:
            raise problem

    failing: Recorder = Failing(CPU)
    call = CapturedStep(step_with(lambda: 1.0), failing, (2, 3, 1), None, CPU, warm_ups=0)
    with pytest.raises(kind, match=message):
        call(a_batch(1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_budget": 100}, r"training\.token_budget must be not set with .*; got 100"),
        ({"sampling": "none"}, r"training\.sampling must be linspace or bins with .*; got none"),
        ({"accumulate": 2}, r"training\.accumulate must be 1 with .*; got 2"),
        ({"mixed_precision": "fp16"}, r"mixed_precision must be no or bf16 with .*; got fp16"),
    ],
)
def test_options_that_change_a_step_exclude_its_capture(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Config().replace(training={"cuda_graph": True, **options})
    assert Config().replace(training=options).training.cuda_graph is False


def test_capture_needs_one_process_on_a_gpu_without_checks(
    make_videos: MakeVideos, captured: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"needs an NVIDIA GPU, and this training runs on cpu"):
        train(captured, make_videos(), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    gpu = torch.device("cuda", 0)
    check_capturable(gpu, 1)
    with pytest.raises(ConfigError, match="needs one process; got 2"):
        check_capturable(gpu, 2)
    monkeypatch.setenv("LADNET_CHECK", "1")
    with pytest.raises(ConfigError, match="LADNET_CHECK=1"):
        check_capturable(gpu, 1)
