"""The process of one tree that `compare` has started: calls the sides of a case on request.

It runs as a script with the folders of its tree as arguments, and uses that tree's own benchmarks,
which may be older than this file.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer requests, one line of JSON each, until there are none."""
    sys.path[:1] = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # stdout is for answers; what libraries print goes to stderr

    import ladnet_fast
    from benchmarks.measure import cpu_clock

    calls: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "case" in request:
            calls, silent = _prepare(**request)
            package = str(Path(ladnet_fast.__file__).parent)
            answer: dict[str, Any] = {"package": package, "sides": list(calls), "silent": silent}
        else:
            answer = {"seconds": cpu_clock(calls[request["side"]], request["repeats"])}
        print(json.dumps(answer), file=answers, flush=True)


def _prepare(case: str, threads: int, sides: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the sides that run here and are right, and why the others are not."""
    import torch

    from benchmarks import registry, runner
    from benchmarks.measure import Plan

    torch.set_num_threads(threads)
    known = registry.find(case)
    known = dataclasses.replace(known, sides=tuple(s for s in sides if s in known.sides))
    once = Plan(seconds=0, min_rounds=1, close_rounds=0, close_seconds=0, max_rounds=1, warm_up=1)
    rows = runner.run_case(known, plan=once, threads=threads, memory=False)
    silent = {row.side: row.reason for row in rows if row.status != "ok"}
    inputs = known.op.build(known, torch.device("cpu"))
    right = [name for name in known.sides if name not in silent]
    return {name: known.op.side(name).prepare(inputs, False) for name in right}, silent


if __name__ == "__main__":
    main()
