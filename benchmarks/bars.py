"""The speed that this project demands of itself, and whether a run reached it.

A bar names the measurements that it judges, the peer, and a bound for each instruction set. Where
several lengths are judged, the worst one counts.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .ceilings import FMA, FMA_AVX2
from .stats import growth_exponent

Row = dict[str, Any]
#: From how many times AVX2's rate of multiply-adds on AVX-512 counts as whole.
_WIDE = 1.5
#: A label (which length) and the value there.
Value = tuple[str, float]


@dataclass(frozen=True)
class Bar:
    """One demand.

    Parameters
    ----------
    title, peer : str
        What is measured, and against what.
    unit : str
        Put behind a value.
    bounds, aims : dict of str to float
        For each instruction set; one that is missing has no bar.
    values : callable
        Finds the values in the measurements of a run.
    at_least : bool
        Whether more is better; otherwise less is.
    """

    title: str
    peer: str
    unit: str
    bounds: dict[str, float]
    aims: dict[str, float]
    values: Callable[[list[Row]], list[Value]]
    at_least: bool = True


@dataclass(frozen=True)
class Verdict:
    """What became of a bar in a run."""

    bar: Bar
    bound: float | None
    aim: float | None
    worst: Value | None
    """The label and value that decide; None if nothing was measured."""

    @property
    def outcome(self) -> str:
        """Return "pass", "fail", "not measured" or "no bar"."""
        if self.worst is None:
            return "not measured"
        if self.bound is None:
            return "no bar"
        return "pass" if self._reaches(self.bound) else "fail"

    @property
    def aim_reached(self) -> bool | None:
        """Whether the aim beyond the bar was reached; None where there is none or no value."""
        return None if self.worst is None or self.aim is None else self._reaches(self.aim)

    def _reaches(self, bound: float) -> bool:
        assert self.worst is not None
        reaches = operator.ge if self.bar.at_least else operator.le
        return bool(reaches(self.worst[1], bound))


def bounds_of(instruction_set: str, ceilings: Iterable[Row]) -> str:
    """Return for which instruction set's bounds a machine is good.

    Bars for AVX-512 presume arithmetic that is 512 bits wide. A processor that works such
    instructions off in two halves (AMD's Zen 4) multiplies and adds no faster than with AVX2, and
    PyTorch, in AVX2 or AVX-512, is nearer to its peak than those bars ask us to be ahead of it.
    """
    peaks = {entry["name"]: entry["value"] for entry in ceilings}
    whole, half = peaks.get(FMA), peaks.get(FMA_AVX2)
    if instruction_set == "avx512" and whole and half and whole < _WIDE * half:
        return "avx2"
    return instruction_set


def judge(rows: list[Row], instruction_set: str) -> list[Verdict]:
    """Hold the measurements of a run against every bar of an instruction set."""
    verdicts = []
    for bar in BARS:
        found = bar.values(rows)
        decide = min if bar.at_least else max
        worst = decide(found, key=lambda value: value[1]) if found else None
        bound, aim = bar.bounds.get(instruction_set), bar.aims.get(instruction_set)
        verdicts.append(Verdict(bar, bound, aim, worst))
    return verdicts


# ---- Values --------------------------------------------------------------------------------------


def _rows(rows: Iterable[Row], op: str, **wanted: Any) -> list[Row]:
    return [
        row
        for row in rows
        if row["op"] == op
        and all(
            (row["shape"].get(name) if name in row["shape"] else row.get(name)) in values
            for name, values in wanted.items()
        )
    ]


def _times_faster(
    op: str, side: str, peer: str, **wanted: Any
) -> Callable[[list[Row]], list[Value]]:
    def values(rows: list[Row]) -> list[Value]:
        return [
            (_label(row), row["times_faster"][peer]["p50"])
            for row in _rows(rows, op, side=(side,), **wanted)
            if peer in row["times_faster"]
        ]

    return values


def _cost_of_prior(rows: list[Row]) -> list[Value]:
    found = []
    for op in ("attention_forward", "attention_forward_backward"):
        wanted = {"T": _LONG, "d": (128,), "variant": ("additive",), "dtype": ("float32",)}
        for row in _rows(rows, op, side=("native_no_prior",), **wanted):
            if "native" in row["times_faster"]:
                # The time of the kernel with the prior over that of the one without.
                found.append((_label(row), row["times_faster"]["native"]["p50"]))
    return found


def _memory_share(rows: list[Row]) -> list[Value]:
    wanted = {"T": (16384,), "variant": ("additive",), "dtype": ("float32",)}
    peaks = {
        row["side"]: row["peak_bytes"]
        for row in _rows(rows, "attention_forward_backward", **wanted)
        if row["peak_bytes"]
    }
    if "native" not in peaks or "eager" not in peaks:
        return []
    return [("T 16,384", peaks["native"] / peaks["eager"])]


def _memory_growth(rows: list[Row]) -> list[Value]:
    wanted = {"side": ("native",), "variant": ("additive",), "dtype": ("float32",)}
    peaks = {
        row["shape"]["T"]: row["peak_bytes"]
        for row in _rows(rows, "attention_forward_backward", **wanted)
        if row["peak_bytes"]
    }
    exponent = growth_exponent(peaks, least=2048)
    return [] if exponent is None else [("T 2,048 to 16,384", exponent)]


def _copy_share(rows: list[Row]) -> list[Value]:
    ratios = _times_faster("ddl_forward_backward", "native", "copy", **_DDL)(rows)
    return [(label, 1 / ratio) for label, ratio in ratios]


def _long(field: str, scale: float) -> Callable[[list[Row]], list[Value]]:
    def values(rows: list[Row]) -> list[Value]:
        found = []
        for row in _rows(rows, "day_of_video", side=("native",)):
            value = (
                row["peak_bytes"] if field == "peak_bytes" else (row["seconds"] or {}).get(field)
            )
            if value is not None and row["status"] == "ok":
                found.append((_label(row), value / scale))
        return found

    return values


def _label(row: Row) -> str:
    shape = row["shape"]
    if row["op"].startswith(("attention", "lanet", "day")):
        return f"T {shape['T']:,}"
    return " x ".join(f"{size:,}" for size in shape.values())


# ---- Bars ----------------------------------------------------------------------------------------

_LONG = (2048, 4096, 8192, 16384)
_DDL = {"N": (64,), "T": (8192,), "C": (128,), "dtype": ("float32",)}
_ATTENTION = {"B": (1,), "H": (1,), "d": (128,), "variant": ("additive",)}


def _bounds(avx512: float, avx2: float | None = None) -> dict[str, float]:
    """Return the bounds of both instruction sets, the same where only one is given."""
    return {"avx512": avx512, "avx2": avx512 if avx2 is None else avx2}


def _attention(op: str, peer: str, T: tuple[int, ...], dtype: str = "float32") -> Any:
    return _times_faster(op, "native", peer, T=T, dtype=(dtype,), **_ATTENTION)


def _lanet(T: int) -> Any:
    return _times_faster("lanet_forward", "native", "eager", T=(T,), dtype=("float32",))


BARS = (
    Bar(
        "attention forward, fp32, T >= 2048, d 128",
        "torch SDPA without any prior",
        "x",
        _bounds(1.7, 1.05),
        _bounds(2.3, 1.2),
        _attention("attention_forward", "sdpa", _LONG),
    ),
    Bar(
        "attention forward + backward with the prior's gradient, fp32, T >= 2048",
        "torch SDPA without any prior",
        "x",
        _bounds(1.9, 1.1),
        _bounds(2.6, 1.5),
        _attention("attention_forward_backward", "sdpa", _LONG),
    ),
    Bar(
        "attention forward, bf16, T >= 2048",
        "torch SDPA, bf16, without prior",
        "x",
        {"avx512": 3.0},
        {"avx512": 4.5},
        _attention("attention_forward", "sdpa", _LONG, "bfloat16"),
    ),
    Bar(
        "attention forward + backward, bf16, T >= 2048",
        "torch SDPA, bf16, without prior",
        "x",
        {"avx512": 1.8},
        {},
        _attention("attention_forward_backward", "sdpa", _LONG, "bfloat16"),
    ),
    Bar(
        "attention forward + backward, fp32, T = 4096",
        "eager reference",
        "x",
        _bounds(6, 3.5),
        _bounds(8, 5),
        _attention("attention_forward_backward", "eager", (4096,)),
    ),
    Bar(
        "time with the prior, fp32, T >= 2048",
        "own kernel without prior",
        "x its time",
        _bounds(1.05),
        _bounds(1.02),
        _cost_of_prior,
        at_least=False,
    ),
    Bar(
        "peak memory of attention forward + backward, T = 16,384",
        "eager reference",
        "of its memory",
        _bounds(0.05),
        {},
        _memory_share,
        at_least=False,
    ),
    Bar(
        "growth of that memory with T",
        "linear is 1",
        "(exponent)",
        _bounds(1.1),
        {},
        _memory_growth,
        at_least=False,
    ),
    Bar(
        "DDL loss forward + backward, 64 bags x 8192 x 128",
        "eager reference",
        "x",
        _bounds(12, 8),
        _bounds(40),
        _times_faster("ddl_forward_backward", "native", "eager", **_DDL),
    ),
    Bar(
        "the same",
        "a copy of the features",
        "x its time",
        {},
        _bounds(2),
        _copy_share,
        at_least=False,
    ),
    # Whole networks: with AVX2 both sides take PyTorch's linear layers, and most of the time is
    # theirs, so there is no bar.
    Bar(
        "LANet forward, T = 4,096",
        "eager reference",
        "x",
        {"avx512": 5.0},
        {"avx512": 8.0},
        _lanet(4096),
    ),
    Bar(
        "LANet forward, T = 16,384",
        "eager reference",
        "x",
        {"avx512": 6.0},
        {"avx512": 12.0},
        _lanet(16384),
    ),
    Bar(
        "training step, 128 x 200 x 1024, fp32",
        "eager reference",
        "x",
        {"avx512": 1.8},
        {"avx512": 2.5},
        _times_faster("training_step", "native", "eager", variant=("default",)),
    ),
    Bar(
        "memory of a process that scores 24 hours of video, T = 135,000",
        "eager cannot: its matrices take 73 GB each",
        "GB",
        _bounds(4),
        {},
        _long("peak_bytes", 1e9),
        at_least=False,
    ),
    Bar("time for the same", "", "s", {}, _bounds(60), _long("p50", 1.0), at_least=False),
)
