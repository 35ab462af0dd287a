"""Warnings about features that differ a little from those that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._choices import PRECISION_OPTIONS
from ..data import Video
from ..data.pack.origin import origin_of


def unlike_training(trained_on: Mapping[str, Any], videos: Sequence[Video]) -> list[str]:
    """Say how the features of videos differ from the training's in precision and frame rate.

    Parameters
    ----------
    trained_on : mapping
        Settings that the model remembers of its training features; where it remembers none, or they
        had several precisions, nothing is said.
    videos : sequence of Video
        That are scored; files without a record of their making are passed over.

    Returns
    -------
    list of str
        A sentence for each difference, with the first video that has it and how many do.
    """
    found: dict[str, list[str]] = {}
    for video in videos:
        settings = next((made for source in video.features if (made := origin_of(source))), None)
        for difference in () if settings is None else _differences(trained_on, settings):
            found.setdefault(difference, []).append(video.name)
    return [
        f"the features of {names[0]}{_more(names)} {difference}"
        for difference, names in found.items()
    ]


def _differences(trained_on: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    told = []
    then, now = trained_on.get("precision"), settings.get("precision")
    if then is not None and now is not None and then != now:
        before, after = (PRECISION_OPTIONS.get(name, name) for name in (then, now))
        told.append(
            f"are {after}, and the model was trained on {before}: "
            f"scores differ a little; --precision {before} gives the same kind"
        )
    then, now = trained_on.get("fps"), settings.get("fps")
    if then != now and "precision" in trained_on:
        told.append(
            f"were made {_rate(now)}, and those of the training {_rate(then)}; "
            + (f"--fps {then:g}" if then else "leaving out --fps")
            + " gives the same kind"
        )
    return told


def _rate(fps: float | None) -> str:
    return "of all frames" if fps is None else f"at {fps:g} frames per second"


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
