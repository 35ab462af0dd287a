"""Time of attention over the length of a bag: the lines of the plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import results
from ..plots import series

FILE = results.FOLDER / "cpu-amd-epyc-family-25-model-17-t2-avx512.json"
OP, VARIANT = "attention_forward_backward", "additive"
#: Sides that are drawn, and what a reader sees for them. Only the last computes something else.
SIDES = {
    "native": "ladnet_fast",
    "compiled": "PyTorch, torch.compile",
    "eager": "PyTorch, eager",
    "sdpa": "PyTorch, SDPA with no prior at all",
}


def read(path: Path = FILE) -> dict[str, Any]:
    """Return ``lines``, side -> {snippets -> seconds}, and the run's command, date and machine."""
    run = results.read(path)
    rows = [
        row
        for row in run["measurements"]
        if (row["op"], row["variant"], row["dtype"]) == (OP, VARIANT, "float32")
        and row["status"] == "ok"
    ]
    lines = series(rows, "T", "seconds")
    return {
        "lines": {side: lines[side] for side in SIDES},
        **{name: run[name] for name in ("command", "date", "machine")},
    }
