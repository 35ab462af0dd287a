"""Everything that a GPU can confirm: ``python -m benchmarks.gpu`` checks, times and reports.

Steps: `.device` and `.ceilings` (what it runs on), `.checks` (what must hold: the
tests in tests/gpu), `.table` and `.speed` (what is timed), `.report`. Operators,
shapes' inputs and peers are those of the registry.
"""
