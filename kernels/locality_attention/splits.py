"""Into how many parts the keys are split, so that a GPU is filled: from numbers alone."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

#: In turns of the loop over keys, what a split costs beside its own turns. Its part is written once
#: and read once, 8 bytes for each of BLOCK_M x d entries, where a turn has 4 BLOCK_N operations for
#: each of them. Tensor cores do 150 (A100) to 300 (H100, B200) operations while memory moves a
#: byte, so with BLOCK_N = 128 a part takes the time of 2.3 to 4.7 turns at their full rate, which
#: no kernel reaches.
PART_TURNS = 3
#: What the second launch costs, 8 microseconds: a turn of 128 x 128 x 128 takes about 2.
LAUNCH_TURNS = 4
#: At most so many parts for each multiprocessor: their workspace has 64 KB a part (BLOCK_M = 128,
#: d = 128), twice that with the additive prior.
MAX_WAVES = 4
#: Splits have to promise as much: what they gain is an estimate, what they cost in memory is not.
_GAIN = 0.9


def turns(programs: int, key_tiles: int, splits: int, *, multiprocessors: int) -> int:
    """Return how long a forward pass takes, in turns of the loop over keys.

    A multiprocessor computes one program after the other (two at once take twice as long), so the
    time is that of the most programs that one of them gets.

    Parameters
    ----------
    programs : int
        Row tiles, over all heads and bags.
    key_tiles : int
        Tiles of keys of a bag.
    splits : int
        1: none.
    multiprocessors : int
        Those of the GPU.
    """
    waves = ceil(programs * splits / multiprocessors)
    if splits == 1:
        return waves * key_tiles
    return waves * (ceil(key_tiles / splits) + PART_TURNS) + LAUNCH_TURNS


@lru_cache(maxsize=4096)
def choose_splits(programs: int, key_tiles: int, *, multiprocessors: int) -> int:
    """Return the number of splits that takes the fewest turns; 1 where none gains a tenth.

    Arguments are those of `turns`.
    """

    def time(splits: int) -> int:
        return turns(programs, key_tiles, splits, multiprocessors=multiprocessors)

    most = min(key_tiles, MAX_WAVES * multiprocessors // max(programs, 1))
    best = min(range(1, max(most, 1) + 1), key=time)
    return best if time(best) <= _GAIN * time(1) else 1
