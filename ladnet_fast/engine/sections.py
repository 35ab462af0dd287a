"""The sections of a configuration: options of the network, of the losses and of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_type_hints

from ..losses import DDLLoss
from ..nn import LANet
from ..nn.prior import check_sigma
from .coercion import ConfigError, coerce

Schedule = Literal["cosine", "constant"]
MixedPrecision = Literal["no", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda"]
Metric = Literal["auto", "auc", "ap", "average_precision", "video_auc", "snippet_auc"]

# Larger than anyone needs, and small enough that tensor sizes don't overflow.
_LARGEST_SIZE, _MOST_LAYERS = 1 << 24, 100
_MOST_EPOCHS, _MOST_WORKERS = 1_000_000, 1024
_SMALLEST_LR = 2.0**-126


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Options of `ladnet_fast.LANet`, with its defaults.

    ``feature_dim`` and ``query_dim`` are read from the training features when they are None.
    """

    feature_dim: int | None = None
    hidden_dim: int = 128
    num_heads: int = 1
    mlp_dims: tuple[int, ...] = (512, 128)
    kernel_size: int = 7
    dropout: float = 0.1
    prior: Literal["additive", "logit", "none"] = "additive"
    prior_form: Literal["gaussian", "exp_abs"] = "gaussian"
    sigma: float = 8.0
    learn_prior: bool = True
    query_dim: int | None = None
    impl: Literal["auto", "reference", "native", "triton", "cuda"] = "auto"

    def __post_init__(self) -> None:
        _coerce_all(self, "model")
        for name in ("feature_dim", "hidden_dim", "num_heads", "kernel_size", "query_dim"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= _LARGEST_SIZE:
                raise ConfigError(f"model.{name} must be from 1 to {_LARGEST_SIZE}; got {value}")
        if not 1 <= len(self.mlp_dims) <= _MOST_LAYERS:
            raise ConfigError(
                f"model.mlp_dims must have 1 to {_MOST_LAYERS} widths; got {len(self.mlp_dims)}"
            )
        for i, value in enumerate(self.mlp_dims):
            if not 1 <= value <= _LARGEST_SIZE:
                raise ConfigError(
                    f"model.mlp_dims[{i}] must be from 1 to {_LARGEST_SIZE}; got {value}"
                )
        if self.hidden_dim % self.num_heads:
            raise ConfigError(
                f"model.num_heads must divide model.hidden_dim = {self.hidden_dim}; "
                f"got {self.num_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model.dropout must be in [0, 1); got {self.dropout}")
        try:
            check_sigma(self.sigma)
        except ValueError as error:
            raise ConfigError(f"model.{error}") from error

    def build(self, *, impl: str | None = None) -> LANet:
        """Make the network, with new weights drawn from torch's global generator."""
        options = {name: getattr(self, name) for name in self.__slots__}
        if self.feature_dim is None:
            raise ConfigError("model.feature_dim must be the width of the features; got None")
        return LANet(**{**options, "impl": impl or self.impl})


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Options of `ladnet_fast.DDLLoss`, with its defaults.

    ``ddl=False`` trains with the multiple-instance loss alone; ranking and alignment are still
    computed and reported. Where options are read, ``preset: paper`` stands for the options of
    `ladnet_fast.DDLLoss.from_preset`; those given beside it win.
    """

    ddl: bool = True
    ranking_weight: float = 0.0
    alignment_weight: float = 5.0
    margin: float = 0.1
    topk_divisor: int = 16
    eps: float = 1e-6
    pairing: Literal["batch_mean", "all_pairs", "one_to_one"] = "batch_mean"
    select: Literal["topk", "all"] = "topk"
    detach: Literal["none", "score", "feature"] = "score"
    alignment_form: Literal["product", "correlation"] = "product"
    impl: Literal["auto", "reference", "native", "triton", "cuda"] = "auto"

    def __post_init__(self) -> None:
        _coerce_all(self, "loss")
        try:
            self.build()
        except ValueError as error:
            raise ConfigError(f"loss.{error}") from error

    def build(self) -> DDLLoss:
        """Make the criterion."""
        options = {name: getattr(self, name) for name in self.__slots__ if name != "ddl"}
        if not self.ddl:
            options.update(ranking_weight=0.0, alignment_weight=0.0)
        return DDLLoss(**options)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train. The optimiser and sampling defaults are those of the authors' released code.

    Parameters
    ----------
    epochs : int
        Passes over the training samples.
    batch_size : int
        Bags of one optimiser step, all processes and accumulated parts together.
    token_budget : int, optional
        Snippets of one optimiser step instead of ``batch_size``, which is then ignored: bags are
        packed end to end as long as they fit, without padding. A bag that is longer is a step
        of its own. With ``sampling`` "none" bags have their own length.
    lr, weight_decay : float
        Of the optimiser, Adam.
    schedule : {"cosine", "constant"}
        Cosine annealing by epoch, lr (1 + cos(pi epoch / t_max)) / 2, or none.
    t_max : int
        Half period of the cosine in epochs, at least ``epochs``: beyond it the learning rate would
        rise again. By default it is longer, so that training ends before the rate reaches 0.
    sampling : {"linspace", "bins", "none"}
        See `ladnet_fast.data.BagDataset`.
    snippets : int, optional
        Its ``size``: 200 for "linspace" and 32 for "bins" if not given.
    crops : {"all", "first"}
        Whether every crop of a video is a training sample.
    balanced : bool
        Both classes in every batch, instead of plain shuffling.
    use_queries : bool
        Feed the second modality where the videos have one.
    accumulate : int
        Parts into which a batch is cut to save memory; must divide ``batch_size``. The losses that
        compare bags with one another see one part at a time.
    clip_norm : float, optional
        Largest norm of the gradient.
    mixed_precision : {"no", "bf16", "fp16"}
        Autocast of forward and backward.
    device : {"auto", "cpu", "cuda"}
        "auto" takes a GPU if there is one.
    cuda_graph : bool
        Capture the step of a full batch, padded to ``snippets``, in a CUDA graph and replay it: one
        launch instead of hundreds. Needs an NVIDIA GPU, one process and batches of one shape.
    seed : int
        Seed of weights, order and dropout.
    deterministic : bool
        Ask torch for deterministic algorithms (an error where there is none).
    workers : int
        Processes that read features; 0 reads in the training process.
    preload : "auto", True or False
        Keep features in memory: True reads all bags before the first epoch, whatever they need;
        "auto" keeps what the training process has read, up to 2 GiB and a quarter of the memory
        that is free at the start; False reads every epoch anew. Results are the same.
    validation : float
        Share of the training videos, in [0, 1), held out to choose the epoch; 0 takes the last
        epoch.
    validate_every : int
        Epochs between validations; the last epoch is always validated.
    metric : {"auto", "auc", "ap", "average_precision", "video_auc", "snippet_auc"}
        Figure that chooses the epoch. "auto" is ``auc`` over frames where every held-out video has
        ground truth, else ``snippet_auc``, which needs bag labels only, as ``video_auc`` does
        (`ladnet_fast.engine.validation.snippet_auc`).
    patience : int, optional
        Stop early, after this many validations in a row without a higher figure than before. None
        trains all epochs.
    select_on_test : bool
        Choose the epoch on the test videos. Such figures are optimistic: say so when you
        report them.
    checkpoint_every : int
        Epochs between checkpoints; the last epoch always has one.
    checkpoint_steps : int, optional
        Also write one every this many optimiser steps.
    """

    epochs: int = 50
    batch_size: int = 128
    lr: float = 5e-4
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    t_max: int = 60
    sampling: Literal["linspace", "bins", "none"] = "linspace"
    snippets: int | None = None
    crops: Literal["all", "first"] = "all"
    balanced: bool = False
    use_queries: bool = True
    accumulate: int = 1
    clip_norm: float | None = None
    mixed_precision: MixedPrecision = "no"
    device: Device = "auto"
    seed: int = 0
    deterministic: bool = False
    workers: int = 0
    preload: Literal["auto", True, False] = "auto"
    validation: float = 0.2
    validate_every: int = 1
    metric: Metric = "auto"
    patience: int | None = None
    select_on_test: bool = False
    checkpoint_every: int = 1
    checkpoint_steps: int | None = None
    token_budget: int | None = None
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        _coerce_all(self, "training")
        for name in (
            "epochs", "batch_size", "t_max", "snippets", "accumulate",
            "validate_every", "patience", "checkpoint_every", "checkpoint_steps", "token_budget",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"training.{name} must be at least 1; got {value}")
        for name in ("seed", "workers", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"training.{name} must be at least 0; got {getattr(self, name)}")
        for name, most in (("epochs", _MOST_EPOCHS), ("workers", _MOST_WORKERS)):
            if getattr(self, name) > most:
                raise ConfigError(
                    f"training.{name} must be at most {most}; got {getattr(self, name)}"
                )
        for name in ("lr", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"training.{name} must be greater than 0; got {value}")
        if self.lr < _SMALLEST_LR:
            raise ConfigError(
                f"training.lr must be at least {_SMALLEST_LR:.2g}, the smallest step of float32; "
                f"got {self.lr}"
            )
        if self.schedule == "cosine" and self.epochs > self.t_max:
            raise ConfigError(
                f"training.t_max must be at least training.epochs = {self.epochs}, or the learning "
                f"rate would rise again; got {self.t_max}. Set training.t_max={self.epochs} or more"
            )
        if not 0 <= self.validation < 1:
            raise ConfigError(f"training.validation must be in [0, 1); got {self.validation}")
        if self.patience is not None and not self.validation and not self.select_on_test:
            raise ConfigError(
                f"training.patience = {self.patience} needs held-out videos to tell when to stop; "
                "set training.validation, such as 0.2, or leave training.patience out"
            )
        if self.token_budget is None and self.batch_size % self.accumulate:
            raise ConfigError(
                f"training.accumulate must divide training.batch_size = {self.batch_size}; "
                f"got {self.accumulate}"
            )
        if self.cuda_graph:
            self._check_capturable()

    def _check_capturable(self) -> None:
        """Refuse what a graph, which repeats the same launches, can't hold."""
        for name, allowed in (
            ("token_budget", (None,)),
            ("sampling", ("linspace", "bins")),
            ("accumulate", (1,)),
            ("mixed_precision", ("no", "bf16")),  # fp16's loss scale is looked at on the host
        ):
            value = getattr(self, name)
            if value not in allowed:
                wanted = " or ".join("not set" if v is None else str(v) for v in allowed)
                raise ConfigError(
                    f"training.{name} must be {wanted} with training.cuda_graph=true, which needs "
                    f"every step to be the same; got {value}"
                )


def _coerce_all(section: ModelConfig | LossConfig | TrainingConfig, name: str) -> None:
    """Give every option the type that it is annotated with, wherever the value comes from."""
    for key, hint in get_type_hints(type(section)).items():
        value = coerce(f"{name}.{key}", getattr(section, key), hint)
        object.__setattr__(section, key, value)  # allowed in a frozen class while it is being made
