"""Batch plans: every sample once, the same for the same seed, dealt evenly to processes."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from ladnet_fast.engine.batches import BatchPlan

LABELS = torch.tensor([0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0])


def samples_of(plan: BatchPlan, epoch: int) -> list[int]:
    return list(chain.from_iterable(chain.from_iterable(plan.epoch(epoch))))


@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 1), (4, 1), (4, 2), (4, 4), (128, 8)])
def test_every_sample_comes_once_an_epoch(batch_size: int, accumulate: int) -> None:
    plan = BatchPlan(LABELS, batch_size, accumulate=accumulate, seed=3)
    assert sorted(samples_of(plan, 5)) == list(range(len(LABELS)))
    assert len(plan.epoch(5)) == plan.steps


def test_order_follows_from_seed_and_epoch_alone() -> None:
    one, two = (BatchPlan(LABELS, 4, seed=3) for _ in range(2))
    two.epoch(0)
    assert one.epoch(7) == two.epoch(7)
    assert one.epoch(7) != one.epoch(8)
    assert one.epoch(7) != BatchPlan(LABELS, 4, seed=4).epoch(7)


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_share_the_batches_of_one_process(processes: int, accumulate: int) -> None:
    whole = BatchPlan(LABELS, 6, seed=1).epoch(0)
    shares = [
        BatchPlan(LABELS, 6, accumulate=accumulate, seed=1, processes=processes, rank=rank).epoch(0)
        for rank in range(processes)
    ]
    for step, batch in enumerate(whole):
        parts = {len(share[step]) for share in shares}
        assert len(parts) == 1, "every process has the same number of parts"
        dealt = [part for share in shares for part in share[step]]
        assert all(dealt), "no process is left without a bag"
        assert set(chain.from_iterable(dealt)) == set(batch[0])
        sizes = {len(part) for part in dealt}
        assert max(sizes) - min(sizes) <= 1


def test_balanced_batch_has_both_classes_in_every_part() -> None:
    plans = [
        BatchPlan(LABELS, 8, balanced=True, accumulate=2, seed=1, processes=2, rank=rank)
        for rank in range(2)
    ]
    for plan in plans:
        for parts in plan.epoch(2):
            for part in parts:
                assert set(LABELS[part].tolist()) == {0, 1}
