"""One training run: its objects, how far it is, and what an epoch does.

Everything random is a pure function of the seed, the epoch and the step, so a run that was stopped
goes on exactly where it was, in the middle of an epoch too.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..data import BagDataset, Batch, Video, train_validation_split
from ..data._arrays import hdf5_kept_open
from ..data.batch_reader import PackedBatch, from_pack
from ..data.memory_limit import MemoryLimit
from ..nn import LANet
from .checkpoint import Checkpoint, CheckpointError, load_checkpoint
from .coercion import ConfigError
from .config import Config
from .divergence import TrainingDivergedError, broken_weights, diagnose
from .evaluation import GroundTruth
from .identity import check_classes, check_same_run, fingerprint, with_widths
from .late_reading import LateReading
from .loading import BatchLoading, memory_for
from .loss_log import TERMS, LossLog, Place
from .process import seed_step
from .reporting import EpochRecord, Plan, Reporter, StepRecord
from .run_folder import CHECKPOINT as CHECKPOINT
from .run_folder import RunFolder, record_as_dict, record_from_dict
from .run_info import write_run_info
from .scoring import Scores, score_video
from .sections import TrainingConfig
from .step import Evidence
from .stepping import Stepper
from .trained_on import training_origin
from .validation import KeptVideos, Validator

SelectedBy = Literal["validation", "test", "last"]


def learning_rate(training: TrainingConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0."""
    if training.schedule == "constant":
        return training.lr
    return training.lr * (1 + math.cos(math.pi * epoch / training.t_max)) / 2


class TrainingRun:
    """One training: its objects, how far it is, and what an epoch does."""

    def __init__(
        self,
        config: Config,
        videos: Sequence[Video],
        folder: RunFolder,
        accelerator: Any,
        reporter: Reporter,
        test_videos: Sequence[Video] | None,
        test_truth: GroundTruth,
    ) -> None:
        self.folder, self.accelerator, self.reporter = folder, accelerator, reporter
        training = config.training
        held_out: Sequence[Video] = ()
        truth = GroundTruth()
        self.selected_by: SelectedBy = "last"
        if training.select_on_test:
            if not test_videos:
                raise ConfigError("training.select_on_test needs test videos")
            warnings.warn(
                "the epoch is chosen on the test videos: the test figures are optimistic, and "
                "must be reported as such",
                stacklevel=4,
            )
            self.selected_by, held_out, truth = "test", test_videos, test_truth
        elif training.validation > 0:
            videos, held_out = train_validation_split(
                videos, fraction=training.validation, seed=training.seed
            )
            self.selected_by = "validation"
        if not training.use_queries:
            videos = [dataclasses.replace(video, query=None) for video in videos]
        memory = memory_for(training, accelerator.num_processes)
        self.dataset = BagDataset(
            videos,
            sampling=training.sampling,
            size=training.snippets,
            crops=training.crops,
            preload=training.preload is True,
            # What workers have read is gone with them.
            memory=None if training.workers else memory,
        )
        check_classes(self.dataset)
        self._trained_on = training_origin([*videos, *held_out])
        self.config = with_widths(config, self.dataset)
        self.validator = None
        if held_out:
            self.validator = Validator(held_out, training.metric, truth)
        self._loading = BatchLoading(self.dataset, training, accelerator)
        self.batches = self._loading.plan
        # What lies in a pack is in the system's cache already.
        self._held_out = KeptVideos(MemoryLimit(0) if from_pack(self.dataset) else memory)
        torch.manual_seed(training.seed)
        self.net = self.config.model.build()
        self.criterion = self.config.loss.build()
        reading = LateReading(accelerator.device)
        self._losses = LossLog(reading, self._wrong_loss, self._tell)
        self._stepper = Stepper(
            accelerator, self.net, self.criterion, training, self.dataset, late=reading.lag > 0
        )
        self.model, self.optimizer = self._stepper.model, self._stepper.optimizer
        # How far the run is: epochs done, steps done in the next one, and the sums of its terms.
        self.epochs_done = self.steps_done = self.global_step = 0
        self.sums = dict.fromkeys(TERMS, 0.0)
        self.history: list[EpochRecord] = []
        self.best: dict[str, Any] = {"epoch": 0, "value": None}
        self._best_weights: dict[str, Tensor] = {}  # on the CPU; empty before there is a best epoch
        self._identity = {
            "config": self.config.as_dict(),
            "videos": fingerprint(self.dataset, held_out),
            "processes": accelerator.num_processes,
        }

    def prepare(
        self, resume: bool, command: Sequence[str] | None, source: Mapping[str, Any] | None
    ) -> None:
        """Take up a checkpoint, write what describes the run, and what a kill left unwritten."""
        if resume and self.folder.checkpoint.exists():
            self._restore(self.folder.checkpoint)
        self.accelerator.wait_for_everyone()  # all have looked before the first one writes
        if self.accelerator.is_main_process:
            self.folder.write_config(self.config)
            extra = {"processes": self.accelerator.num_processes, "data": dict(source or {})}
            write_run_info(
                self.folder.path, command=command, seed=self.config.training.seed, extra=extra
            )
            self._repair()
        training = self.config.training
        self.reporter.start(
            Plan(
                run_dir=self.folder.path,
                epochs=training.epochs,
                steps_per_epoch=self.batches.steps,
                bags=len(self.dataset),
                videos=len(self.dataset.videos),
                validation_videos=0 if self.validator is None else len(self.validator.videos),
                parameters=sum(p.numel() for p in self.net.parameters() if p.requires_grad),
                device=str(self.accelerator.device),
                first_epoch=self.epochs_done + 1,
            )
        )

    def loop(self) -> None:
        """Do the epochs that are left."""
        training = self.config.training
        while self.epochs_done < training.epochs and not self._is_exhausted():
            lr = learning_rate(training, self.epochs_done)
            self._stepper.set_learning_rate(lr)
            with hdf5_kept_open():
                self._steps(lr)
                self._finish_epoch(lr)
        self.accelerator.wait_for_everyone()

    def _is_exhausted(self) -> bool:
        """Tell whether the last ``training.patience`` validations gave nothing higher."""
        patience = self.config.training.patience
        if patience is None or self.validator is None:
            return False
        values = [r.metrics[self.validator.metric] for r in self.history if r.metrics]
        return len(values) > patience and max(values[-patience:]) <= max(values[:-patience])

    def _steps(self, lr: float) -> None:
        training = self.config.training
        epoch = self.epochs_done
        plan = self.batches.epoch(epoch)
        todo = [
            (step, part, len(parts), samples)
            for step, parts in enumerate(plan)
            for part, samples in enumerate(parts)
            if step >= self.steps_done
        ]
        loader = self._loading.loader([samples for *_, samples in todo])
        self.model.train()
        for batch, (step, part, parts, samples) in zip(loader, todo, strict=True):
            seed_step(training.seed, epoch, step, part, self.accelerator.process_index)
            self._part(batch, Place(epoch, step, part, parts, samples, self.global_step + 1, lr))
            if part + 1 < parts:
                continue
            self.steps_done, self.global_step = step + 1, self.global_step + 1
            self._losses.tell()
            every = training.checkpoint_steps
            if every is not None and self.global_step % every == 0 and step + 1 < len(plan):
                self._checkpoint()

    def _part(self, batch: Batch | PackedBatch, place: Place) -> None:
        self._stepper(batch, place.parts, lambda evidence: self._losses.add(place, evidence))

    def _wrong_loss(
        self, place: Place, evidence: Evidence, peaks: list[float] | None
    ) -> TrainingDivergedError:
        # Later steps may have changed the weights since: then their peaks are known.
        broken = None if peaks is None else self._stepper.broken(peaks)
        culprit = diagnose(
            evidence.terms, evidence.bags(), place.samples, self.net, self.dataset, broken=broken
        )
        return self._diverged(place.step + 1, culprit)

    def _tell(self, place: Place, means: Mapping[str, float]) -> None:
        self.sums = {name: self.sums[name] + means[name] for name in TERMS}
        self.reporter.step(
            StepRecord(place.epoch + 1, place.step + 1, place.global_step, **means, lr=place.lr)
        )

    def _finish_epoch(self, lr: float) -> None:
        training = self.config.training
        self._losses.finish()
        self._check_weights()
        self.epochs_done += 1
        last = self.epochs_done == training.epochs
        metrics: dict[str, float] = {}
        best = self.validator is None
        if self.validator is not None and (last or self.epochs_done % training.validate_every == 0):
            metrics = self.validator(self.net, self._score)
            value = metrics[self.validator.metric]
            # Among equals the later epoch, which has seen more data.
            best = self.best["value"] is None or value >= self.best["value"]
            if best:
                self.best = {"epoch": self.epochs_done, "value": value}
        if self.validator is None:
            self.best = {"epoch": self.epochs_done, "value": None}
        record = EpochRecord(
            self.epochs_done,
            **{name: total / self.steps_done for name, total in self.sums.items()},
            lr=lr,
            sigma=_sigma(self.net),
            metrics=metrics,
            best=best,
        )
        self.history.append(record)
        self.steps_done, self.sums = 0, dict.fromkeys(TERMS, 0.0)
        every = training.checkpoint_steps
        exhausted = self._is_exhausted()
        due = (
            last
            or exhausted
            or self.epochs_done % training.checkpoint_every == 0
            or (every is not None and self.global_step % every == 0)
        )
        if best and self.accelerator.is_main_process:
            state = self.net.state_dict()
            self._best_weights = {
                name: entry.detach().cpu().clone() for name, entry in state.items()
            }
        if self.accelerator.is_main_process:
            # The checkpoint has all that the other files say: whichever of them a kill prevents,
            # resuming writes it from there.
            if best and (due or self.validator is not None):
                self.folder.write_model(self.net, self.config.model, self._trained_on)
            if due:
                self._checkpoint()
                self.folder.write_history(self.history)
        self.reporter.epoch(record)
        if exhausted and not last and self.validator is not None:
            self.reporter.message(
                f"stopped early after epoch {self.epochs_done}: {self.validator.metric} was not "
                f"higher in {training.patience} validations; epoch {self.best['epoch']} is kept"
            )

    def _score(self, model: LANet, videos: Sequence[Video]) -> Mapping[str, Scores]:
        precision = "bf16" if self.config.training.mixed_precision == "bf16" else "fp32"
        mine = {
            video.name: score_video(
                model, video, crops=self._held_out.crops(video), precision=precision
            )
            for video in videos[self.accelerator.process_index :: self.accelerator.num_processes]
        }
        if self.accelerator.num_processes == 1:
            return mine
        from accelerate.utils import gather_object

        return {name: scores for share in gather_object([mine]) for name, scores in share.items()}

    def _checkpoint(self) -> None:
        self._losses.finish()
        self._check_weights()
        if not self.accelerator.is_main_process:
            return
        progress = {
            **self._identity,
            "epochs_done": self.epochs_done,
            "steps_done": self.steps_done,
            "global_step": self.global_step,
            "sums": self.sums,
            "best": self.best,
            "history": [record_as_dict(record) for record in self.history],
        }
        Checkpoint.capture(
            self.net,
            self.optimizer.optimizer,
            self.accelerator.scaler,
            progress,
            best={} if self._is_at_the_best_epoch() else self._best_weights,
        ).save(self.folder.checkpoint)

    def _is_at_the_best_epoch(self) -> bool:
        return self.steps_done == 0 and 0 < self.best["epoch"] == self.epochs_done

    def _restore(self, path: Path) -> None:
        checkpoint = load_checkpoint(path)
        progress = checkpoint.progress
        check_same_run(path, progress, self._identity)
        if progress["epochs_done"] > self.config.training.epochs:
            raise CheckpointError(
                f"{path} has {progress['epochs_done']} epochs behind it, more than "
                f"training.epochs = {self.config.training.epochs}"
            )
        checkpoint.restore(self.net, self.optimizer.optimizer, self.accelerator.scaler)
        for name in ("epochs_done", "steps_done", "global_step", "sums", "best"):
            setattr(self, name, progress[name])
        self.history = [record_from_dict(record) for record in progress["history"]]
        best = checkpoint.model if self._is_at_the_best_epoch() else checkpoint.best
        self._best_weights = {name: entry.clone() for name, entry in best.items()}
        self.reporter.message(
            f"resumed from {path}: {self.epochs_done} epochs and {self.steps_done} steps are done"
        )

    def _repair(self) -> None:
        """Write what a run that is resumed has in its checkpoint and perhaps not in its files."""
        if self.history:
            self.folder.write_history(self.history)
        if self._best_weights:
            self.folder.write_model(self._with_best_weights(), self.config.model, self._trained_on)
        elif self.best["epoch"] and not self.folder.weights.is_file():
            raise CheckpointError(
                f"{self.folder.weights} is missing, and {self.folder.checkpoint}, of an earlier "
                "version, has the last weights only; put it back, or train in another folder"
            )

    def _with_best_weights(self) -> LANet:
        with torch.random.fork_rng(devices=[]):
            net = self.config.model.build()
        net.load_state_dict(self._best_weights)
        return net

    def _check_weights(self) -> None:
        broken = broken_weights(self.net)
        if broken:
            raise self._diverged(
                self.steps_done, f"the optimiser made the weights {broken} non-finite"
            )

    def _diverged(self, step: int, culprit: str) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"epoch {self.epochs_done + 1}, step {step} of {self.batches.steps}: {culprit}. "
            f"Lower training.lr, set training.clip_norm, or train without mixed precision. The "
            f"last good state is kept in {self.folder.path}"
        )


def _sigma(net: LANet) -> tuple[float, ...] | None:
    prior = net.attention.prior
    if prior is None or prior.form != "gaussian":
        return None
    with torch.no_grad():
        return tuple((1 / (2 * prior()[0])).tolist())
