"""The configurations that the demo sets side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..engine import Config

#: Keys of the configurations; the first is what the others build on.
PLAIN, PRIOR, DDL, PAPER = "plain", "mil", "ddl", "paper"


@dataclass(frozen=True, slots=True)
class Variant:
    """One configuration.

    Attributes
    ----------
    key : str
        Names its folders: ``mil-seed0``.
    label : str
        Names it for readers.
    model, loss : dict
        Options that differ from the package's defaults.
    against : str
        Key of the configuration that it adds one thing to; empty for the first.
    adds : str
        What it adds.
    """

    key: str
    label: str
    model: dict[str, Any]
    loss: dict[str, Any]
    against: str = ""
    adds: str = ""

    @property
    def config(self) -> Config:
        """The package's defaults with these options."""
        return Config().replace(model=self.model, loss=self.loss)


def variants() -> tuple[list[Variant], list[str]]:
    """Return the configurations, each different from all before it, and notes on those left out.

    The package's defaults change from version to version. Where they make two configurations one,
    the later one is left out, and a sentence says so.
    """
    prior = Config().model.prior
    if prior == "none":
        prior = "additive"
    candidates = [
        Variant(PLAIN, "MIL, no prior", {"prior": "none"}, {"ddl": False}),
        Variant(PRIOR, f"MIL, {prior} prior", {"prior": prior}, {"ddl": False}, PLAIN, "the prior"),
        Variant(DDL, "DDL, the defaults", {"prior": prior}, {"ddl": True}, PRIOR, "DDL"),
        Variant(
            PAPER, "DDL, the paper's losses", {"prior": prior}, {"preset": "paper"}, PRIOR,
            "DDL in the paper's form",
        ),
    ]  # fmt: skip
    chosen: list[Variant] = []
    notes: list[str] = []
    for candidate in candidates:
        same = [entry for entry in chosen if _identity(entry) == _identity(candidate)]
        if same:
            notes.append(
                f"“{candidate.label}” is the same configuration as “{same[0].label}” in this "
                "version, so it is not trained again."
            )
        else:
            chosen.append(candidate)
    return chosen, notes


def _identity(variant: Variant) -> tuple[Any, ...]:
    """Return all that the training depends on; a loss of weight 0 leaves its options out."""
    config = variant.config
    loss = config.loss
    terms: list[Any] = [loss.topk_divisor]
    if loss.ddl and loss.ranking_weight:
        terms += ["ranking", loss.ranking_weight, loss.margin, loss.pairing, loss.select]
    if loss.ddl and loss.alignment_weight:
        terms += ["alignment", loss.alignment_weight, loss.detach, loss.eps, loss.alignment_form]
    return (config.model, *terms)
