"""Where the CUDA sources are, and how their headers are found."""

from __future__ import annotations

from pathlib import Path

CSRC = Path(__file__).resolve().parents[4] / "csrc"
INCLUDE = (f"-I{CSRC}",)
