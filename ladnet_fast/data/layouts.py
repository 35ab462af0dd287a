"""Naming conventions of the field's feature lists: which lines are crops of one video, its label.

A name means the last part of a path without its suffix and without its crop suffix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ladnet_fast.data.video import FRAMES_PER_SNIPPET, Axes

# A label: 0 or 1, and the classes of anomaly where the name tells them.
Label = tuple[int, tuple[str, ...]]


class UnknownLabelError(ValueError):
    """A name doesn't follow the convention, so that its label can't be told."""


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
        Label of a name; raises UnknownLabelError.
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
    label: Callable[[str], Label]
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


def ucf_crime_label(name: str) -> Label:
    """Label by a UCF-Crime name: ``Normal_Videos_003_x264`` or ``Abuse028_x264``."""
    if "Normal" in name:
        return 0, ()
    match = re.match(r"([A-Za-z]+)\d+(_|$)", name)
    if match is None:
        raise UnknownLabelError(
            f"{name!r} is not a UCF-Crime name such as 'Normal_Videos_003_x264' or 'Abuse028_x264'"
        )
    return 1, (match[1],)


def xd_violence_label(name: str) -> Label:
    """Label by an XD-Violence name: ``..._label_A`` or ``..._label_B1-B2-0``."""
    match = re.search(r"_label_([A-G]\d?(?:-(?:0|[A-G]\d?))*)$", name)
    if match is None:
        raise UnknownLabelError(
            f"{name!r} is not an XD-Violence name, which ends in '_label_A' (normal) or in "
            "classes such as '_label_B1-B2-0'"
        )
    return xd_violence_codes(match[1])


def xd_violence_codes(codes: str) -> Label:
    """Label by XD-Violence's codes alone: ``A`` or ``B1-B2-0``."""
    classes = tuple(code for code in codes.split("-") if code not in ("0", "A"))
    return (1, classes) if classes else (0, ())


def label_from_cell(cell: str) -> Label:
    """Label by the text of a label column: 0, 1, Normal, A, ``B1-B2-0`` or a class's name."""
    if cell in ("0", "1"):
        return int(cell), ()
    if re.fullmatch(r"[A-G]\d?(-(0|[A-G]\d?))*", cell):
        return xd_violence_codes(cell)
    return (0, ()) if cell.lower() == "normal" else (1, (cell,))


def generic_label(name: str) -> Label:
    """Label by an XD-Violence name where it is one, else by a UCF-Crime name."""
    return xd_violence_label(name) if "_label_" in name else ucf_crime_label(name)


def unnamed_label(name: str) -> Label:
    """Refuse: ShanghaiTech names such as ``01_0015`` don't tell the label."""
    raise UnknownLabelError(f"{name!r}, a ShanghaiTech name, does not tell the label")


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
