from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ladnet_fast.data import BalancedBatchSampler, EpochSampler


def _epoch(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


@given(st.integers(1, 200), st.integers(0, 2**63), st.integers(0, 1000))
def test_an_epoch_holds_every_sample_once(size, seed, epoch):
    sampler = EpochSampler(size, seed=seed)
    assert sorted(_epoch(sampler, epoch)) == list(range(size))
    assert len(sampler) == size


LABELS = [1] * 10 + [0] * 25


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: EpochSampler(35, seed=seed),
        lambda seed: BalancedBatchSampler(LABELS, 8, seed=seed),
    ],
)
def test_order_is_a_function_of_seed_and_epoch_alone(make):
    torch.manual_seed(1)
    first = [_epoch(make(5), epoch) for epoch in range(4)]
    torch.manual_seed(2)  # the global generator plays no part
    resumed = make(5)
    assert _epoch(resumed, 2) == first[2]
    assert list(resumed) == first[2]
    others = [_epoch(make(seed), epoch) for seed in (5, 6) for epoch in range(4)]
    # all differ, seed 6 epoch 0 from seed 5 epoch 1 too
    assert all(a != b for i, a in enumerate(others) for b in others[:i])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 17))
def test_every_batch_is_full_and_half_positive(positives, negatives, batch_size):
    labels = torch.tensor([0] * negatives + [1] * positives)
    sampler = BalancedBatchSampler(labels, batch_size)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    half = (batch_size + 1) // 2
    for batch in batches:
        assert labels[batch].tolist() == [1] * half + [0] * (batch_size - half)
    drawn = Counter(i for batch in batches for i in batch)
    for value in (0, 1):
        times = [drawn[i] for i in range(len(labels)) if labels[i] == value]
        assert min(times) >= 1  # nothing is left out
        assert max(times) - min(times) <= 1  # repeats are spread evenly
    # The class that fills more batches is not repeated, but to fill up the last one.
    assert (len(batches) - 1) * half < positives or (len(batches) - 1) * (
        batch_size - half
    ) < negatives


@pytest.mark.parametrize(
    ("labels", "batch_size", "message"),
    [
        ([1, 1], 2, "no negative sample"),
        ([0, 0], 2, "no positive sample"),
        ([], 2, "no positive sample"),
        ([0, 2], 2, "labels must be one 0 or 1"),
        ([[0, 1]], 2, "labels must be one 0 or 1"),
        ([0, 1], 1, "batch_size must be at least 2"),
    ],
)
def test_balanced_batches_refuse_what_they_cannot_balance(labels, batch_size, message):
    with pytest.raises(ValueError, match=message):
        BalancedBatchSampler(labels, batch_size)


def test_bad_size_and_epoch_are_refused():
    with pytest.raises(ValueError, match="size must be at least 1"):
        EpochSampler(0)
    for sampler in (EpochSampler(3), BalancedBatchSampler([0, 1], 2)):
        with pytest.raises(ValueError, match="epoch must be at least 0"):
            sampler.set_epoch(-1)
