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
    *,
    broken: Sequence[str] | None = None,
) -> str:
    """Say which term, weights or videos are not finite.

    ``scores``, (T,) of each bag, belong to the ``samples`` of ``dataset``. ``broken`` names the
    weights that were not finite when the losses were computed; None: those that aren't now.
    """
    names = ("mil", "ranking", "alignment")
    bad_terms = [name for name in names if not math.isfinite(getattr(terms, name).item())]
    what = f"the loss is not finite ({', '.join(bad_terms) or 'the sum of its terms'})"
    weights = broken_weights(net) if broken is None else first_few(broken)
    if weights:
        return f"{what}: the step before made the weights {weights} non-finite"
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
    state = net.state_dict()
    # Read back together: a GPU is waited for once.
    sound = torch.stack([entry.isfinite().all() for entry in state.values()]).tolist()
    return first_few([name for name, whole in zip(state, sound, strict=True) if not whole])
