"""Finding what made the loss NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._wording import first_few
from ..data import BagDataset
from ..nn import LANet
from ..ops.ddl_loss import DDLTerms


class TrainingDivergedError(RuntimeError):
    """The loss or a weight is NaN or infinite; the message names epoch, step and culprit."""


def diagnose(
    terms: DDLTerms,
    scores: Sequence[Tensor],
    samples: Sequence[int],
    net: LANet,
    dataset: BagDataset,
) -> str:
    """Say which term, weights or videos are not finite.

    ``scores``, (T,) of each bag, belong to the ``samples`` of ``dataset``.
    """
    names = ("mil", "ranking", "alignment")
    bad_terms = [name for name in names if not math.isfinite(getattr(terms, name).item())]
    what = f"the loss is not finite ({', '.join(bad_terms) or 'the sum of its terms'})"
    broken = broken_weights(net)
    if broken:
        return f"{what}: the step before made the weights {broken} non-finite"
    rows = [row for row, bag in enumerate(scores) if not torch.isfinite(bag).all()]
    if rows:
        videos = [dataset.videos[dataset.samples[samples[row]][0]].name for row in rows]
        return (
            f"{what}: so are the scores of {first_few(videos)}; look at these videos' features for "
            "huge values"
        )
    return f"{what}: the weights and the scores of this process are finite, so the loss overflowed"


def broken_weights(net: LANet) -> str:
    """Name the entries of the state dict that are not finite; empty if all are."""
    return first_few(
        [name for name, entry in net.state_dict().items() if not entry.isfinite().all()]
    )
