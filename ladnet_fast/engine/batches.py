"""Which bags an optimiser step sees, cut into the parts that processes and accumulation need."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..data import BalancedBatchSampler, EpochSampler


class BatchPlan:
    """The batches of every epoch: a pure function of the seed and the epoch.

    A batch is what one optimiser step sees. It is dealt in turn to ``accumulate`` x ``processes``
    parts, so that parts differ by one bag at most, and both classes of a balanced batch reach
    every part. A last batch with fewer bags than parts is cut into fewer; where it cannot give
    every process a bag, its first bags are repeated.

    Parameters
    ----------
    labels : Tensor, (number of samples,)
        0 or 1 for every sample.
    batch_size : int
        Bags of an optimiser step.
    balanced : bool
        Both classes in every batch; see :class:`ladnet_fast.data.BalancedBatchSampler`.
    accumulate : int
        Parts in which each process works through its share.
    seed : int
        Of the order.
    processes, rank : int
        Number of processes and this one's index.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        balanced: bool = False,
        accumulate: int = 1,
        seed: int = 0,
        processes: int = 1,
        rank: int = 0,
    ) -> None:
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.processes = processes
        self.rank = rank
        self.sampler: BalancedBatchSampler | EpochSampler
        if balanced:
            self.sampler = BalancedBatchSampler(labels, batch_size, seed=seed)
            self.steps = len(self.sampler)
        else:
            self.sampler = EpochSampler(len(labels), seed=seed)
            self.steps = -(-len(labels) // batch_size)

    def epoch(self, epoch: int) -> list[list[list[int]]]:
        """Return this process's samples of an epoch (from 0): ``[step][part][sample]``."""
        self.sampler.set_epoch(epoch)
        if isinstance(self.sampler, BalancedBatchSampler):
            batches = list(self.sampler)
        else:
            order = list(self.sampler)
            batches = [
                order[start : start + self.batch_size]
                for start in range(0, len(order), self.batch_size)
            ]
        return [self._parts(batch) for batch in batches]

    def _parts(self, batch: Sequence[int]) -> list[list[int]]:
        parts = min(self.accumulate, -(-len(batch) // self.processes))
        slots = parts * self.processes
        dealt = [batch[i % len(batch)] for i in range(max(len(batch), slots))]
        return [dealt[part * self.processes + self.rank :: slots] for part in range(parts)]
