"""The optimiser of a training and its steps, eager or captured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..data import BagDataset, Batch
from ..data.batch_reader import PackedBatch
from ..losses import DDLLoss
from ..nn import LANet
from .captured import CapturedStep, CudaGraphs, check_capturable
from .sections import TrainingConfig
from .step import Evidence, TrainingStep


class Stepper:
    """Does the steps of a training.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        Device, processes and precision.
    net, criterion
        What is trained, and by which losses.
    training : TrainingConfig
        Options.
    dataset : BagDataset
        Its widths and sizes are those of batches.
    late : bool
        Whether the losses are read after the weights have changed.

    Attributes
    ----------
    model : nn.Module
        The network as the accelerator has prepared it.
    optimizer : accelerate.optimizer.AcceleratedOptimizer
        Adam.

    Raises
    ------
    ConfigError
        If a step can't be captured here, and that is asked for.
    """

    def __init__(
        self,
        accelerator: Any,
        net: LANet,
        criterion: DDLLoss,
        training: TrainingConfig,
        dataset: BagDataset,
        *,
        late: bool,
    ) -> None:
        self._accelerator, device = accelerator, accelerator.device
        options: dict[str, Any] = {}
        # A graph repeats launches as they are: what changes must be read from the device.
        self._lr: Tensor | None = None
        if training.cuda_graph:
            check_capturable(device, accelerator.num_processes)
            self._lr = torch.zeros((), dtype=torch.float32, device=device)
            options = {"fused": True, "capturable": device.type == "cuda"}
        adam = torch.optim.Adam(
            [p for p in net.parameters() if p.requires_grad],
            lr=training.lr,
            weight_decay=training.weight_decay,
            **options,
        )
        self.model, self.optimizer = accelerator.prepare(net, adam)
        self._step = TrainingStep(
            accelerator, self.model, net, criterion, self.optimizer,
            accumulate=training.accumulate, clip_norm=training.clip_norm,
            look_at_weights=late or training.cuda_graph,
        )  # fmt: skip
        self._captured: CapturedStep | None = None
        if training.cuda_graph:
            shape = (training.batch_size, dataset.size, dataset.feature_dim)
            self._captured = CapturedStep(
                self._whole, CudaGraphs(device), shape, dataset.query_dim, device
            )
        #: Names the weights whose entries of `Evidence.peaks` are not finite.
        self.broken = self._step.broken

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate of the steps that come."""
        if self._lr is not None:
            self._lr.fill_(lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr if self._lr is None else self._lr

    def __call__(
        self, batch: Batch | PackedBatch, parts: int, look: Callable[[Evidence], None]
    ) -> None:
        """Do one of the ``parts`` of a step; ``look`` is called with what it leaves.

        An eager step calls it before the weights change, and leaves them if it raises.
        """
        with self._accelerator.accumulate(self.model):
            if self._captured is not None and isinstance(batch, Batch):
                look(self._captured(batch))
                return
            total, evidence = self._step.losses(batch)
            look(evidence)
            self._step.descend(total, parts)

    def _whole(self, batch: Batch) -> Evidence:
        total, evidence = self._step.losses(batch)
        self._step.descend(total, parts=1)
        return evidence
