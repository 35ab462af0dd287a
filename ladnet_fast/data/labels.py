"""Labels that names and cells give with certainty, by the conventions of published data sets."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A label: 0 or 1, and the classes of anomaly where the name tells them.
Label = tuple[int, tuple[str, ...]]

UCF_CRIME_CLASSES = (
    "Abuse", "Arrest", "Arson", "Assault", "Burglary", "Explosion", "Fighting", "RoadAccidents",
    "Robbery", "Shooting", "Shoplifting", "Stealing", "Vandalism",
)  # fmt: skip
XD_VIOLENCE_CODES = ("B1", "B2", "B4", "B5", "B6", "G")
ALLOWED_CELLS = (
    "0, 1, True, False, Normal, a UCF-Crime class such as RoadAccidents, or XD-Violence's codes "
    f"(A, {', '.join(XD_VIOLENCE_CODES)}, several as in B1-B2-0)"
)

_UCF_ANOMALOUS = re.compile(rf"({'|'.join(UCF_CRIME_CLASSES)})\d{{3}}(?:_.*)?", re.DOTALL)
# Training-Normal-Videos-Part-1, Testing_Normal_Videos_Anomaly, Normal_Videos_event, ...
_UCF_NORMAL_FOLDER = re.compile(
    r"(?:(?:Training|Testing)[-_])?Normal[-_]Videos"
    r"(?:[-_](?:Anomaly|event|for[-_]Event[-_]Recognition|Part[-_]?\d+))*"
)
_XD_CODES = rf"A|(?:{'|'.join(XD_VIOLENCE_CODES)})(?:-(?:{'|'.join(XD_VIOLENCE_CODES)}|0))*"
_XD_NAME = re.compile(rf"_label_({_XD_CODES})$")


class UnknownLabelError(ValueError):
    """A name or a cell follows no known convention, so its label is unknown."""


def ucf_crime_label(name: str, folders: Sequence[str] = ()) -> Label:
    """Label by UCF-Crime's names: ``Normal_Videos_003_x264`` or ``Abuse028_x264``.

    A class is followed by three digits. ``folders`` are those of the file: the data set's own for
    normal videos, such as ``Testing_Normal_Videos_Anomaly``, give the label too.
    """
    match = _UCF_ANOMALOUS.fullmatch(name)
    folder = next((part for part in folders if _UCF_NORMAL_FOLDER.fullmatch(part)), None)
    if match is not None and folder is not None:
        raise UnknownLabelError(
            f"{name!r} is an anomalous video's name, but its folder {folder!r} is for normal ones"
        )
    if match is not None:
        return 1, (match[1],)
    if folder is not None or name.startswith("Normal_Videos"):
        return 0, ()
    raise UnknownLabelError(
        f"{name!r} is not a UCF-Crime name, Normal_Videos... or a class with three digits "
        "such as 'Abuse028_x264'"
    )


def xd_violence_label(name: str, folders: Sequence[str] = ()) -> Label:
    """Label by XD-Violence's names: ``..._label_A`` or ``..._label_B1-B2-0``."""
    match = _XD_NAME.search(name)
    if match is None:
        raise UnknownLabelError(
            f"{name!r} is not an XD-Violence name, which ends in '_label_A' (normal) or in "
            f"classes ({', '.join(XD_VIOLENCE_CODES)}) such as '_label_B1-B2-0'"
        )
    return xd_violence_codes(match[1])


def xd_violence_codes(codes: str) -> Label:
    """Label by XD-Violence's codes alone: ``A`` or ``B1-B2-0``."""
    classes = tuple(code for code in codes.split("-") if code not in ("0", "A"))
    return (1, classes) if classes else (0, ())


def generic_label(name: str, folders: Sequence[str] = ()) -> Label:
    """Label by an XD-Violence name where it is one, else by a UCF-Crime name."""
    if "_label_" in name:
        return xd_violence_label(name)
    return ucf_crime_label(name, folders)


def unnamed_label(name: str, folders: Sequence[str] = ()) -> Label:
    """Refuse: ShanghaiTech names such as ``01_0015`` don't say the label."""
    raise UnknownLabelError(f"{name!r}, a ShanghaiTech name, does not say the label")


def label_from_cell(cell: str) -> Label:
    """Label by the text of a label column.

    0 and 1 (also as 0.0, or True and False); Normal or a folder of UCF-Crime's normal videos; a
    UCF-Crime class, which is kept as it is written; XD-Violence's codes, ``A`` or ``B1-B2-0``.
    """
    lower = cell.lower()
    if re.fullmatch(r"[01](\.0*)?", cell) or lower in ("true", "false"):
        return int(lower == "true" or cell[0] == "1"), ()
    if lower == "normal" or _UCF_NORMAL_FOLDER.fullmatch(cell):
        return 0, ()
    if lower in (name.lower() for name in UCF_CRIME_CLASSES):
        return 1, (cell,)
    if re.fullmatch(_XD_CODES, cell):
        return xd_violence_codes(cell)
    raise UnknownLabelError(f"label must be one of {ALLOWED_CELLS}; got {cell!r}")
