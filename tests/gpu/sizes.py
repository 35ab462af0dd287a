"""How large and how often: the real run, the quick one, and that of Triton's interpreter."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sizes:
    """Sizes of the checks.

    Parameters
    ----------
    name : str
        "full", "quick", "small" or "tiny".
    snippets, bags : int
        Longest bag and number of bags of the ragged checks.
    heads, head_size, features, taps : int
        Their other sizes.
    other_head_sizes : tuple of int
        Checked in the first dtype only.
    dtypes : tuple of torch.dtype
        What is checked.
    repeats : int
        Calls whose bits must agree.
    fp32_repeated : int
        Longest bag of these calls for attention in IEEE float32, which has no tensor cores: at
        ``snippets`` the repeats alone would take minutes.
    memory : tuple of int
        Lengths at which peak memory is compared.
    """

    name: str
    snippets: int
    bags: int
    heads: int
    head_size: int
    other_head_sizes: tuple[int, ...]
    features: int
    taps: int
    dtypes: tuple[torch.dtype, ...]
    repeats: int
    fp32_repeated: int
    memory: tuple[int, ...]


FULL = Sizes(
    name="full",
    snippets=8192,
    bags=16,
    heads=3,
    head_size=128,
    other_head_sizes=(16, 64, 80, 256),
    features=128,
    taps=7,
    dtypes=(torch.bfloat16, torch.float16, torch.float32),
    repeats=100,
    fp32_repeated=1024,
    memory=(16384, 32768, 65536, 131_072),
)
QUICK = Sizes(
    name="quick",
    snippets=2048,
    bags=8,
    heads=3,
    head_size=128,
    other_head_sizes=(16, 64, 80, 256),
    features=128,
    taps=7,
    dtypes=(torch.bfloat16, torch.float32),
    repeats=100,
    fp32_repeated=1024,
    memory=(8192, 16384, 32768),
)
#: For tools that watch every access to memory, which takes up to a hundred times as long.
SMALL = Sizes(
    name="small",
    snippets=150,
    bags=3,
    heads=2,
    head_size=64,
    other_head_sizes=(),
    features=128,
    taps=7,
    dtypes=(torch.bfloat16,),
    repeats=2,
    fp32_repeated=150,
    memory=(256, 512, 1024),
)
#: For Triton's interpreter, whose bfloat16 products are wrong: it stores them as integers.
TINY = Sizes(
    name="tiny",
    snippets=40,
    bags=4,
    heads=3,
    head_size=16,
    other_head_sizes=(),
    features=8,
    taps=3,
    dtypes=(torch.float32, torch.float16),
    repeats=2,
    fp32_repeated=24,
    memory=(64, 128, 256),
)
BY_NAME = {sizes.name: sizes for sizes in (FULL, QUICK, SMALL, TINY)}
