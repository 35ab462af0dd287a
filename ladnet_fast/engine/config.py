"""The whole configuration of a run, and its YAML file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from .._extras import import_extra
from .._files import atomic_write_text
from .._values import path as checked_path
from .._values import texts
from ..losses.ddl import preset_options
from .coercion import ConfigError, shown, unknown
from .sections import LossConfig, ModelConfig, TrainingConfig
from .yaml_text import MAX_CHARACTERS, read_yaml


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; every option has a default.

    Examples
    --------
    >>> config = Config().override(["training.epochs=20", "model.prior=logit"])
    >>> config.training.epochs
    20
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            section = getattr(self, name)
            if not isinstance(section, kind):
                raise ConfigError(
                    f"{name} must be a {kind.__name__}; got {shown(section)}. "
                    "Config.from_dict takes plain mappings"
                )

    @classmethod
    def from_dict(cls, sections: Mapping[str, Any]) -> Config:
        """Make a configuration from nested mappings; what is absent has its default.

        Raises
        ------
        ConfigError
            If a key is unknown (the message lists the known ones) or a value is not allowed.
        """
        return Config().replace(**_string_keys(sections, ""))

    def replace(self, **sections: Mapping[str, Any]) -> Config:
        """Return a copy with some options changed: ``replace(training={"epochs": 3})``."""
        known = [section.name for section in dataclasses.fields(self)]
        changed: dict[str, Any] = {}
        for name, options in sections.items():
            if name not in known:
                raise ConfigError(unknown(name, known, "section"))
            changed[name] = _replaced(getattr(self, name), name, options)
        return dataclasses.replace(self, **changed)

    def override(self, assignments: Sequence[str], **sections: Mapping[str, Any]) -> Config:
        """Return a copy with options changed by ``"section.key=value"``, the value in YAML.

        ``sections`` are as for `replace`, and changed together with the assignments: options
        are checked against one another.
        """
        merged = {
            name: {} if options is None else _string_keys(options, name)
            for name, options in sections.items()
        }
        try:
            texts("assignments", assignments, "texts such as training.epochs=20")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        for text in assignments:
            path, separator, value = text.partition("=")
            section, dot, key = path.strip().partition(".")
            if not (separator and dot and key):
                raise ConfigError(
                    "assignments must be section.key=value, e.g. training.epochs=20; got "
                    f"{shown(text)}"
                )
            name = f"{path.strip()}: {shown(value)}"
            merged.setdefault(section, {})[key] = read_yaml(
                value, name, purpose="read --set options"
            )
        return self.replace(**merged)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return nested dicts of JSON types."""
        sections = dataclasses.asdict(self)
        sections["model"]["mlp_dims"] = list(self.model.mlp_dims)
        return sections


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read a configuration from a YAML file with the sections model, loss and training.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigError
        If it isn't YAML of that form, a key is unknown or a value not allowed; the message names
        the file.
    """
    content = read_sections(path)
    try:
        return Config.from_dict(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_sections(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Read the sections of a configuration as they stand in the file; see `load_config`."""
    path = checked_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"configuration {path} does not exist or is not a file")
    if path.stat().st_size > 4 * MAX_CHARACTERS:
        raise ConfigError(
            f"{path}: a configuration must have at most {4 * MAX_CHARACTERS:,} bytes; got "
            f"{path.stat().st_size:,}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid YAML: it is not text in UTF-8 ({error})") from error
    content = read_yaml(text, str(path), purpose="read configurations")
    content = {} if content is None else content
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{path}: the top must be a mapping of the sections model, loss and training; "
            f"got {type(content).__name__}"
        )
    return content


def save_config(path: str | os.PathLike[str], config: Config) -> None:
    """Write a configuration as YAML that `load_config` reads back, atomically."""
    yaml = import_extra("yaml", extra="tools", purpose="write configurations")
    atomic_write_text(checked_path("path", path), yaml.safe_dump(config.as_dict(), sort_keys=False))


_Section = TypeVar("_Section", ModelConfig, LossConfig, TrainingConfig)


def _replaced(section: _Section, name: str, options: Any) -> _Section:
    options = {} if options is None else options  # "training:" with nothing below it
    hints = get_type_hints(type(section))
    values = {}
    options = _string_keys(options, name)
    if isinstance(section, LossConfig) and "preset" in options:
        options = _expanded(options)
    for key, value in options.items():
        if key not in hints:
            raise ConfigError(unknown(f"{name}.{key}", [f"{name}.{k}" for k in hints], "option"))
        values[key] = value
    return dataclasses.replace(section, **values)


def _expanded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Put a preset's options in the place of its name: a configuration holds plain options only."""
    given = {key: value for key, value in options.items() if key != "preset"}
    try:
        preset = preset_options(options["preset"])
    except ValueError as error:
        raise ConfigError(f"loss.{error}") from error
    return {"ddl": True, **preset, **given}


def _string_keys(mapping: Any, name: str) -> dict[str, Any]:
    if not isinstance(mapping, Mapping):
        what = "options" if name else "the sections model, loss and training"
        raise ConfigError(f"{name or 'sections'} must be a mapping of {what}; got {shown(mapping)}")
    for key in mapping:
        if not isinstance(key, str):
            raise ConfigError(f"{name or 'configuration'}: a key must be a name; got {shown(key)}")
    return dict(mapping)
