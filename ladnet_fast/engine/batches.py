"""Which bags an optimiser step sees, cut into the parts that processes and accumulation need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
        Both classes in every batch; see `ladnet_fast.data.BalancedBatchSampler`.
    accumulate : int
        Parts in which each process works through its share.
    seed : int
        Seed of the order.
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
        return [self._parts(batch) for batch in self._batches(epoch)]

    def _batches(self, epoch: int) -> list[list[int]]:
        self.sampler.set_epoch(epoch)
        if isinstance(self.sampler, BalancedBatchSampler):
            return list(self.sampler)
        order = list(self.sampler)
        return [
            order[start : start + self.batch_size]
            for start in range(0, len(order), self.batch_size)
        ]

    def _parts(self, batch: Sequence[int]) -> list[list[int]]:
        parts = min(self.accumulate, -(-len(batch) // self.processes))
        slots = parts * self.processes
        dealt = [batch[i % len(batch)] for i in range(max(len(batch), slots))]
        return [dealt[part * self.processes + self.rank :: slots] for part in range(parts)]


class TokenPlan(BatchPlan):
    """The same plan with batches of a number of snippets instead of a number of bags.

    Bags follow one another in the order of the epoch; a batch is full where the next bag would take
    it beyond the budget. A bag that is longer than the budget is a batch of its own. If balanced,
    bags come in pairs of an anomalous and a normal one: the class with more bags is seen once an
    epoch, the other is repeated in a new order each time.

    Parameters
    ----------
    labels : Tensor, (number of samples,)
        0 or 1 for every sample.
    lengths : sequence of int
        Snippets of every sample.
    budget : int
        Snippets of an optimiser step, all processes and accumulated parts together.
    balanced, accumulate, seed, processes, rank
        As `BatchPlan` has them.

    Attributes
    ----------
    steps : int
        Of the first epoch; others may have a few more or less.
    """

    def __init__(
        self,
        labels: Tensor,
        lengths: Sequence[int],
        budget: int,
        *,
        balanced: bool = False,
        accumulate: int = 1,
        seed: int = 0,
        processes: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(
            labels, 2, balanced=balanced, accumulate=accumulate, seed=seed, processes=processes,
            rank=rank,
        )  # fmt: skip
        self.lengths, self.budget = lengths, budget
        self.steps = len(self._batches(0))

    def _batches(self, epoch: int) -> list[list[int]]:
        self.sampler.set_epoch(epoch)
        groups: Iterable[list[int]]
        if isinstance(self.sampler, BalancedBatchSampler):
            groups = self.sampler  # an anomalous and a normal bag each
        else:
            groups = ([sample] for sample in self.sampler)
        batches: list[list[list[int]]] = []
        room = 0
        for group in groups:
            size = sum(self.lengths[sample] for sample in group)
            if not batches or size > room:
                batches.append([])
                room = self.budget
            batches[-1].append(group)
            room -= size
        # All bags of one class, then all of the other: parts that are dealt in turn get both.
        return [
            [sample for turn in zip(*batch, strict=True) for sample in turn] for batch in batches
        ]
