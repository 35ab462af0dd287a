"""Figures of the trainings, and sentences that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .bags import SplicedBag
from .bootstrap import FIGURES, Bootstrap, Estimate
from .learn import Trial
from .variants import Variant


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one configuration; ``figures`` by name, as in `FIGURES`."""

    key: str
    label: str
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Difference:
    """What one thing adds: configuration ``key`` minus configuration ``against``, paired."""

    key: str
    against: str
    adds: str
    label: str
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All figures, and sentences that follow from them.

    Attributes
    ----------
    seeds : list of int
        Of the trainings of each configuration.
    rows : list of Row
        The configurations.
    differences : list of Difference
        What each thing adds, and what all of it adds to the first configuration.
    sentences : list of str
        What the figures show.
    notes : list of str
        What was left out.
    guessing_ap : float
        Share of the held-out frames that is foreign, which is the AP of guessing.
    """

    seeds: list[int]
    rows: list[Row]
    differences: list[Difference]
    sentences: list[str]
    notes: list[str]
    guessing_ap: float


def compare(
    trials: Sequence[Trial],
    variants: Sequence[Variant],
    bags: Sequence[SplicedBag],
    notes: Sequence[str] = (),
) -> Outcome:
    """Set the configurations side by side.

    Parameters
    ----------
    trials : sequence of Trial
        Every configuration with the same seeds.
    variants : sequence of Variant
        The configurations, the one without anything first.
    bags : sequence of SplicedBag
        The held-out bags.
    notes : sequence of str
        What to say beside the figures.
    """
    seeds = sorted({trial.seed for trial in trials})
    by_name = {(trial.variant, trial.seed): trial for trial in trials}
    bootstrap = Bootstrap([bag.truth for bag in bags], [bag.label for bag in bags], len(seeds))
    measured = {
        variant.key: bootstrap.measure(
            [[by_name[variant.key, seed].scores[bag.name] for bag in bags] for seed in seeds]
        )
        for variant in variants
    }
    rows = [
        Row(
            variant.key,
            variant.label,
            {name: bootstrap.estimate(measured[variant.key][name]) for name in FIGURES},
        )
        for variant in variants
    ]
    labels = {variant.key: variant.label for variant in variants}
    first = variants[0]
    pairs = [(v.key, v.against, v.adds) for v in variants if v.against]
    pairs += [
        (v.key, first.key, f"the prior and {v.adds}")
        for v in variants
        if v.against not in ("", first.key)
    ]
    differences = [
        Difference(
            key,
            against,
            adds,
            f"{labels[key]} minus {labels[against]}",
            {
                name: bootstrap.estimate(measured[key][name], measured[against][name])
                for name in FIGURES
            },
        )
        for key, against, adds in pairs
    ]
    truth = bootstrap.truth
    return Outcome(
        seeds=seeds,
        rows=rows,
        differences=differences,
        sentences=sentences(rows, differences, len(seeds)),
        notes=list(notes),
        guessing_ap=float(truth.mean()),
    )


def sentences(rows: Sequence[Row], differences: Sequence[Difference], num_seeds: int) -> list[str]:
    """Say what the figures show, and nothing else."""
    said = [_sentence(difference) for difference in differences]
    best = max(rows, key=lambda row: row.figures["anomalous_auc"].mean)
    worst = min(rows, key=lambda row: row.figures["anomalous_auc"].mean)
    said.append(
        f"Within the anomalous bags “{best.label}” ranks frames best on average (AUC "
        f"{best.figures['anomalous_auc'].mean:.4f}) and “{worst.label}” worst "
        f"({worst.figures['anomalous_auc'].mean:.4f})."
        if len(rows) > 1
        else f"Within the anomalous bags the AUC is {best.figures['anomalous_auc'].mean:.4f}."
    )
    if num_seeds == 1:
        said.append(
            "There is one seed, so the intervals don't include how much another seed would differ."
        )
    return said


def _sentence(difference: Difference) -> str:
    """Say of every figure whether the thing raises it, lowers it, or neither can be told."""
    clear: list[str] = []
    open_: list[str] = []
    for name, estimate in difference.figures.items():
        text = f"{FIGURES[name]} {signed(estimate.mean)} ({interval(estimate)})"
        if estimate.apart_from_zero:
            direction = "higher" if estimate.low > 0 else "lower"
            clear.append(f"{text}: {direction}")
        else:
            open_.append(text)
    parts = []
    if clear:
        parts.append("; ".join(clear))
    if open_:
        parts.append(f"no difference can be told in {'; '.join(open_)}")
    adds = difference.adds[0].upper() + difference.adds[1:]
    return f"{adds} ({difference.label}): {'. Besides, '.join(parts)}."


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return f"{value:+.4f}"


def interval(estimate: Estimate) -> str:
    """Write the interval of a difference."""
    return f"{signed(estimate.low)} to {signed(estimate.high)}"
