"""Extractors by name: this package's own, and those of other installed packages."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

from ..._values import shown
from .protocol import Extractor, is_extractor, missing

#: Group of entry points; each names a `Factory` in its package.
GROUP = "ladnet_fast.extractors"

#: ``factory(what, device=..., engine=..., precision=...)`` returns an `Extractor`. ``what`` is the
#: text after the colon of ``NAME:WHAT``, None without; ``device`` a name of PyTorch's; ``engine``
#: ``"torch"``, ``"openvino"`` or ``"auto"``; ``precision`` ``"fp32"``, ``"bf16"`` or ``"int8"``. It
#: raises ValueError for what it doesn't have, and says what it has.
Factory = Callable[..., Extractor]

#: This package's own: the module and the function in it, imported when asked for.
_BUILT_IN = {
    "clip": "ladnet_fast.video.extractors.clip:clip",
    "i3d": "ladnet_fast.video.extractors.factory:i3d",
}


class ExtractorError(ValueError):
    """No extractor of that name, or one that can't be used; the message says what there is."""


class _Named(NamedTuple):
    name: str
    what: str | None


def extractor_names() -> list[str]:
    """Return the names of all extractors, sorted."""
    return sorted({*_BUILT_IN, *(point.name for point in metadata.entry_points(group=GROUP))})


def make_extractor(
    spec: str, *, device: str = "cpu", engine: str = "torch", precision: str = "fp32"
) -> Extractor:
    """Make an extractor by its name.

    Parameters
    ----------
    spec : str
        ``NAME`` or ``NAME:WHAT``, for example ``i3d``; WHAT is for the extractor to read.
    device, engine, precision : str
        See `Factory`.

    Raises
    ------
    ExtractorError
        If there is no extractor of that name, several packages have one, or what the package makes
        is not an extractor.
    """
    named = _parse(spec)
    factory = _factory(named.name)
    made: Any = factory(named.what, device=device, engine=engine, precision=precision)
    if not is_extractor(made):
        raise ExtractorError(
            f"the extractor {named.name!r} makes {shown(made)}, which is not an extractor: "
            f"it lacks {', '.join(missing(made)) or 'a call'}; update its package"
        )
    return made


def _parse(spec: object) -> _Named:
    if not isinstance(spec, str) or not spec.partition(":")[0]:
        raise ExtractorError(f"extractor must be NAME or NAME:WHAT, {_there()}; got {shown(spec)}")
    name, colon, what = spec.partition(":")
    return _Named(name, what if colon else None)


def _factory(name: str) -> Factory:
    points = list(metadata.entry_points(group=GROUP, name=name))
    if name in _BUILT_IN:
        points = [metadata.EntryPoint(name, _BUILT_IN[name], GROUP)]
    if not points:
        raise ExtractorError(f"extractor must be NAME or NAME:WHAT, {_there()}; got {name!r}")
    if len({point.value for point in points}) > 1:
        places = ", ".join(point.value for point in points)
        raise ExtractorError(
            f"several installed packages have an extractor {name!r} ({places}); uninstall all but "
            "one of them"
        )
    factory: Factory = points[0].load()
    if not callable(factory):
        raise ExtractorError(
            f"the extractor {name!r} of {points[0].value} is {shown(factory)}, not a function that "
            "makes one; update or uninstall its package"
        )
    return factory


def _there() -> str:
    names = ", ".join(extractor_names())
    return f"where NAME is one of {names} (packages add theirs by the entry point {GROUP!r})"
