"""Recognising a file by its content, whatever its name, for messages that help."""

from __future__ import annotations

import shlex
from pathlib import Path

_HEAD = 1024
_SIGNATURES = (
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"MATLAB 5.0", "a MATLAB 5 file (.mat)"),
    (0, b"MATLAB 7.3", "a MATLAB 7.3 file (.mat)"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"PK\x03\x04", "a zip archive, as .npz, .pt and .xlsx files are"),
    (0, b"\x1f\x8b", "compressed by gzip"),
    (0, b"BZh", "compressed by bzip2"),
    (0, b"\xfd7zXZ\x00", "compressed by xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"%PDF-", "a PDF"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska)"),
    (0, b"RIFF", "a video or sound (RIFF)"),
    (4, b"ftyp", "a video (MP4)"),
    *((0, bytes([0x80, protocol]), "a Python pickle") for protocol in range(2, 6)),
)
# Byte-order marks, the longer ones first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32", "UTF-32"),
    (b"\x00\x00\xfe\xff", "utf-32", "UTF-32"),
    (b"\xff\xfe", "utf-16", "UTF-16"),
    (b"\xfe\xff", "utf-16", "UTF-16"),
)
_UNMARKED = (("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"))
_BLANKS = "\t\r\n\f\ufeff\u3000\xa0"
_SINGLE = (("gb18030", "GB18030", "Chinese"), ("cp1252", "CP1252", "Western European"))


def binary_kind(path: Path) -> str | None:
    """Name the format that a file's first bytes are the signature of, or None."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for offset, signature, kind in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return kind
    return None


def why_not_utf8(path: Path, data: bytes) -> str | None:
    """Say what ``data`` is where it isn't UTF-8 text, and how to convert it; None where it is.

    A command is given only for encodings that decode every byte.
    """
    for mark, codec, encoding in _MARKS:
        if data.startswith(mark):
            if _decodes(data, codec):
                return f"is {encoding} text; convert it:\n  {iconv(path, encoding)}"
            return f"begins like {encoding} text and is damaged"
    if b"\x00" in data:
        for codec, encoding in _UNMARKED:
            if _decodes(data, codec):
                return f"is {encoding} text; convert it:\n  {iconv(path, encoding)}"
        return "is binary data, not text"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        fitting = [entry for entry in _SINGLE if _decodes(data, entry[0])]
        found = f"is not UTF-8 text (byte {error.start})"
        if not fitting:
            return f"{found}, nor text in another encoding that is known here"
        commands = "".join(
            f"\nas {language} text:\n  {iconv(path, encoding)}" for _, encoding, language in fitting
        )
        choice = " with the one that reads right" if len(fitting) > 1 else ""
        return f"{found}; convert it{choice},{commands}"
    return None


def iconv(path: Path, encoding: str) -> str:
    """Return a shell command that writes a copy of ``path`` in UTF-8 beside it."""
    target = path.with_name(f"{path.stem}-utf8{path.suffix}")
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > {shlex.quote(str(target))}"


def _decodes(data: bytes, codec: str) -> bool:
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in _BLANKS for character in text)
