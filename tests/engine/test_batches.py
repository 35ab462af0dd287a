"""Batch plans: every sample once, the same for the same seed, dealt evenly to processes."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from ladnet_fast.engine.batches import BatchPlan, TokenPlan

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


LENGTHS = [5, 3, 8, 1, 20, 4, 4, 2, 6, 9, 3]


@pytest.mark.parametrize("budget", [1, 9, 20, 1000])
def test_batches_of_a_budget_hold_every_sample_once_and_what_fits(budget: int) -> None:
    plan = TokenPlan(LABELS, LENGTHS, budget, seed=3)
    order = samples_of(plan, 5)
    assert sorted(order) == list(range(len(LABELS)))
    sizes = [[LENGTHS[i] for part in step for i in part] for step in plan.epoch(5)]
    for batch, following in zip(sizes, [*sizes[1:], [budget + 1]], strict=True):
        assert sum(batch) <= budget or len(batch) == 1
        assert sum(batch) + following[0] > budget, "a batch ends where the next bag doesn't fit"
    assert plan.steps == len(plan.epoch(0))


def test_order_of_a_budget_follows_from_seed_and_epoch_alone() -> None:
    one, two = (TokenPlan(LABELS, LENGTHS, 12, seed=3) for _ in range(2))
    two.epoch(0)
    assert one.epoch(7) == two.epoch(7)
    assert one.epoch(7) != one.epoch(8)
    assert one.epoch(7) != TokenPlan(LABELS, LENGTHS, 12, seed=4).epoch(7)


@pytest.mark.parametrize("budget", [1, 15, 1000])
def test_balanced_batches_of_a_budget_have_as_many_of_each_class(budget: int) -> None:
    plan = TokenPlan(LABELS, LENGTHS, budget, balanced=True, seed=1)
    for parts in plan.epoch(4):
        labels = LABELS[list(chain.from_iterable(parts))]
        assert 2 * labels.sum() == len(labels)
    counts = torch.bincount(torch.tensor(samples_of(plan, 4)), minlength=len(LABELS))
    assert (counts[LABELS == 0] == 1).all(), "the larger class is seen once"
    assert (counts[LABELS == 1] >= 2).all()


@pytest.mark.parametrize("balanced", [False, True])
def test_processes_share_the_batches_of_a_budget(balanced: bool) -> None:
    whole = TokenPlan(LABELS, LENGTHS, 30, balanced=balanced, seed=1).epoch(0)
    shares = [
        TokenPlan(
            LABELS, LENGTHS, 30, balanced=balanced, accumulate=2, seed=1, processes=2, rank=rank
        ).epoch(0)
        for rank in range(2)
    ]
    for step, batch in enumerate(whole):
        dealt = [part for share in shares for part in share[step]]
        assert all(dealt), "no process is left without a bag"
        assert set(chain.from_iterable(dealt)) == set(batch[0])
