"""A grid: named configurations, and what holds for all of them or for one data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from ladnet_fast._extras import import_extra
from ladnet_fast.engine import Config, LossConfig, TrainingConfig
from ladnet_fast.engine.coercion import ConfigError, coerce, unknown

Method = Literal["lanet", "sultani", "rtfm", "mlp", "logistic"]

#: Options of training that the benchmark follows; the others belong to a run in a folder.
TRAINING = (
    "epochs", "batch_size", "lr", "weight_decay", "schedule", "t_max",
    "sampling", "snippets", "crops", "balanced", "validation",
)  # fmt: skip
_SECTIONS = ("model", "loss", "training", "trial")


class GridError(ConfigError):
    """A grid is not usable; the message names the place and what is allowed there."""


@dataclass(frozen=True, slots=True)
class TrialConfig:
    """What only the benchmark has: ideas on trial, none of them an option of the package.

    Parameters
    ----------
    method : {"lanet", "sultani", "rtfm", "mlp", "logistic"}
        LA-Net, or a baseline of `baselines`.
    push_weight : float
        Weight of the control: the mean of -log(df + eps) over the snippet pairs of a bag, without
        any score. What the alignment gains, this must not.
    correlation_weight : float
        Weight of one minus the correlation of score and feature dynamics within the bag: what
        ``loss.alignment_form=correlation`` is in the package, here beside the losses of a grid.
    crossentropy_weight : float
        Weight of the cross entropy of both dynamics, each divided by its sum over the bag.
    detach : {"none", "score", "feature"}
        Which factor of these two receives no gradient.
    ranking : {"none", "partly", "spread", "smoothed"}
        A ranking in another form than the paper's, beside the losses of the grid:
        `trials.ranking_term`.
    ranking_weight, ranking_margin : float
        Its weight and the margin of its hinge.
    warmup_epochs : int
        Epochs over which the weights of all terms but MIL rise from 0.
    normalise : {"none", "z", "l2"}
        What is done to the features first: nothing; mean 0 and deviation 1 over the training
        snippets; rows of length 1.
    sigmas : tuple of float
        Initial width of the prior of each head, in the place of ``model.sigma`` for all; empty:
        none of their own.
    """

    method: Method = "lanet"
    push_weight: float = 0.0
    correlation_weight: float = 0.0
    crossentropy_weight: float = 0.0
    detach: Literal["none", "score", "feature"] = "none"
    ranking: Literal["none", "partly", "spread", "smoothed"] = "none"
    ranking_weight: float = 1.0
    ranking_margin: float = 0.1
    warmup_epochs: int = 0
    normalise: Literal["none", "z", "l2"] = "none"
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in (
            "push_weight", "correlation_weight", "crossentropy_weight", "ranking_weight",
            "ranking_margin", "warmup_epochs",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                raise GridError(f"trial.{name} must be at least 0; got {getattr(self, name)}")
        if any(not sigma > 0 for sigma in self.sigmas):
            raise GridError(f"trial.sigmas must be greater than 0; got {list(self.sigmas)}")


@dataclass(frozen=True, slots=True)
class Setup:
    """One configuration as it is trained on one data set."""

    config: Config = field(default_factory=Config)
    trial: TrialConfig = field(default_factory=TrialConfig)

    def __post_init__(self) -> None:
        model = self.config.model
        if self.trial.sigmas and (len(self.trial.sigmas), model.prior_form) != (
            model.num_heads, "gaussian",
        ):  # fmt: skip
            raise GridError(
                f"trial.sigmas has {len(self.trial.sigmas)} widths; give one for each of the "
                f"model.num_heads = {model.num_heads}, with model.prior_form=gaussian"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return what a result depends on, as JSON types.

        Options of a loss whose weight is 0 are left out: a default that changes does not make
        another configuration of what never used it. So are those of a ranking on trial without
        one.
        """
        sections = self.config.as_dict()
        training = {name: sections["training"][name] for name in TRAINING}
        trial = dataclasses.asdict(self.trial)
        if self.trial.ranking == "none":
            trial = {key: value for key, value in trial.items() if not key.startswith("ranking")}
        return {
            "model": sections["model"],
            "loss": _in_force(self.config.loss),
            "training": training,
            "trial": {**trial, "sigmas": list(trial["sigmas"])},
        }


def _in_force(loss: LossConfig) -> dict[str, Any]:
    found: dict[str, Any] = {"topk_divisor": loss.topk_divisor, "impl": loss.impl}
    for weight, options in (
        ("ranking_weight", ("margin", "pairing", "select")),
        ("alignment_weight", ("eps", "detach", "alignment_form")),
    ):
        value = getattr(loss, weight) if loss.ddl else 0.0
        found[weight] = value
        if value:
            found |= {name: getattr(loss, name) for name in options}
    return found


@dataclass(frozen=True, slots=True)
class Grid:
    """Named configurations, one of which is the baseline that the others are compared with."""

    baseline: str
    configurations: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def setup(self, name: str, dataset: str) -> Setup:
        """Return a configuration for a data set: later ones of common, data set, own win."""
        merged: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
        for layer in (self.common, self.datasets.get(dataset, {}), self.configurations[name]):
            for section, options in layer.items():
                merged[section].update(options or {})
        trial = _trial(merged.pop("trial"))
        return Setup(Config().replace(**merged), trial)


#: What runs without --grid: the package's defaults, its losses off, and the baselines.
DEFAULT = Grid(
    baseline="mil",
    configurations={
        "mil": {"loss": {"ddl": False}},
        "default": {},
        "logistic": {"trial": {"method": "logistic"}},
        "mlp": {"trial": {"method": "mlp"}},
        "sultani": {"trial": {"method": "sultani"}, "training": {"balanced": True}},
        "rtfm": {"trial": {"method": "rtfm"}, "training": {"balanced": True}},
    },
)


def read_grid(path: Path) -> Grid:
    """Read a grid from YAML.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    GridError
        If a key is unknown or a value not allowed; the message names the file and the place.
    """
    if not path.is_file():
        raise FileNotFoundError(f"grid {path} does not exist or is not a file")
    yaml = import_extra("yaml", extra="tools", purpose="read grids")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GridError(f"{path}: not valid YAML: {error}") from error
    try:
        return make_grid(content)
    except ConfigError as error:
        raise GridError(f"{path}: {error}") from error


def make_grid(content: Any) -> Grid:
    """Check what a file holds; every configuration is built once, so that errors come early."""
    known = [entry.name for entry in dataclasses.fields(Grid)]
    for key in _mapping(content, "the grid"):
        if key not in known:
            raise GridError(unknown(str(key), known, "key"))
    configurations = _mapping(content.get("configurations"), "configurations")
    if not configurations:
        raise GridError("configurations is empty: name at least one, such as mil: {}")
    baseline = content.get("baseline")
    if baseline not in configurations:
        raise GridError(unknown(f"baseline {baseline}", [str(n) for n in configurations], "name"))
    layers = {"common": _layer(content.get("common") or {}, "common")}
    datasets = {
        str(name): _layer(layer or {}, f"datasets.{name}")
        for name, layer in _mapping(content.get("datasets") or {}, "datasets").items()
    }
    grid = Grid(
        baseline=str(baseline),
        configurations={
            _plain_name(name): _layer(layer or {}, f"configurations.{name}")
            for name, layer in configurations.items()
        },
        common=layers["common"],
        datasets=datasets,
    )
    for dataset in (*datasets, ""):
        for name in grid.configurations:
            try:
                grid.setup(name, dataset)
            except ConfigError as error:
                where = f" with datasets.{dataset}" if dataset else ""
                raise GridError(f"configurations.{name}{where}: {error}") from error
    return grid


def _layer(layer: Any, where: str) -> Mapping[str, Any]:
    for section, options in _mapping(layer, where).items():
        if section not in _SECTIONS:
            raise GridError(unknown(f"{where}.{section}", _SECTIONS, "section"))
        for key in _mapping(options or {}, f"{where}.{section}"):
            if section == "training" and key not in TRAINING:
                instead = (
                    "give seeds with --seeds"
                    if key == "seed"
                    else f"it follows {', '.join(TRAINING)}"
                )
                known = key in get_type_hints(TrainingConfig)
                what = "is not followed by this benchmark" if known else "is unknown"
                raise GridError(f"{where}.training.{key} {what}: {instead}")
    return dict(layer)


def _trial(options: Mapping[str, Any]) -> TrialConfig:
    hints = get_type_hints(TrialConfig)
    values = {}
    for key, value in options.items():
        if key not in hints:
            raise GridError(unknown(f"trial.{key}", [f"trial.{k}" for k in hints], "option"))
        values[key] = coerce(f"trial.{key}", value, hints[key])
    return TrialConfig(**values)


def _mapping(value: Any, what: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise GridError(f"{what} must be a mapping; got {value!r}")
    return value


def _plain_name(name: Any) -> str:
    text = str(name)
    if not text or not all(c.isalnum() or c in "-_.+" for c in text):
        raise GridError(
            f"configurations: {text!r} is no name for files; use letters, digits and - _ . +"
        )
    return text
