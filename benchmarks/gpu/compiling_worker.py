"""A process of `.compiling`: makes one call of every job that it reads, a line of JSON each.

python -m benchmarks.gpu.compiling_worker DEVICE SIZES
"""

from __future__ import annotations

import json
import sys

import torch

from tests.gpu.problems import all_problems
from tests.gpu.sizes import BY_NAME

from ..runner import first_line
from ..vocabulary import Case
from . import table
from .compiling import MARK, Job
from .outcome import release


def main(device: str, sizes: str) -> None:
    """Serve until the input ends."""
    torch.set_num_threads(1)  # there are as many processes as cores
    place = torch.device(device)
    cases = {case.key: case for case in (table.tiny() if sizes == "tiny" else table.cases())}
    for line in sys.stdin:
        job = Job(**json.loads(line))
        try:
            _call(job, place, sizes, cases)
            reason = ""
        except Exception as error:  # the check or case that the job belongs to tells of it
            reason = first_line(error)
        print(f"\n{MARK}{json.dumps(reason)}", flush=True)


def _call(job: Job, device: torch.device, sizes: str, cases: dict[str, Case]) -> None:
    if not job.side:
        problem = all_problems(BY_NAME[sizes])[job.name](device)
        if not problem.why_not:
            problem.own()
    else:
        case = cases[job.name]
        side = case.op.side(job.side)
        inputs = case.op.build(case, device)
        if not side.why_not(inputs):
            side.prepare(inputs, False)()
    release()


if __name__ == "__main__":
    main(*sys.argv[1:])
