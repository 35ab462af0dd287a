"""Orders in which training samples are drawn: pure functions of a seed and the epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from .._values import count, shown


def _generator(seed: int, *stream: int) -> torch.Generator:
    """Return a generator of its own for every (seed, stream), unlike seed + epoch."""
    state = seed & (2**64 - 1)
    for number in stream:
        # One step of SplitMix64: neighbouring seeds and epochs give unrelated orders.
        state = (state + (number + 1) * 0x9E3779B97F4A7C15) & (2**64 - 1)
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        state ^= state >> 31
    return torch.Generator().manual_seed(state & (2**63 - 1))


def _check_epoch(epoch: int) -> int:
    return count("epoch", epoch, least=0, most=None, allowed="at least 0")


def _check_seed(seed: int) -> int:
    return count("seed", seed, least=None, most=None)


def _check_labels(labels: Sequence[int] | Tensor) -> Tensor:
    try:
        checked = torch.as_tensor(labels)
        good = checked.dim() == 1 and bool(((checked == 0) | (checked == 1)).all())
    except (TypeError, ValueError, RuntimeError):  # no numbers, or none that can be read
        good = False
    if not good:
        raise ValueError(f"labels must be one 0 or 1 for each sample; got {shown(labels)}")
    return checked


class EpochSampler(Sampler[int]):
    """Plain shuffling, a new order every epoch.

    The order depends on ``seed`` and the epoch alone: to resume, call ``set_epoch`` and skip the
    samples that are done.

    Parameters
    ----------
    size : int
        Number of samples of the data set, at least 1.
    seed : int
        Seed of all epochs.
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self.size, self.seed, self.epoch = count("size", size), _check_seed(seed), 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = _check_epoch(epoch)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.size, generator=_generator(self.seed, self.epoch))
        return iter(order.tolist())


class BalancedBatchSampler(Sampler[list[int]]):
    """Batches with half positive and half negative samples.

    With plain shuffling a small batch may lack a class, and the dynamics ranking loss is then 0.
    The class that fills more batches is seen once per epoch (up to the last batch, which is
    filled up); the other is repeated, in a new order each time. With an odd batch size the
    positive half is the larger one.

    Parameters
    ----------
    labels : sequence of int or Tensor, (number of samples,)
        0 or 1 for every sample, both present.
    batch_size : int
        At least 2.
    seed : int
        Seed of all epochs.

    Raises
    ------
    ValueError
        If a class is absent, a label is neither 0 nor 1, or ``batch_size`` is less than 2.
    """

    drop_last = False  # read by Accelerate when it shares batches among processes

    def __init__(self, labels: Sequence[int] | Tensor, batch_size: int, *, seed: int = 0) -> None:
        labels = _check_labels(labels)
        batch_size = count(
            "batch_size", batch_size, least=2, allowed="at least 2 to hold both classes"
        )
        self.members = {value: torch.nonzero(labels == value).flatten() for value in (1, 0)}
        for value, members in self.members.items():
            if len(members) == 0:
                raise ValueError(
                    f"labels has no {'positive' if value else 'negative'} sample; "
                    "balanced batches need both classes"
                )
        self.per_batch = {1: (batch_size + 1) // 2, 0: batch_size // 2}
        self.batch_size, self.seed, self.epoch = batch_size, _check_seed(seed), 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = _check_epoch(epoch)

    def __len__(self) -> int:
        return max(
            math.ceil(len(members) / self.per_batch[value])
            for value, members in self.members.items()
        )

    def __iter__(self) -> Iterator[list[int]]:
        batches = len(self)
        halves = {}
        for value, members in self.members.items():
            generator = _generator(self.seed, self.epoch, value)
            rounds = math.ceil(batches * self.per_batch[value] / len(members))
            order = [
                members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)
            ]
            halves[value] = torch.cat(order)
        for batch in range(batches):
            yield [
                int(index)
                for value, half in halves.items()
                for index in half[batch * self.per_batch[value] :][: self.per_batch[value]]
            ]
