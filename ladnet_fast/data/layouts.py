"""Naming conventions of the field's feature lists: which lines are crops of one video, its label.

A name means the last part of a path without its suffix and without its crop suffix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from .labels import (
    Label,
    UnknownLabelError,
    generic_label,
    label_from_cell,
    ucf_crime_label,
    unnamed_label,
    xd_violence_label,
)
from .video import FRAMES_PER_SNIPPET, Axes

__all__ = [
    "LAYOUTS",
    "Label",
    "Layout",
    "UnknownLabelError",
    "label_from_cell",
    "xd_violence_label",
]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one family of lists is written.

    Parameters
    ----------
    name : str
        As given to `read_list`.
    description : str
        What the files hold and which projects use it.
    crop_pattern : str or None
        Regular expression with the groups ``name`` and ``crop``; a name that doesn't match is
        crop 0. None: one line per video.
    label : callable
        Label of a name and the folders of its path; raises UnknownLabelError.
    label_column : "none", "optional" or "csv"
        Whether lines are ``path``; ``path`` or ``path label``; or CSV with ``path,label``.
    frames_per_snippet : int or None
        See `Video`.
    name_suffix : str
        End of a file's stem that is not part of the video's name.
    axes : "snippets,crops", "crops,snippets" or None
        See `Video`.
    hdf5 : bool
        Lines are keys of one HDF5 file rather than paths.
    """

    name: str
    description: str
    crop_pattern: str | None
    label: Callable[[str, Sequence[str]], Label]
    label_column: str = "none"
    frames_per_snippet: int | None = FRAMES_PER_SNIPPET
    name_suffix: str = ""
    axes: Axes | None = None
    hdf5: bool = False

    def split_crop(self, stem: str) -> tuple[str, int]:
        """Split the last part of a path, without suffix, into the video's name and the crop."""
        stem = stem.removesuffix(self.name_suffix)
        match = re.fullmatch(self.crop_pattern, stem) if self.crop_pattern else None
        return (match["name"], int(match["crop"])) if match else (stem, 0)


_TWO_UNDERSCORES = r"(?P<name>.+)__(?P<crop>\d+)"
# One digit, because 01_0015 without a crop is a video's name too.
_ONE_UNDERSCORE = r"(?P<name>.+_\d+)_(?P<crop>\d)"

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            Layout(
                "ucf-i3d",
                "UCF-Crime I3D (PEL4VAD): X.npy is crop 0, X__1.npy ... X__9.npy; (T, 1024) each",
                _TWO_UNDERSCORES,
                ucf_crime_label,
            ),
            Layout(
                "ucf-clip",
                "UCF-Crime (UR-DMU, VadCLIP): X__0.npy ... X__9.npy; (T, D) each",
                _TWO_UNDERSCORES,
                ucf_crime_label,
            ),
            Layout(
                "xd-violence",
                "XD-Violence RGB or flow: X__0.npy ... X__4.npy (0 centre, 1-4 corners)",
                _TWO_UNDERSCORES,
                xd_violence_label,
            ),
            Layout(
                "shanghaitech",
                "ShanghaiTech (PEL4VAD): 01_0015_0.npy ... 01_0015_9.npy, 'path' or 'path label'",
                _ONE_UNDERSCORE,
                unnamed_label,
                label_column="optional",
            ),
            Layout(
                "vadclip",
                "VadCLIP: CSV with header path,label; label is a class, Normal or A",
                _TWO_UNDERSCORES,
                generic_label,
                label_column="csv",
            ),
            Layout(
                "ten-crop",
                "RTFM, MGFN, S3R: X_i3d.npy of shape (T, 10, 2048), one line per video",
                None,
                generic_label,
                name_suffix="_i3d",
                axes="snippets,crops",
            ),
            Layout(
                "c3d-text",
                "Sultani et al.: X.txt with 32 rows of 4096 numbers, one line per video",
                None,
                ucf_crime_label,
                frames_per_snippet=None,
            ),
            Layout(
                "hdf5",
                "WSAL: one HDF5 file (root), whose keys are the video names in the list",
                None,
                generic_label,
                hdf5=True,
            ),
        )
    }
)
