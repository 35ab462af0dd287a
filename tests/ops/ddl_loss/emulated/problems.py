"""Problems for both passes of the losses, and what their results must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import cases, native_tools
from ..native_tools import WEIGHTS
from .passes import Problem, Results

#: The dtypes of features, by the names that the module takes.
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
#: Bags of one snippet, around a warp, and longer than the chunk that some tests choose.
RAGGED = [1, 5, 33, 2, 64, 1, 130, 17]


class Case:
    """Packed bags with options, and the same as a `Problem`, packed or padded."""

    def __init__(
        self,
        lengths: list[int],
        C: int,
        dtype: torch.dtype = torch.float32,
        *,
        ties: bool = False,
        seed: int = 0,
        chunk: int = 0,
        strip: int = 0,
        part: int = 0,
        **options: Any,
    ) -> None:
        torch.manual_seed(seed)
        scores, features, self.labels = cases.random_bags(lengths, C, torch.float32)
        if ties:  # few values, so that thresholds are shared and some rows are equal or zero
            scores = (scores * 4).round() / 4
            features = features.round().clamp(-1, 1)
        self.lengths = lengths
        self.scores, self.features = scores, features.to(dtype)
        self.options = cases.DEFAULTS | options
        self.tuning = {"chunk": chunk, "strip": strip, "part": part}

    def problem(self, *, padded: bool = False, extra_columns: int = 0) -> Problem:
        """Return what both_passes takes; padding and columns that don't count are NaN."""
        scores, features = self.scores, self.features
        if extra_columns:
            fill = features.new_full((len(features), extra_columns), torch.nan)
            features = torch.cat([features, fill], dim=1)
        layout = {"cu_seqlens": cases.offsets(self.lengths).numpy()}
        if padded:
            scores = cases.pad(scores, self.lengths, torch.nan)
            features = cases.pad(features, self.lengths, torch.nan)
            layout = {"lengths": np.array(self.lengths, np.int64)}
        return {
            "scores": scores.numpy(), "features": storable(features),
            "labels": self.labels.numpy(), "grad_terms": WEIGHTS.numpy(),
            **layout, **self.options, **self.tuning,
            "width": self.features.shape[1], "dtype": DTYPES[self.features.dtype],
        }  # fmt: skip

    def check(self, results: Results, *, padded: bool = False) -> None:
        """Compare with float64, see `tests.budget`."""
        native_tools.assert_results_within_budget(
            self._actual(results, padded),
            (self.scores, self.features, self.labels),
            cases.offsets(self.lengths),
            **self.options,
        )

    def _actual(self, results: Results, padded: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return terms and gradients, packed; padding must have the gradient 0."""
        terms, grad_scores = (torch.from_numpy(results[n]) for n in ("terms", "grad_scores"))
        stored = torch.from_numpy(results["grad_features"])
        grad_features = stored.view(self.features.dtype)
        if padded:
            inside = torch.arange(grad_scores.shape[1]) < torch.tensor(self.lengths)[:, None]
            assert not grad_scores[~inside].any()
            assert not grad_features[~inside].any()
            grad_scores, grad_features = grad_scores[inside], grad_features[inside]
        return terms, grad_scores, grad_features


def storable(features: Tensor) -> np.ndarray:
    """Return an array that numpy can hold: bfloat16 as its bits."""
    return (features.view(torch.uint16) if features.dtype == torch.bfloat16 else features).numpy()
