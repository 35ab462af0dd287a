"""Where the features of a data set came from, as far as their records tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._records import record_of
from ..video import FeatureSource, Video
from .format import is_pack, read_info, rows_of


def origin_of(source: FeatureSource) -> Mapping[str, Any]:
    """Return what the record of a feature file, or of its pack, says of its making; else empty."""
    if rows_of(source) is not None:
        return read_info(source.path.parent).origin if is_pack(source.path.parent) else {}
    if source.key is not None or not source.path.is_file():
        return {}
    record = record_of(source.path)
    if record is None or record.made.get("kind") != "features":
        return {}
    settings = record.made.get("settings", {})
    return settings if isinstance(settings, dict) else {}


def common_origin(videos: Sequence[Video]) -> dict[str, Any]:
    """Return the entries on which the records of all feature files agree; empty if one has none."""
    common: dict[str, Any] | None = None
    for video in videos:
        for source in video.features:
            found = origin_of(source)
            if common is None:
                common = dict(found)
            common = {key: value for key, value in common.items() if found.get(key) == value}
            if not common:
                return {}
    return common or {}
