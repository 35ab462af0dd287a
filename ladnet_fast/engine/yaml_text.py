"""YAML that people write by hand: small, plain, and without what YAML reads in a surprising way."""

from __future__ import annotations

import re
from typing import Any

from .._extras import import_extra
from .coercion import ConfigError, shown

#: More than any configuration has, and few enough to read them all.
MAX_CHARACTERS = 1 << 20
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")


def read_yaml(text: str, name: str, *, purpose: str) -> Any:
    """Return what YAML text holds, made of dicts, lists and scalars.

    Beside what isn't YAML, this refuses what the format allows and hardly anybody means: anchors
    and aliases (a few lines of which stand for gigabytes), a key that occurs twice, of which the
    second one would win, and numbers that are octal or sexagesimal without looking like it.

    Raises
    ------
    ConfigError
        Begins with ``name`` and says in which line.
    MissingExtraError
        If pyyaml is not installed (extra "tools").
    """
    yaml = import_extra("yaml", extra="tools", purpose=purpose)
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"{name}: a configuration must have at most {MAX_CHARACTERS:,} characters; got "
            f"{len(text):,}"
        )
    try:
        return yaml.load(text, Loader=_loader(yaml))  # noqa: S506: made of the safe loader
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML{_where(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: not a configuration: it is nested too deeply") from error
    except (ValueError, ArithmeticError) as error:  # a date or a number that can't be
        raise ConfigError(f"{name}: not valid YAML: {str(error)[:200]}") from error


def _loader(yaml: Any) -> Any:
    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise yaml.composer.ComposerError(
                    None, None, "anchors and aliases (&name, *name) are not read; write the value "
                    "where it is needed", event.start_mark,
                )  # fmt: skip
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            mapping = super().construct_mapping(node, deep=deep)
            if len(mapping) < len(node.value):
                seen: set[Any] = set()
                for key_node, _ in node.value:
                    key = self.construct_object(key_node, deep=True)
                    if key in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"the key {shown(key)} occurs twice", key_node.start_mark
                        )
                    seen.add(key)
            return mapping

        def construct_plain_int(self, node: Any) -> int:
            if not _PLAIN_INT.fullmatch(node.value):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{node.value[:60]} is no plain number: YAML would read "
                    f"{str(self.construct_yaml_int(node))[:60]}", node.start_mark,
                )  # fmt: skip
            return int(self.construct_yaml_int(node))

    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_plain_int)
    return Loader


def _where(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    line = "" if mark is None else f" in line {mark.line + 1}"
    return f"{line}: {problem[:200]}"
