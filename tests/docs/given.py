"""Names that a page takes for granted because its text has just spoken of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ladnet_fast import DDLLoss, LANet


def names(page: str) -> dict[str, Any]:
    """Return what the blocks of a page may use without having made it."""
    torch.manual_seed(0)
    make = _GIVEN.get(page)
    return make() if make else {}


def _packed() -> dict[str, Any]:
    return {
        "net": LANet(feature_dim=16, hidden_dim=8, mlp_dims=(16, 8)),
        "criterion": DDLLoss(),
        "x": torch.randn(1, 30, 16),
        "offsets": torch.tensor([0, 10, 30], dtype=torch.int32),
        "labels": torch.tensor([0, 1]),
    }


def _rows() -> dict[str, Any]:
    return {"rows": np.random.default_rng(0).normal(size=(5, 1024)).astype(np.float32)}


def _scores() -> dict[str, Any]:
    return {"scores": np.linspace(0, 1, 20, dtype=np.float32)}


_GIVEN = {
    "docs/live.md": _rows,
    "docs/packing.md": _packed,
    "docs/report.md": _scores,
}
