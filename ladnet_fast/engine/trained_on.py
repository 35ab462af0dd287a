"""Which extractor a model's training features came from, and whether others fit it.

Features that ``extract`` wrote say in their records what made them, and a pack of them says it too.
Features from elsewhere say nothing: they are accepted wherever their width fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..data import DataError, Video
from ..data.pack.origin import origin_of
from ..video.extractors import Extractor
from ..video.extractors.protocol import is_placed, remembered

#: Settings by which extractors differ. Other precisions or engines give nearly the same numbers.
_KEYS = (
    "network", "weights", "pixels", "frames_per_snippet", "short_side", "crop", "filter",
    "long_side",
)  # fmt: skip

Settings = Mapping[str, Any]


def training_origin(videos: Sequence[Video]) -> dict[str, Any]:
    """Return the settings of the extractor that made the features of all videos; empty: not known.

    Entries on which the records differ, such as the precision, are left out.

    Raises
    ------
    DataError
        If two extractors made them.
    """
    common: dict[str, Any] | None = None
    first: tuple[Any, Settings] | None = None
    unknown = False
    for video in videos:
        for source in video.features:
            settings = origin_of(source)
            if not settings:
                unknown = True
                continue
            if first is None:
                first, common = (source, settings), dict(settings)
            if _identity(settings) != _identity(first[1]):
                raise DataError(
                    f"{source} was made by {told(settings)}, and {first[0]} by {told(first[1])}; "
                    "a model needs features of one extractor: extract them again with one of them"
                )
            assert common is not None
            common = {k: v for k, v in common.items() if settings.get(k) == v}
    return {} if unknown or common is None else common


def told(settings: Settings) -> str:
    """Return how a message names an extractor: its network and the start of its weights' digest."""
    details = [f"weights {str(settings.get('weights', '?'))[:8]}"]
    details += [f"{key} {settings[key]}" for key in _KEYS[2:] if key in settings]
    return f"{settings.get('network', 'an extractor')} ({', '.join(details)})"


def problem(trained_on: Settings, settings: Settings, what: str) -> str | None:
    """Say what is wrong where features of other settings than the training's would be scored.

    Parameters
    ----------
    trained_on : mapping
        Of the model; empty: not known.
    settings : mapping
        Of the features, or of the extractor that will make them; empty: not known.
    what : str
        The features' file or video, for the message.
    """
    if not trained_on or not settings or _identity(settings) == _identity(trained_on):
        return None
    return (
        f"{what}: features are of {told(settings)}, but the model was trained on those of "
        f"{told(trained_on)}; extract them with that one (ladnet-fast extract --extractor "
        f"{trained_on.get('network', 'NAME')}), or score with a model that was trained on these"
    )


def extractor_problem(trained_on: Settings, extractor: Extractor) -> str | None:
    """Say the same of an extractor before it is loaded; see `problem`.

    An extractor that must be placed first is compared by name; what it makes is compared later.
    """
    what = f"the extractor {extractor.name}"
    if not trained_on or not is_placed(extractor):
        return problem(trained_on, remembered(extractor) if trained_on else {}, what)
    if extractor.name == trained_on.get("network", extractor.name):
        return None
    return problem(trained_on, {"network": extractor.name}, what)


def video_problem(trained_on: Settings, video: Video) -> str | None:
    """Say the same of a video's feature files, by their records."""
    for source in video.features if trained_on else ():
        if found := problem(trained_on, origin_of(source), str(source)):
            return found
    return None


def _identity(settings: Settings) -> dict[str, Any]:
    return {key: settings[key] for key in _KEYS if key in settings}
