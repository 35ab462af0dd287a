"""The report: Markdown and plots from results files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ladnet_fast._files import atomic_write_text

from . import bars, plots
from .machine import slug
from .registry import all_ops
from .results import shape_name
from .stats import growth_exponent
from .templating import environment
from .vocabulary import Op

Row = dict[str, Any]
Results = dict[str, Any]

_TEMPLATE = "performance.md.j2"
#: Of a peer that is faster somewhere, where nobody has looked into it.
NOT_EXPLAINED = "why it is faster here is not known."
#: What a reader sees for the name of a side.
SIDES = {
    "native": "ladnet_fast",
    "native_no_prior": "ladnet_fast, no prior",
    "native_torch_layers": "ladnet_fast, PyTorch's layers",
    "triton": "ladnet_fast (Triton)",
    "triton_no_prior": "ladnet_fast (Triton), no prior",
    "triton_unsplit": "ladnet_fast (Triton), keys not split",
    "triton_descriptors": "ladnet_fast (Triton), far tiles by descriptors",
    "triton_specialized": "ladnet_fast (Triton), specialised warps",
    "cuda": "ladnet_fast (CUDA)",
    "captured": "ladnet_fast, captured",
    "sdpa": "SDPA, no prior",
    "sdpa_flash": "SDPA flash, no prior",
    "sdpa_cudnn": "SDPA cuDNN, no prior",
    "sdpa_mask": "SDPA, prior as mask",
    "flex": "FlexAttention",
    "flex_band": "FlexAttention + band",
    "sdpa_plus_prior": "SDPA + G v",
    "eager": "eager",
    "compiled": "torch.compile",
    "copy": "copy",
}


def write_report(runs: list[Results], path: Path) -> Path:
    """Write the Markdown file, and its plots into the folder of the same name beside it.

    Plots there that the new report does not show are deleted.

    Parameters
    ----------
    runs : list of results
        As `results.read_folder` returns them.
    path : Path
        The Markdown file.
    """
    pages = environment()
    text = pages.get_template(_TEMPLATE).render(runs=[_run(run, path) for run in merge(runs)])
    atomic_write_text(path, text)
    for plot in path.with_suffix("").glob("*.svg"):
        if f"]({_relative(plot, path)})" not in text:
            plot.unlink()  # of an earlier report
    return path


def merge(runs: list[Results]) -> list[Results]:
    """Join runs of one machine, thread count and instruction set; the widest sets come first.

    The day of video is run by a command of its own: its row belongs to the table of its machine. Of
    a case that several runs have measured the newest counts, with all of its sides; of one day's
    the smallest, which repeats a part. A run's "note" is written into its file by hand: what a
    reader should know of figures that cannot be measured again.
    """
    joined: dict[tuple[Any, ...], Results] = {
        _machine(run): {**run, "commands": [], "measurements": [], "ceilings": []} for run in runs
    }
    for run in sorted(runs, key=lambda run: (run["date"], -len(run["measurements"]))):
        whole = joined[_machine(run)]
        entry = {name: run[name] for name in ("command", "date", "busy_cores")}
        whole["commands"].append(entry | {"note": run.get("note", "")})
        again = {_case(row) for row in run["measurements"]}
        kept = [row for row in whole["measurements"] if _case(row) not in again]
        whole["measurements"] = kept + run["measurements"]
        whole["ceilings"] = whole["ceilings"] or run["ceilings"]
    order = {"avx512": 0, "avx2": 1, "baseline": 2}
    return sorted(joined.values(), key=lambda run: order.get(run["machine"]["instruction_set"], 3))


def _machine(run: Results) -> tuple[Any, ...]:
    return tuple(run["machine"][name] for name in ("processor", "threads", "instruction_set"))


def _case(row: Row) -> tuple[Any, ...]:
    return row["op"], row["variant"], tuple(sorted(row["shape"].items())), row["dtype"]


def _run(run: Results, path: Path) -> dict[str, Any]:
    machine = run["machine"]
    rows = run["measurements"]
    bounds = bars.bounds_of(machine["instruction_set"], run["ceilings"])
    return {
        "machine": machine,
        "half_width": bounds != machine["instruction_set"],
        "commands": run["commands"],
        "ceilings": _ceilings(run["ceilings"]),
        "bars": bars_table(rows, bounds),
        "sections": [section(op, rows, machine, path) for op in all_ops() if _of(op, rows)],
        "day": [row for row in rows if row["op"] == "day_of_video"],
        "silent": silent(rows),
    }


def _of(op: Op, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["op"] == op.name]


# ---- Tables --------------------------------------------------------------------------------------


def markdown(head: Iterable[str], body: Iterable[Iterable[str]], *, numbers: bool = True) -> str:
    """Return a Markdown table; the first column is text, and so are the others or numbers."""
    titles = list(head)
    rule = ["---", *["---:" if numbers else "---"] * (len(titles) - 1)]
    lines = [titles, rule, *(list(row) for row in body)]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def bars_table(rows: list[Row], instruction_set: str, *, measured_only: bool = False) -> str:
    """Return the speed bars with what was reached; empty if no bar is left to show."""
    body = []
    for verdict in bars.judge(rows, instruction_set):
        bar = verdict.bar
        sign = ">=" if bar.at_least else "<="
        if measured_only and verdict.worst is None:
            continue
        reached = "-"
        if verdict.worst is not None:
            label, value = verdict.worst
            reached = f"{value:.3g} {bar.unit} ({label})"
        aim = f"{sign} {verdict.aim:g}" if verdict.aim is not None else "-"
        if verdict.aim_reached is not None:
            aim += ", reached" if verdict.aim_reached else ", not reached"
        bound = "-" if verdict.bound is None else f"{sign} {verdict.bound:g}"
        outcome = {"pass": "**pass**", "fail": "**FAIL**"}.get(verdict.outcome, verdict.outcome)
        body.append([bar.title, bar.peer or "-", reached, bound, outcome, aim])
    head = ["What", "Against", "Reached (worst)", "Bar", "", "Aim"]
    return markdown(head, body) if body else ""


def _ceilings(ceilings: list[dict[str, Any]]) -> str:
    body = [
        [
            entry["name"],
            "not measured" if entry["value"] is None else f"{entry['value']:.0f} {entry['unit']}",
            entry["how"],
        ]
        for entry in ceilings
    ]
    return markdown(["Ceiling", "Rate", "How"], body) if body else ""


def section(
    op: Op, rows: list[Row], machine: dict[str, Any], path: Path, *, plot: bool = True
) -> dict[str, Any]:
    """Return what a template shows of an operator.

    With ``plot`` its plot is drawn beside the Markdown file, which needs matplotlib.
    """
    mine = _of(op, rows)
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in mine:
        kinds.setdefault((row["variant"], row["dtype"]), []).append(row)
    tables = [
        {
            "title": _kind(*kind),
            "speed": speed_table(kind_rows),
            "behind": slower_than(op, kind_rows),
            "memory": memory_table(kind_rows),
        }
        for kind, kind_rows in kinds.items()
    ]
    return {
        "title": op.title,
        "tables": tables,
        "growth": _growth(op, next(iter(kinds.values()))),
        "plot": _plot(op, next(iter(kinds.values())), machine, path) if plot else "",
    }


def _kind(variant: str, dtype: str) -> str:
    return dtype if variant == "default" else f"{variant}, {dtype}"


def speed_table(rows: list[Row]) -> str:
    """Return the median times of every side, and how many times faster ours is than each.

    Ratios under 1 are bold: there ours is the slower one.
    """
    timed = [row for row in rows if row["seconds"] is not None]
    if not timed:
        return ""
    sides = list(dict.fromkeys(row["side"] for row in timed))
    own = _own_side(timed)
    peers = [side for side in sides if own is not None and side != own]
    head = ["Shape", *(f"{SIDES[side]} (ms)" for side in sides)]
    unit = "GFLOP/s" if any(row["flops"] for row in timed) else "GB/s"
    if own is not None:
        head += [f"ours, {unit}", *(f"x {SIDES[peer]}" for peer in peers)]
    body = []
    for name, group in itertools.groupby(timed, key=lambda row: shape_name(row["shape"])):
        found = {row["side"]: row for row in group}
        cells = [name, *(_milliseconds(found.get(side)) for side in sides)]
        if own is not None:
            cells += [_rate(found.get(own)), *(_times(found.get(own), peer) for peer in peers)]
        body.append(cells)
    return markdown(head, body)


def _milliseconds(row: Row | None) -> str:
    if row is None:
        return "-"
    p20, p50, p80 = (_number(row["seconds"][p] * 1e3) for p in ("p20", "p50", "p80"))
    return f"{p50} ({p20}-{p80})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _rate(row: Row | None) -> str:
    if row is None:
        return "-"
    amount = row["flops"] or row["bytes"]
    return "-" if amount is None else _number(amount / row["seconds"]["p50"] / 1e9)


def _times(row: Row | None, peer: str) -> str:
    if row is None or peer not in row["times_faster"]:
        return "-"
    ratio = row["times_faster"][peer]["p50"]
    return f"**{ratio:.2f}**" if _behind(ratio) else f"{ratio:.2f}"


def _behind(ratio: float) -> bool:
    return round(ratio, 2) < 1


def slower_than(op: Op, rows: list[Row]) -> list[str]:
    """Return, for every peer that is faster than ours in one of the rows, why that is so."""
    found = {
        (peer, row["variant"])
        for row in rows
        if row["own"] and row["side"] == _own_side(rows)
        for peer, ratio in row["times_faster"].items()
        if _behind(ratio["p50"])
    }
    lines = []
    for peer, variant in sorted(found):
        why = op.behind.get(f"{variant}/{peer}") or op.behind.get(peer, NOT_EXPLAINED)
        lines.append(f"{SIDES[peer]}: {why}")
    return lines


def _own_side(rows: list[Row]) -> str | None:
    """Return the side whose ratios a table shows."""
    return next((row["side"] for row in rows if row["own"] and row["seconds"] is not None), None)


def memory_table(rows: list[Row]) -> str:
    """Return the peak memory of the sides for which it was measured; empty if for none."""
    measured = [row for row in rows if row["peak_bytes"] is not None]
    sides = list(dict.fromkeys(row["side"] for row in measured))
    body = []
    for name, group in itertools.groupby(measured, key=lambda row: shape_name(row["shape"])):
        found = {row["side"]: row["peak_bytes"] for row in group}
        cells = (f"{found[side] / 2**20:,.0f}" if side in found else "-" for side in sides)
        body.append([name, *cells])
    return markdown(["Shape", *(f"{SIDES[side]} (MiB)" for side in sides)], body) if body else ""


def _growth(op: Op, rows: list[Row]) -> str:
    if op.varies is None:
        return ""
    times = plots.series(rows, op.varies, "seconds")
    peaks = plots.series(rows, op.varies, "peak_bytes")
    body = []
    for side in dict.fromkeys([*times, *peaks]):
        exponents = [growth_exponent(lines.get(side, {}), least=1024) for lines in (times, peaks)]
        if exponents != [None, None]:
            cells = ("-" if x is None else f"{op.varies}^{x:.2f}" for x in exponents)
            body.append([SIDES[side], *cells])
    head = [f"Growth from {op.varies} = 1,024 on", "time", "peak memory"]
    return markdown(head, body) if body else ""


def _plot(op: Op, rows: list[Row], machine: dict[str, Any], path: Path) -> str:
    """Draw the plot; return its path relative to the Markdown file, empty if there is none."""
    if op.varies is None:
        return ""
    folder = path.with_suffix("")
    target = folder / f"{op.name}-{slug(machine)}.svg"
    if not plots.draw_growth(op, rows, target):
        return ""
    return _relative(target, path)


def _relative(plot: Path, path: Path) -> str:
    return plot.relative_to(path.parent).as_posix()


def silent(rows: list[Row]) -> list[str]:
    """Return, each once, why sides have no speed, or no memory that was asked for."""
    found: dict[str, int] = {}
    for row in rows:
        name = f"{row['op']}, {SIDES[row['side']]}"
        if row["status"] != "ok":
            line = f"{name}: {row['status']}: {row['reason']}"
            found[line] = found.get(line, 0) + 1
        if row["memory_reason"]:
            line = f"{name}, peak memory at {shape_name(row['shape'])}: {row['memory_reason']}"
            found[line] = found.get(line, 0) + 1
    return [line if count == 1 else f"{line} ({count} shapes)" for line, count in found.items()]
