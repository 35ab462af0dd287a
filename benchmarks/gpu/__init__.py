"""Everything that a GPU can confirm: ``python -m benchmarks.gpu`` checks, times and reports.

Steps, one module each: :mod:`.device` and :mod:`.ceilings` (what it runs on), :mod:`.correctness`,
:mod:`.determinism`, :mod:`.graphs` and :mod:`.memory` (what must hold), :mod:`.table` and
:mod:`.speed` (what is timed), :mod:`.report`. Operators, shapes' inputs and peers are those of the
registry.
"""
