"""Tables of the page on accuracy, in Markdown, from summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Summary = dict[str, Any]
#: Columns of the main table: figure, which model, heading, whether with an interval.
_MAIN = (
    ("auc", "last", "AUC"),
    ("anomalous_auc", "last", "AUC, anomalous videos"),
)
_FURTHER = (
    ("ap", "last", "AP"),
    ("anomalous_ap", "last", "AP, anomalous"),
    ("video_auc", "last", "video AUC"),
    ("far", "last", "false alarms"),
    ("auc", "chosen", "AUC, chosen epoch"),
    ("anomalous_auc", "chosen", "anomalous, chosen epoch"),
    ("auc", "curve", "AUC, mean of epochs"),
    ("anomalous_auc", "curve", "anomalous, mean of epochs"),
)


def speed_table(speeds: Sequence[dict[str, Any]]) -> str:
    """Return where the engine's time goes, a column a measurement."""
    names = list(speeds[0]["parts"]) if speeds else []
    kinds = {"auto": "", True: ", preload: true", False: ", preload: false"}
    head = [f"{s['dataset']}{kinds[s['preload']]}" for s in speeds]
    rows = [
        ["bags", *(str(s["bags"]) for s in speeds)],
        *(
            [title, *(f"{s[side]:.2f}" if side in s else "" for s in speeds)]
            for side, title in (
                ("bare", "the bare loop"),
                ("bare_scoring", "scoring held-out videos, by itself"),
                ("engine", "`ladnet-fast train`"),
                ("first", "its first epoch, which reads"),
            )
        ),
        *([f"of it {name}", *(f"{s['parts'][name]:.2f}" for s in speeds)] for name in names),
    ]
    lines = [["processor seconds an epoch", *head], ["---"] * (len(head) + 1), *rows]
    return "\n".join(_line(cells) for cells in lines)


def table(summary: Summary) -> str:
    """Return the main table: both AUCs with intervals and differences, last epoch."""
    head = ["configuration"]
    for *_, title in _MAIN:
        head += [f"{title}: mean ± sd", "95 % interval", "difference", "its interval", "p"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in summary["setups"]:
        cells = [name]
        for figure, which, _ in _MAIN:
            row = cell(summary, name, figure, which)
            cells += [
                _mean(row),
                _interval(row, "low", "high", sign=False),
                _number(row.get("difference"), sign=True),
                _interval(row, "difference_low", "difference_high", sign=True),
                "" if row.get("p") is None else f"{row['p']:.2f}",
            ]
        lines.append(_line(cells))
    return "\n".join(lines)


def overview(summaries: Sequence[Summary], names: Sequence[str] = ()) -> str:
    """Return the differences of both AUCs from the baseline, one row per configuration, all sets.

    All configurations, or those of ``names``.
    """
    head, found = ["configuration"], dict[str, None]()
    for summary in summaries:
        head += [f"{summary['dataset']}: {title}" for *_, title in _MAIN]
        found |= dict.fromkeys(summary["setups"])
    names = names or list(found)
    lines = [_line(head), _line(["---"] * len(head))]
    for name in names:
        cells = [name]
        for summary in summaries:
            for figure, which, _ in _MAIN:
                row = cell(summary, name, figure, which)
                if name == summary["baseline"]:
                    cells.append(_mean(row))
                elif row:
                    low_to_high = _interval(row, "difference_low", "difference_high", sign=True)
                    cells.append(f"{_number(row['difference'], sign=True)} ({low_to_high})")
                else:
                    cells.append("")
        lines.append(_line(cells))
    return "\n".join(lines)


def further_table(summary: Summary) -> str:
    """Return the other figures: means and deviations over the seeds."""
    columns = [
        column
        for column in _FURTHER
        if any(cell(summary, name, *column[:2]) for name in summary["setups"])
    ]
    lines = [
        _line(["configuration", *(title for *_, title in columns)]),
        _line(["---"] * (len(columns) + 1)),
    ]
    for name in summary["setups"]:
        lines.append(_line([name, *(_mean(cell(summary, name, f, w)) for f, w, _ in columns)]))
    return "\n".join(lines)


def criteria_table(summary: Summary) -> str:
    """Return how well held-out bags foretell the test figures."""
    lines = [
        _line(
            ["criterion", "with AUC, pooled", "within a run", "with anomalous AUC, pooled",
             "within a run", "AUC of the chosen epochs", "anomalous AUC of the chosen epochs"]
        ),
        _line(["---"] * 7),
    ]  # fmt: skip
    for row in summary["criteria"]:
        values = [
            row[f"{figure}_{what}"]
            for figure in ("auc", "anomalous_auc")
            for what in ("pooled", "within")
        ]
        lines.append(
            _line(
                [
                    row["criterion"],
                    *(_number(value, sign=True, digits=2) for value in values),
                    _number(row["auc_chosen"]),
                    _number(row["anomalous_auc_chosen"]),
                ]
            )
        )
    if summary["criteria"]:
        last = summary["criteria"][0]
        lines.append(
            _line(
                ["the last epoch", "", "", "", "", _number(last["auc_last"]),
                 _number(last["anomalous_auc_last"])]
            )
        )  # fmt: skip
    return "\n".join(lines)


def by_bag_labels(summaries: Sequence[Summary], names: Sequence[str] = ()) -> str:
    """Return what held-out training bags say: mean or difference, and p; one row per configuration.

    All configurations, or those of ``names``.
    """
    shown, known = ("gap", "video_auc"), dict[str, None]()
    head = ["configuration"]
    for summary in summaries:
        head += [f"{summary['dataset']}: {name}" for name in shown]
        known |= dict.fromkeys(n for n, found in summary.get("by_bag_labels", {}).items() if found)
    names = names or list(known)
    lines = [_line(head), _line(["---"] * len(head))]
    for name in names:
        cells = [name]
        for summary in summaries:
            found = summary.get("by_bag_labels", {}).get(name, {})
            for criterion in shown:
                row = found.get(criterion)
                if row is None:
                    cells.append("")
                elif name == summary["baseline"]:
                    cells.append(_number(row["mean"]))
                else:
                    cells.append(f"{_number(row['difference'], sign=True)} (p {row['p']:.2f})")
        lines.append(_line(cells))
    return "\n".join(lines)


def average(summaries: Sequence[Summary]) -> str:
    """Return each configuration's difference from the baseline, averaged over data sets.

    Beside it the smallest difference on any of them, and on how many the whole interval is below
    or above 0. Only configurations that every set has.
    """
    first = summaries[0]["setups"] if summaries else ()
    names = [name for name in first if all(name in s["setups"] for s in summaries)]
    head = ["configuration"]
    for *_, title in _MAIN:
        head += [f"{title}: mean", "worst set", "sets above", "sets below"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in names:
        cells = [name]
        for figure, which, _ in _MAIN:
            rows = [(s["dataset"], cell(s, name, figure, which)) for s in summaries]
            known = [(row["difference"], name_) for name_, row in rows if "difference" in row]
            if not known:
                cells += [""] * 4
                continue
            worst, where = min(known)
            cells += [
                _number(sum(value for value, _ in known) / len(known), sign=True),
                f"{_number(worst, sign=True)} ({where})",
                str(sum((row.get("difference_low") or 0) > 0 for _, row in rows)),
                str(sum((row.get("difference_high") or 0) < 0 for _, row in rows)),
            ]
        if any(cells[1:]):
            lines.append(_line(cells))
    return "\n".join(lines)


def verdict(summary: Summary) -> str:
    """Say which configurations differ from the baseline by more than their intervals."""
    sentences = []
    for figure, _, title in _MAIN:
        found: dict[str, list[str]] = {"above": [], "below": []}
        for name in summary["setups"]:
            row = cell(summary, name, figure, "last")
            low, high = row.get("difference_low"), row.get("difference_high")
            if low is not None and low > 0:
                found["above"].append(name)
            if high is not None and high < 0:
                found["below"].append(name)
        for side, names in found.items():
            if names:
                sentences.append(f"{title}: {side} {summary['baseline']}: {', '.join(names)}.")
        if not any(found.values()):
            sentences.append(
                f"{title}: no configuration differs from {summary['baseline']} by more than its "
                "interval."
            )
    return " ".join(sentences)


def shown_table(summary: Summary) -> str:
    """Return on how many videos a configuration is better by itself, and on how many worse."""
    head = ["configuration", "anomalous videos", "better", "worse", "helped most", "hurt most"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name, found in summary["shown"].items():
        most = [
            f"{video['video']}, {video['before']:.3f} to {video['after']:.3f}"
            for video in found["most"].values()
        ]
        counts = [str(found[key]) for key in ("videos", "better", "worse")]
        lines.append(_line([name, *counts, *(most or ["", ""])]))
    return "\n".join(lines)


def cell(summary: Summary, name: str, figure: str, which: str) -> dict[str, Any]:
    """Return a row, {} where the figure was not computed."""
    for row in summary["rows"]:
        if (row["configuration"], row["figure"], row["which"]) == (name, figure, which):
            return dict(row)
    return {}


def agreement(summary: Summary) -> list[str]:
    """Return the largest difference of any seed from the baseline, a line a figure."""
    lines = []
    for figure in ("auc", "ap", "anomalous_auc", "video_auc"):
        base = cell(summary, summary["baseline"], figure, "last").get("by_seed", [])
        gaps = [
            abs(a - b)
            for name in summary["setups"]
            for a, b in zip(
                cell(summary, name, figure, "last").get("by_seed", []), base, strict=False
            )
        ]
        lines.append(f"{figure}: {max(gaps, default=0):.5f}")
    return lines


def training_line(summary: Summary) -> str:
    """Say how the baseline was trained."""
    training = summary["setups"][summary["baseline"]]["training"]
    schedule = (
        f"cosine over {training['t_max']} epochs"
        if training["schedule"] == "cosine"
        else "constant rate"
    )
    held = training["validation"]
    return (
        f"{training['epochs']} epochs, batch {training['batch_size']}, Adam with learning rate "
        f"{training['lr']:g} ({schedule}), "
        f"{f'{held:.0%} of the training bags held out' if held else 'nothing held out'}"
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _mean(row: dict[str, Any]) -> str:
    if row.get("mean") is None:
        return ""
    spread = "" if row.get("sd") is None else f" ± {_number(row['sd'])}"
    return _number(row["mean"]) + spread


def _interval(row: dict[str, Any], low: str, high: str, *, sign: bool) -> str:
    if row.get(low) is None:
        return ""
    return f"{_number(row[low], sign=sign)} to {_number(row[high], sign=sign)}"


def _number(value: float | None, *, sign: bool = False, digits: int = 3) -> str:
    if value is None:
        return ""
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
