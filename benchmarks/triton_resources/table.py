"""The table: a row for each compiled kernel, and what every row has to fulfil."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import triton
from ladnet_fast.kernels.locality_attention.configs import SHARED_BYTES

from ladnet_fast._files import atomic_write_text

from .resources import Resources, measure
from .variants import Variant

SCHEMA = 1
PATH = Path(__file__).parents[2] / "docs" / "triton-resources.json"
COMMAND = "python -m benchmarks.triton_resources"
#: How much longer than without a prior a turn of the far loop may be, by mode.
LONGEST_FAR_LOOP = {"additive": 1.02, "inference": 1.02, "logit": 1.07}
TENSOR_CORES = {80: "mma.sync", 86: "mma.sync", 90: "wgmma", 100: "tcgen05", 120: "mma.sync"}
#: Exceptions, by architecture, kernel and head size. wgmma and tcgen05 take 64 rows at once, and
#: where that many spill mma.sync serves: in tf32, and in 16 bits with the logit prior.
MMA_SYNC_IN_TF32 = {
    (90, "backward_keys", 256),
    (90, "backward_queries", 256),
    (100, "backward_keys", 256),
    (100, "backward_queries", 256),
}
MMA_SYNC_IN_16_BIT_LOGIT = {(90, "backward_keys", 256), (90, "backward_queries", 256)}
#: With the logit prior in tf32 registers are so short there that the second of the two far loops
#: computes addresses anew, and one far loop does it too. Every other configuration that fits the
#: shared memory is longer still, or its tiles are so small that they need more instructions in all.
LONGER_IN_TF32_LOGIT = {
    (90, "backward_queries", 256): 1.11,
    (120, "backward_keys", 256): 1.11,
    (120, "backward_queries", 128): 1.08,
}


@dataclass(frozen=True)
class Row:
    """What one variant costs, and of which source that is true.

    ``fingerprint`` changes with any character of the kernel (:attr:`.Build.fingerprint`),
    ``intermediate`` only with what it computes. ``far_loop_without_prior`` is the length of the far
    loop of the same configuration compiled for ``prior="none"``.
    """

    fingerprint: str
    intermediate: str
    resources: Resources
    far_loop_without_prior: int

    @property
    def far_loop_ratio(self) -> float:
        """The length of the far loop against that without a prior; 1 where there is none."""
        if self.far_loop_without_prior == 0:
            return 1.0
        return self.resources.far_loop / self.far_loop_without_prior


Rows = dict[str, Row]


def refresh(
    variants: Iterable[Variant], known: Mapping[str, Row], progress: Callable[[str], None]
) -> Rows:
    """Return the rows of these variants, compiling only what ``known`` does not answer."""
    maker = _Maker(known, progress)
    return {variant.name: maker.row(variant) for variant in variants}


class _Maker:
    def __init__(self, known: Mapping[str, Row], progress: Callable[[str], None]) -> None:
        self.known = known
        self.progress = progress
        self.made: Rows = {}

    def row(self, variant: Variant) -> Row:
        if variant.name not in self.made:
            self.made[variant.name] = self._make(variant)
        return self.made[variant.name]

    def _make(self, variant: Variant) -> Row:
        build = variant.build()
        old = self.known.get(variant.name)
        if old is not None and old.fingerprint == build.fingerprint:
            return old
        intermediate = build.intermediate_hash()
        if old is not None and old.intermediate == intermediate:
            resources = old.resources
        else:
            resources = measure(build.compile(), variant.far_loops)
            self.progress(f"{variant.name}: {resources}")
        if variant.prior == "none" or variant.far_loops == 0:
            without = resources.far_loop
        else:
            without = self.row(variant.without_prior()).resources.far_loop
        return Row(build.fingerprint, intermediate, resources, without)


def problems(variant: Variant, row: Row) -> list[str]:
    """Return everything that forbids shipping a variant; nothing if all is well."""
    found, resources = [], row.resources
    if resources.spills:
        found.append(f"{resources.spills} instructions spill registers")
    if resources.local_bytes:
        found.append(f"{resources.local_bytes} bytes of local memory")
    limit = SHARED_BYTES[variant.architecture]
    if resources.shared_bytes > limit:
        found.append(f"{resources.shared_bytes} bytes of shared memory, of {limit}")
    wanted = _tensor_cores(variant)
    if resources.tensor_cores != wanted:
        found.append(f"tensor cores by {resources.tensor_cores or 'none'}, not {wanted or 'none'}")
    if variant.far_loops and not resources.async_copies:
        found.append("no asynchronous copies in a far loop")
    longest = _longest_far_loop(variant)
    if row.far_loop_ratio > longest:
        found.append(
            f"a far loop of {row.far_loop_ratio:.3f} times that without a prior; {longest} allowed"
        )
    return found


def _tensor_cores(variant: Variant) -> str:
    if variant.precision == "fp32" or not variant.products:
        return ""
    place = (variant.architecture, variant.kernel, variant.head_size)
    if variant.precision == "tf32":
        excepted = place in MMA_SYNC_IN_TF32
    else:
        excepted = variant.prior == "logit" and place in MMA_SYNC_IN_16_BIT_LOGIT
    return "mma.sync" if excepted else TENSOR_CORES[variant.architecture]


def _longest_far_loop(variant: Variant) -> float:
    longest = LONGEST_FAR_LOOP.get(variant.mode, 1.0)
    if variant.precision == "tf32" and variant.mode == "logit":
        place = (variant.architecture, variant.kernel, variant.head_size)
        return max(longest, LONGER_IN_TF32_LOGIT.get(place, 0.0))
    return longest


def write(rows: Mapping[str, Row], path: Path | None = None) -> None:
    """Write the table as JSON, a line a row, atomically; default: :data:`PATH`."""
    head = {"schema": SCHEMA, "command": COMMAND, "triton": triton.__version__}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    body = ",\n".join(f"  {json.dumps(name)}: {_encode(row)}" for name, row in rows.items())
    atomic_write_text(path or PATH, "\n".join(["{", *lines, ' "rows": {', body, " }", "}"]) + "\n")


def read(path: Path | None = None) -> Rows:
    """Read a table; default: :data:`PATH`.

    Raises
    ------
    ValueError
        If the file is none, or of another version of this program.
    """
    path = path or PATH
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']}")
        return {name: _decode(fields) for name, fields in found["rows"].items()}
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no table of this version ({error}); delete it and run: {COMMAND}"
        ) from error


def _encode(row: Row) -> str:
    fields = asdict(row)
    return json.dumps({**fields.pop("resources"), **fields})


def _decode(fields: dict[str, Any]) -> Row:
    resources = Resources(**{name: fields.pop(name) for name in Resources.__dataclass_fields__})
    return Row(resources=resources, **fields)
