"""The report of a GPU: JSON, CSV, Markdown and plots in one folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ladnet_fast._files import atomic_write_text

from .. import report, results
from ..registry import all_ops
from ..templating import environment
from .ceilings import COPY, product_name
from .device import slug
from .model import chips

Row = dict[str, Any]
Results = dict[str, Any]

_TEMPLATE = "gpu.md.j2"


def write(folder: Path, found: Results) -> list[Path]:
    """Write everything; return the files, the Markdown first.

    Parameters
    ----------
    folder : Path
        Is made if it is not there.
    found : dict
        ``command``, ``date``, ``size``, ``machine`` (`.device.describe`), ``incomplete`` and
        ``device_failed`` (empty strings unless something is missing), ``parts`` (what each took),
        ``ceilings``, ``predictions`` (`.model.predict.Prediction`), ``checks``
        (`.outcome.Outcome`) and ``measurements`` (`benchmarks.runner.Measurement`),
        the last five as lists of dicts.
    """
    name = slug(found["machine"])
    page = folder / f"{name}.md"
    data = write_data(folder, found)
    atomic_write_text(page, render(found, page))
    return [page, data, data.with_suffix(".csv"), *sorted((folder / name).glob("*.svg"))]


def write_data(folder: Path, found: Results) -> Path:
    """Write JSON and CSV alone, which takes milliseconds; return the JSON file."""
    return results.write(folder, slug(found["machine"]), found)


def render(found: Results, page: Path) -> str:
    """Return the Markdown; draws the plots into the folder of the same name beside ``page``.

    Without matplotlib there are no plots, and the page says so.
    """
    pages = environment()
    rows = found["measurements"]
    machine = found["machine"]
    plots = importlib.util.find_spec("matplotlib") is not None
    ops = [op for op in all_ops() if any(row["op"] == op.name for row in rows)]
    return pages.get_template(_TEMPLATE).render(
        found=found,
        machine=machine,
        ceilings=ceilings_table(found["ceilings"]),
        checks=checks_tables(found["checks"]),
        prior=prior_table(rows),
        predictions=predictions_table(found),
        plots=plots,
        sections=[
            {
                **report.section(op, rows, machine, page, plot=plots),
                "rates": rates_table([r for r in rows if r["op"] == op.name], found["ceilings"]),
            }
            for op in ops
        ],
        silent=report.silent(rows),
    )


def ceilings_table(ceilings: list[dict[str, Any]]) -> str:
    """Return what the device can do at most; empty if that was not measured."""
    body = [
        [entry["name"], f"{entry['value']:,.0f} {entry['unit']}", entry["how"]]
        for entry in ceilings
    ]
    return report.markdown(["Ceiling", "Median", "How"], body) if body else ""


def checks_tables(checks: list[dict[str, Any]]) -> dict[str, str]:
    """Return for each step a table of its checks."""
    steps: dict[str, list[list[str]]] = {}
    for check in checks:
        outcome = "**FAILED**" if check["status"] == "failed" else check["status"]
        steps.setdefault(check["step"], []).append([check["name"], outcome, check["detail"]])
    head = ["Check", "", "Found"]
    return {step: report.markdown(head, body, numbers=False) for step, body in steps.items()}


def prior_table(rows: list[Row]) -> str:
    """Return what the prior costs: our kernel's time over that of itself without the prior."""
    body = []
    for row in rows:
        if row["side"] == "triton_no_prior" and "triton" in row["times_faster"]:
            ratio = row["times_faster"]["triton"]
            name = f"{row['op']}, {row['variant']}, {results.shape_name(row['shape'])}"
            spread = f"{ratio['p50']:.3f} ({ratio['p20']:.3f}-{ratio['p80']:.3f})"
            body.append([f"{name}, {row['dtype']}", spread])
    return report.markdown(["Case", "with / without"], body) if body else ""


def predictions_table(found: Results) -> str:
    """Return what was predicted of our sides beside what was measured; empty if nothing was.

    "here" is a prediction at the rates that the ceilings of this run reached: clocks as a matrix
    product in bfloat16, memory as a copy.
    """
    measured = {_key(row): row for row in found["measurements"]}
    clock, memory = _reached(found)
    body = []
    for prediction in found["predictions"]:
        row = measured.get(_key(prediction))
        seconds = None if row is None or row["seconds"] is None else row["seconds"]["p50"]
        # What is bound by memory goes with memory, everything else with the clock.
        rate = memory if prediction["bound"] == "memory" else clock
        here = prediction["seconds"] / rate
        name = f"{prediction['op']}, {prediction['variant']}"
        shape = f"{results.shape_name(prediction['shape'])}, {prediction['dtype']}"
        body.append(
            [
                f"{name}, {shape}",
                report.SIDES[prediction["side"]],
                *(f"{x * 1e3:.4g}" for x in (prediction["floor"], prediction["seconds"], here)),
                "-" if seconds is None else f"{seconds * 1e3:.4g}",
                "-" if seconds is None else _judged(seconds, here, prediction["floor"]),
                prediction["bound"],
            ]
        )
    head = ["Case", "Side", "Floor", "Predicted", "Here", "Measured", "Measured / here", "Bound"]
    return report.markdown(head, body) if body else ""


def _judged(seconds: float, here: float, floor: float) -> str:
    """Return the ratio; bold where it shows that the model is wrong."""
    ratio = f"{seconds / here:.2f}"
    return f"**{ratio}, below the floor**" if seconds < floor else ratio


def _key(row: Row) -> tuple[str, ...]:
    shape = results.shape_name(row["shape"])
    return (row["op"], row["variant"], shape, row["dtype"], row["side"])


def _reached(found: Results) -> tuple[float, float]:
    """Return the shares of a chip's clock and bandwidth that this run reached; 1 if unknown."""
    chip = chips.find(found["machine"]["processor"])
    rates = {entry["name"]: entry["value"] for entry in found["ceilings"]}
    product, copied = rates.get(product_name("bfloat16")), rates.get(COPY)
    if chip is None:
        return 1.0, 1.0
    peak = chip.multiprocessors * chip.tensor * chip.clock / 1e9
    return (
        product / peak if product else 1.0,
        copied * 1e9 / chip.bandwidth if copied else 1.0,
    )


def rates_table(rows: list[Row], ceilings: list[dict[str, Any]]) -> str:
    """Return every side's rate, and its share of what the device reached in this run.

    Operations are held against a matrix product in the same dtype, bytes against a copy.
    """
    peaks = {entry["name"]: entry["value"] for entry in ceilings}
    body = []
    for row in rows:
        if row["seconds"] is None or not (row["flops"] or row["bytes"]):
            continue
        by_flops = row["flops"] is not None
        amount = row["flops"] if by_flops else row["bytes"]
        rate = amount / row["seconds"]["p50"] / 1e9
        peak = peaks.get(product_name(row["dtype"]) if by_flops else COPY)
        shown = f"{rate / 1e3:,.3g} TFLOP/s" if by_flops else f"{rate:,.4g} GB/s"
        share = "-" if peak is None else f"{100 * rate / peak:.1f} %"
        case = f"{row['variant']}, {results.shape_name(row['shape'])}, {row['dtype']}"
        body.append([case, report.SIDES[row["side"]], shown, share])
    return report.markdown(["Case", "Side", "Rate", "Of the ceiling"], body) if body else ""
