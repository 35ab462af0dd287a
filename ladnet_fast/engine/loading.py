"""How training gets its batches: which bags, from where, and through which loader."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader

from .._extras import import_extra
from ..data import BagDataset, Batch, collate
from ..data._arrays import hdf5_kept_open, keep_hdf5_open
from ..data.batch_reader import BatchReader, PackedBatch, from_pack, sample_lengths
from ..data.memory_limit import MemoryLimit, spare_bytes
from .batches import BatchPlan, TokenPlan
from .coercion import ConfigError
from .sections import TrainingConfig


class BatchLoading:
    """The batches of one process of a training.

    Parameters
    ----------
    dataset : BagDataset
        The training bags.
    training : TrainingConfig
        Sizes, order and workers.
    accelerator : accelerate.Accelerator
        Processes and device.

    Attributes
    ----------
    plan : BatchPlan
        Which samples each step sees.

    Raises
    ------
    ConfigError
        If a batch has fewer bags than there are processes and parts.
    """

    def __init__(self, dataset: BagDataset, training: TrainingConfig, accelerator: Any) -> None:
        self._dataset, self._training, self._device = dataset, training, accelerator.device
        packed = training.token_budget is not None
        parts = training.accumulate * accelerator.num_processes
        if not packed and training.batch_size < parts:
            raise ConfigError(
                f"training.batch_size = {training.batch_size} bags can't be dealt to "
                f"{accelerator.num_processes} processes x {training.accumulate} accumulated parts"
            )
        # Whole batches are read at once where they are packed, or lie in a pack.
        whole = packed or from_pack(dataset)
        self._reader = BatchReader(dataset, packed=packed) if whole else None
        self.plan = self._planned(accelerator.num_processes, accelerator.process_index)

    def _planned(self, processes: int, rank: int) -> BatchPlan:
        training, labels = self._training, self._dataset.labels
        options: dict[str, Any] = {
            "balanced": training.balanced,
            "accumulate": training.accumulate,
            "seed": training.seed,
            "processes": processes,
            "rank": rank,
        }
        if training.token_budget is None:
            return BatchPlan(labels, training.batch_size, **options)
        with hdf5_kept_open():
            lengths = sample_lengths(self._dataset)
        return TokenPlan(labels, lengths, training.token_budget, **options)

    def loader(self, batches: list[list[int]]) -> Any:
        """Return what yields a `Batch` or `PackedBatch` on the device for each list of samples."""
        training = self._training
        together: Callable[[Any], Any] = collate if self._reader is None else _as_it_is
        loader: DataLoader[Any] = DataLoader(
            self._dataset if self._reader is None else self._reader,
            batch_sampler=batches,
            collate_fn=together,
            # Workers have nothing to read where all bags are in memory.
            num_workers=0 if training.preload is True else training.workers,
            worker_init_fn=keep_hdf5_open,
            pin_memory=self._device.type == "cuda",
            # Its own generator: the loader draws a seed for its workers when it starts.
            generator=torch.Generator(),
        )
        prepare = import_extra("accelerate.data_loader", extra="tools", purpose="train")
        # The plan has dealt the samples to the processes already.
        return prepare.prepare_data_loader(
            loader,
            device=self._device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            # Copies from pinned memory: the host need not wait for them.
            non_blocking=self._device.type == "cuda",
        )


def memory_for(training: TrainingConfig, processes: int) -> MemoryLimit:
    """Return how much of the features this process keeps in memory."""
    if training.preload == "auto":
        return MemoryLimit(spare_bytes(processes))
    return MemoryLimit(sys.maxsize if training.preload else 0)


def _as_it_is(batch: Batch | PackedBatch) -> Batch | PackedBatch:
    return batch
