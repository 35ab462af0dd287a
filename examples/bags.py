"""Bags that stand for videos: normal snippets are noise, anomalous ones are shifted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

WIDTH = 16
SNIPPETS = 24


class Bags(Dataset[dict[str, Tensor]]):
    """Padded bags with one label each, and the labels of their snippets for evaluation."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) % 2
        self.lengths = torch.randint(SNIPPETS // 2, SNIPPETS + 1, (count,), generator=generator)
        self.x = torch.randn(count, SNIPPETS, WIDTH, generator=generator)
        place = torch.arange(SNIPPETS)
        inside = (place >= 4) & (place < 9)  # where anomalous bags are anomalous
        self.truth = (self.labels[:, None] * inside).bool()
        self.x[self.truth] += 1.5

    def __len__(self) -> int:
        """Return how many bags there are."""
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return a bag by the names that LANet's and the losses' arguments have."""
        return {
            "x": self.x[index],
            "lengths": self.lengths[index],
            "labels": self.labels[index],
            "truth": self.truth[index],
        }
