"""The folder of a training run: its files, and who may write them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import remove_leftovers
from .._locks import folder_lock
from .._outputs import check_outputs, place_of
from .._records import record_of, record_text, recorded
from .._tensors import DIGESTS
from ..data import Video
from ..nn import LANet
from .coercion import ConfigError
from .config import Config, load_config, save_config
from .reporting import EpochRecord
from .run_info import FILE as RUN_INFO
from .run_info import KIND as RUN_INFO_KIND
from .scoring import KIND as SCORES_KIND
from .scoring import KIND_OF_TESTED, score_path
from .sections import ModelConfig
from .weights import CONFIG, WEIGHTS, save_model

CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.json"
METRICS = "metrics.json"
METRICS_KIND = "the figures of test videos"
SCORES = "scores"
# What the files of a run are called in their records.
_CONFIG, _MODEL = "the configuration of a run", "the model of a run"
_HISTORY = "the history of a run"
_KINDS = (_CONFIG, _MODEL, _HISTORY, RUN_INFO_KIND, SCORES_KIND, KIND_OF_TESTED, METRICS_KIND)
_REMEDY = "name another folder with --out, or move them away"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run lies; nothing is written before `check` has looked at all of it."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The state to resume from."""
        return self.path / CHECKPOINT

    @property
    def weights(self) -> Path:
        """The chosen epoch's weights."""
        return self.path / WEIGHTS

    @property
    def metrics(self) -> Path:
        """The figures of the test videos."""
        return self.path / METRICS

    @property
    def scores(self) -> Path:
        """The folder of the test videos' scores."""
        return self.path / SCORES

    def check(
        self,
        inputs: Iterable[str | os.PathLike[str]],
        config: Config,
        *,
        resume: bool,
        tested: Sequence[Video] = (),
    ) -> None:
        """Refuse a folder that holds another run, an input, or files of somebody else.

        Parameters
        ----------
        inputs : iterable of path-like
            Every file that the run reads. The run's own configuration may be one of them when it
            is resumed.
        config : Config
            The configuration that will be written; a file that says the same stays, whoever wrote
            it.
        resume : bool
            Whether a run that lies there is to go on.
        tested : sequence of Video
            Videos whose scores and figures will be written beside the model.

        Raises
        ------
        ValueError
            Names the files and what to do.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; name a folder for the results")
        if not resume and any(os.path.lexists(file) for file in (self.checkpoint, self.weights)):
            raise ValueError(
                f"{self.path} already holds a training run; resume it (--resume), name another "
                "folder, or delete it"
            )
        own = {place_of(self.path / CONFIG)} if resume else set()
        read = [path for path in inputs if place_of(path) not in own]
        outputs = self._outputs(tested)
        # What is read must not be written, whoever wrote it.
        check_outputs(outputs, read, overwrite=True)
        if _says(self.path / CONFIG, config):
            outputs.remove(self.path / CONFIG)
        unknown = [path for path in outputs if not self._is_known(path)]
        check_outputs(unknown, (), kinds=_KINDS, remedy=_REMEDY)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training or evaluating here; tidy up after killed ones."""
        with folder_lock(self.path, "training"):
            remove_leftovers(self.path)
            remove_leftovers(self.scores)
            yield

    def write_config(self, config: Config) -> None:
        """Write the whole configuration; a file that says the same stays as it is."""
        path = self.path / CONFIG
        if not _says(path, config):
            with recorded(path, {"kind": _CONFIG}) as temporary:
                save_config(temporary, config)

    def write_model(
        self, net: LANet, config: ModelConfig, trained_on: Mapping[str, Any] | None = None
    ) -> None:
        """Write the chosen epoch's weights."""
        with recorded(self.weights, {"kind": _MODEL}) as temporary:
            try:
                save_model(temporary, net, config, trained_on=trained_on)
            except OSError as error:  # name the file that the user knows, not the temporary one
                raise OSError(error.errno, error.strerror, str(self.weights)) from error

    def write_history(self, history: Sequence[EpochRecord]) -> None:
        """Write what every epoch gave."""
        text = json.dumps([record_as_dict(record) for record in history], indent=2, allow_nan=False)
        record_text(self.path / HISTORY, text + "\n", {"kind": _HISTORY})

    def files_of_tested(self, tested: Sequence[Video]) -> list[Path]:
        """Return the files that the evaluation of test videos writes."""
        files = [self.metrics] if tested else []
        for video in tested:
            path = score_path(self.scores, video.name)
            files += [path, path.with_name(path.name[:-4] + ".csv")]
        return files

    def _outputs(self, tested: Sequence[Video]) -> list[Path]:
        files = [self.path / name for name in (CONFIG, RUN_INFO, HISTORY, WEIGHTS, CHECKPOINT)]
        return files + self.files_of_tested(tested)

    def _is_known(self, path: Path) -> bool:
        """Tell whether a file belongs to a run although no record says so."""
        if path.name == CHECKPOINT and path.parent == self.path:
            return True  # a new run has none; one to resume from is checked when it is read
        if record_of(path) is not None:
            return False
        return _is_of_an_earlier_version(self.checkpoint)


def record_as_dict(record: EpochRecord) -> dict[str, Any]:
    """Return an epoch's record in JSON types; None for a number that JSON can't hold."""
    fields = dataclasses.asdict(record)
    if record.sigma is not None:
        fields["sigma"] = [value if math.isfinite(value) else None for value in record.sigma]
    return fields


def record_from_dict(fields: dict[str, Any]) -> EpochRecord:
    """Return what `record_as_dict` was made from."""
    sigma = fields["sigma"]
    if sigma is not None:
        sigma = tuple(math.inf if value is None else value for value in sigma)
    return EpochRecord(**{**fields, "sigma": sigma})


def _says(path: Path, config: Config) -> bool:
    try:
        if not path.is_file():
            return False
        there = load_config(path)
    except (ConfigError, OSError):
        return False
    # Widths that are left open are filled in from the features.
    widths = {name: getattr(config.model, name) for name in ("feature_dim", "query_dim")}
    open_widths = {name: None for name, width in widths.items() if width is None}
    return there.replace(model=open_widths) == config


def _is_of_an_earlier_version(checkpoint: Path) -> bool:
    """Tell whether a run was written before files had records: its checkpoint has no digest."""
    from safetensors import SafetensorError, safe_open

    if not checkpoint.is_file():
        return False
    try:
        with safe_open(checkpoint, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError:
        return False
    ours = str(metadata.get("format", "")).startswith("ladnet_fast.")
    return ours and not any(name in metadata for name in DIGESTS)
