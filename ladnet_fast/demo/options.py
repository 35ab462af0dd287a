"""How large the demo is."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of `run_demo`. The defaults are made for a few minutes on two CPU cores.

    Attributes
    ----------
    seed : int
        Seed of the bags and of the first training; each further training adds 1.
    repeats : int
        Trainings of each configuration, over the same bags, each with another seed.
    epochs : int
        Passes over the training bags.
    batch_size : int
        Bags per step, half of them anomalous.
    lr : float
        Learning rate of Adam, with cosine annealing.
    train_bags, held_out_bags : int
        How many bags; every second one is anomalous.
    train_snippets, held_out_snippets : int
        Their lengths.
    background_takes, foreign_takes, held_out_foreign_takes : int
        Takes (of 4 snippets) of the background video, of all foreign training videos together (but
        at least 4 of each) and of the held-out video: what I3D has to look at.
    fades : int
        Cross-fades (of 6 snippets) in each split: so many into foreign footage, as many out of it,
        and as many within the background. Training has at least one each way for every video.
    disturbances, foreign_disturbances : int
        Disturbed snippets of the background, and of each foreign video.
    """

    seed: int = 0
    repeats: int = 3
    epochs: int = 15
    batch_size: int = 8
    lr: float = 5e-4
    train_bags: int = 32
    train_snippets: int = 200
    held_out_bags: int = 24
    held_out_snippets: int = 300
    background_takes: int = 28
    foreign_takes: int = 16
    held_out_foreign_takes: int = 10
    fades: int = 4
    disturbances: int = 20
    foreign_disturbances: int = 4

    def __post_init__(self) -> None:
        # Fewer takes than background segments leave some out; with three, both splits have one.
        least = {
            "seed": 0, "repeats": 1, "epochs": 1, "batch_size": 2, "train_bags": 2,
            "held_out_bags": 2, "train_snippets": 16, "held_out_snippets": 16,
            "background_takes": 3, "foreign_takes": 1, "held_out_foreign_takes": 1,
            "fades": 0, "disturbances": 0, "foreign_disturbances": 0,
        }  # fmt: skip
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} must be at least {smallest}; got {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be greater than 0 and finite; got {self.lr}")

    def takes(self, role: str, foreign_videos: int) -> int:
        """Return how many takes of a video to make, given how many foreign training videos."""
        if role == "background":
            return self.background_takes
        if role == "held-out foreign":
            return self.held_out_foreign_takes
        from .augment import TAKE_SNIPPETS  # which needs torch

        return max(TAKE_SNIPPETS, self.foreign_takes // foreign_videos)

    def disturbed(self, role: str) -> int:
        """Return how many disturbed snippets of a video to make."""
        return self.disturbances if role == "background" else self.foreign_disturbances
