"""Extractors, which turn snippets into features: I3D, CLIP, and those of other packages.

A package of yours adds an extractor by an entry point of the group ``ladnet_fast.extractors``::

    [project.entry-points."ladnet_fast.extractors"]
    mine = "my_package:make_extractor"
"""

from .i3d import I3DExtractor
from .protocol import (
    Clips,
    Extractor,
    PlacedExtractor,
    Preparation,
    Rows,
)
from .registry import (
    ExtractorError,
    Factory,
    extractor_names,
    make_extractor,
)

__all__ = [
    "Clips",
    "Extractor",
    "ExtractorError",
    "Factory",
    "I3DExtractor",
    "PlacedExtractor",
    "Preparation",
    "Rows",
    "extractor_names",
    "make_extractor",
]
