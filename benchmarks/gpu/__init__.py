"""Everything that a GPU can confirm: ``python -m benchmarks.gpu`` checks, times and reports.

Steps: :mod:`.device` and :mod:`.ceilings` (what it runs on), :mod:`.checks` (what must hold: the
tests in tests/gpu), :mod:`.table` and :mod:`.speed` (what is timed), :mod:`.report`. Operators,
shapes' inputs and peers are those of the registry.
"""
