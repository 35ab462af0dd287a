"""Ragged bags: their lengths, random rows in them, and padding full of NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.vocabulary import Outputs

from .sizes import Sizes


def ragged_lengths(sizes: Sizes, least: int, seed: int = 0) -> list[int]:
    """Return lengths from ``least`` to the longest, both among them, in no order."""
    T = sizes.snippets
    random = torch.Generator().manual_seed(seed)
    rest = torch.randint(max(1, least), T, (max(0, sizes.bags - 3),), generator=random).tolist()
    return [min(T, T // 2 + 1), least, T, *rest]


class Draw:
    """Draws normal numbers where they are needed, the same at every run."""

    def __init__(self, device: torch.device, dtype: torch.dtype, seed: int) -> None:
        self._dtype = dtype
        self._random = torch.Generator(device).manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        x = torch.randn(*shape, generator=self._random, device=self._random.device)
        return x.to(self._dtype)


def inside(lengths: list[int], device: torch.device) -> Tensor:
    """Return (N, max length), whether a snippet is inside of its bag."""
    sizes = torch.tensor(lengths, device=device)
    return torch.arange(max(lengths), device=device) < sizes[:, None]


def pad_rows(rows: Tensor, lengths: list[int]) -> Tensor:
    """Return (N, max length, ...) from packed rows, with NaN for padding."""
    padded = rows.new_full((len(lengths), max(lengths), *rows.shape[1:]), torch.nan)
    padded[inside(lengths, rows.device)] = rows
    return padded


def pad(x: Tensor, lengths: list[int]) -> Tensor:
    """Return (N, H, max length, d) from packed (1, H, total, d), with NaN for padding."""
    return pad_rows(x[0].transpose(0, 1), lengths).transpose(1, 2)


def unpad(found: Outputs, lengths: list[int]) -> Outputs:
    """Return the inverse of `pad` for all outputs with snippets, and their padding."""
    packed, padding = dict(found), []
    for name in ("out", "dq", "dk", "dv"):
        rows = found[name].transpose(1, 2)
        valid = inside(lengths, rows.device)
        packed[name] = rows[valid].transpose(0, 1)[None]
        padding.append(rows[~valid].flatten())
    return {**packed, "padding": torch.cat(padding)}


def short_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
