"""Results files: one JSON file and one CSV table for each machine and instruction set."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ladnet_fast._files import atomic_write_text

SCHEMA = 2
FOLDER = Path(__file__).parent / "results"
#: Where runs go unless told otherwise; git ignores it.
LOCAL = FOLDER / "local"

_KEYS = ("date", "processor", "threads", "instruction_set", "torch", "ladnet_fast")
_COLUMNS = (
    *_KEYS, "op", "variant", "shape", "dtype", "side", "status", "reason",
    "seconds_p20", "seconds_p50", "seconds_p80", "rounds", "gflop_per_second", "gbyte_per_second",
    "times_faster_than", "times_faster_p20", "times_faster_p50", "times_faster_p80", "peak_bytes",
)  # fmt: skip


def write(folder: Path, name: str, results: dict[str, Any]) -> Path:
    """Write ``NAME.json`` and ``NAME.csv``, each atomically; return the JSON file."""
    path = folder / f"{name}.json"
    atomic_write_text(path, json.dumps({"schema": SCHEMA, **results}, indent=1) + "\n")
    atomic_write_text(path.with_suffix(".csv"), table(results))
    return path


def read(path: Path) -> dict[str, Any]:
    """Read a results file.

    Raises
    ------
    ValueError
        If it is not one, or one of another version of the benchmarks.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a results file: {error}") from error
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} was not written by this version of the benchmarks (schema {SCHEMA}); "
            "run them again"
        )
    return results


def read_folder(folder: Path) -> list[dict[str, Any]]:
    """Read every results file of a folder, ordered by name.

    Raises
    ------
    FileNotFoundError
        If it has none.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FileNotFoundError(
            f"{folder} holds no results; make some with: python -m benchmarks cpu --output {folder}"
        )
    return [read(path) for path in paths]


def table(results: dict[str, Any]) -> str:
    """Return the measurements as CSV: a row a side, and one more for each further peer."""
    machine = results["machine"]
    common = {
        "date": results["date"],
        **{name: machine[name] for name in ("processor", "threads", "instruction_set")},
        **{name: machine["versions"][name] for name in ("torch", "ladnet_fast")},
    }
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in results["measurements"]:
        writer.writerows({**common, **fields} for fields in _rows(row))
    return out.getvalue()


def _rows(row: dict[str, Any]) -> Iterable[dict[str, Any]]:
    seconds = row["seconds"]
    fields = {name: row[name] for name in ("op", "variant", "dtype", "side", "status", "reason")}
    fields["shape"] = shape_name(row["shape"])
    fields["peak_bytes"] = row["peak_bytes"]
    if seconds is not None:
        fields |= {f"seconds_{p}": seconds[p] for p in ("p20", "p50", "p80")}
        fields["rounds"] = seconds["count"]
        for column, amount in (("gflop_per_second", "flops"), ("gbyte_per_second", "bytes")):
            if row[amount] is not None:
                fields[column] = row[amount] / seconds["p50"] / 1e9
    for peer, ratio in row["times_faster"].items():
        ratios = {f"times_faster_{p}": ratio[p] for p in ("p20", "p50", "p80")}
        yield {**fields, "times_faster_than": peer, **ratios}
    if not row["times_faster"]:
        yield fields


def shape_name(shape: dict[str, int]) -> str:
    """Return the sizes as a reader writes them, e.g. ``B 1, H 1, T 2048, d 128``."""
    return ", ".join(f"{axis} {size}" for axis, size in shape.items())
