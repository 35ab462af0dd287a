"""Recognising files that are not videos, and naming the option or command that reads them."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import zipfile
from pathlib import Path

from .sources import VIDEO_SUFFIXES

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}(?=[^/])")
_HEAD = 4096
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ARCHIVES = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar", b"\x28\xb5\x2f\xfd": "zstandard",
}  # fmt: skip

#: What a suffix says, for files whose content says nothing more exact.
_BY_SUFFIX = {
    ".npy": "npy",
    ".npz": "npz",
    ".h5": "hdf5", ".hdf5": "hdf5",
    ".pt": "torch", ".pth": "torch", ".ckpt": "torch",
    ".safetensors": "safetensors",
    ".pkl": "pickle", ".pickle": "pickle",
    ".mat": "mat",
    ".json": "json", ".jsonl": "json",
    ".yaml": "yaml", ".yml": "yaml",
    ".csv": "csv", ".tsv": "csv",
    ".list": "text", ".lst": "text", ".txt": "text",
    ".zip": "archive", ".tar": "archive", ".gz": "archive", ".tgz": "archive", ".7z": "archive",
}  # fmt: skip

_NPZ = (
    "import numpy, os, sys; os.mkdir(sys.argv[2]); [numpy.save(os.path.join(sys.argv[2], "
    "name.replace('/', '_')), array) for name, array in numpy.load(sys.argv[1]).items()]"
)
_MAT = (
    "import numpy, os, scipy.io, sys; os.mkdir(sys.argv[2]); [numpy.save(os.path.join("
    "sys.argv[2], name), array) for name, array in scipy.io.loadmat(sys.argv[1]).items() "
    "if name[0] != '_']"
)
_TORCH = (
    "import numpy, sys, torch; numpy.save(open(sys.argv[2], 'xb'), torch.load(sys.argv[1], "
    "weights_only=True, map_location='cpu').detach().float().numpy())"
)


def explain_not_a_video(path: str | os.PathLike[str]) -> str | None:
    """Say what a file is that is not a video, and what to do with it.

    The suffix and the first bytes decide; nothing is decoded, unpickled or run.

    Parameters
    ----------
    path : path-like
        A file, a folder, or an address such as ``rtsp://host/stream``.

    Returns
    -------
    str or None
        One message that begins with the path. None if it may be a video, which FFmpeg will try to
        open, and if there is nothing of that name.
    """
    given = os.fspath(path)
    if not os.path.exists(given):
        return _of_an_address(given)
    if os.path.isdir(given):
        return _of_a_folder(Path(given))
    if not os.path.isfile(given):
        return (
            f"{given}: is a device or a pipe, not a file. Score it while it goes on: "
            f"{_watch(given)}; or record to a file first"
        )
    try:
        kind = _kind(Path(given))
    except OSError:  # the caller opens it next, and says why it can't be read
        return None
    return None if kind is None else f"{given}: {_explain(kind, Path(given))}"


def _kind(path: Path) -> str | None:
    """Return a key of `_explain`, or None for what may be a video."""
    suffix = _BY_SUFFIX.get(path.suffix.lower())
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"MATLAB "):
        return "mat73" if head.startswith(b"MATLAB 7.3") else "mat"
    if head.startswith(_HDF5):
        return "mat73" if suffix == "mat" else "hdf5"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path) or suffix or "archive"
    if re.match(rb"\x80[\x02-\x05][\x80-\x95\x28-\x7d]", head):  # protocol, first instruction
        return "torch" if suffix == "torch" else "pickle"
    if head[257:262] == b"ustar" or any(map(head.startswith, _ARCHIVES)):
        return "archive"
    if re.match(rb'[\s\S]{6}\0\0\{"', head):  # the length of a header in JSON, and it
        return "safetensors"
    if head.startswith(b"version https://git-lfs"):
        return "lfs"
    if re.match(rb"\s*<(!doctype html|html)", head, re.IGNORECASE):
        return "html"
    if suffix is not None:
        return suffix
    # A file with a video's suffix is taken for one, even if its content is damaged.
    return None if path.suffix.lower() in VIDEO_SUFFIXES else _kind_of_text(head)


def _kind_of_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "torch" if any(name.endswith("/data.pkl") for name in names) else None


def _kind_of_text(head: bytes) -> str | None:
    for encoding, mark in (("utf-16", b"\xff\xfe"), ("utf-16", b"\xfe\xff"), ("utf-8", b"")):
        if not head.startswith(mark):
            continue
        decoder = codecs.getincrementaldecoder(encoding)()
        try:  # the last character may be cut
            text = decoder.decode(head, final=len(head) < _HEAD)
        except UnicodeDecodeError:
            continue
        start = text.lstrip("\ufeff \t\r\n")
        if not start or start.startswith("#EXTM3U") or not _is_text(text):
            return None  # nothing, or a playlist, which FFmpeg reads
        return "json" if start[0] in "{[" else "text"
    return None


def _is_text(text: str) -> bool:
    return all(char.isprintable() or char in "\ufeff\t\r\n\f\u3000\xa0" for char in text)


def _explain(kind: str, path: Path) -> str:
    full = os.path.abspath(path)
    beside = os.path.splitext(full)[0]

    def python(code: str, *arguments: str) -> str:
        return shlex.join(["python", "-c", code, *arguments])

    match kind:
        case "npy":
            return (
                "is a NumPy array, not a video; features in .npy files are scored with "
                f"{_score(full)}"
            )
        case "npz":
            folder = f"{beside}-arrays"
            return (
                "holds NumPy arrays, not a video; write each to a file of its own, and give their "
                f"folder to {_score(folder)}: {python(_NPZ, full, folder)}"
            )
        case "hdf5":
            return (
                "is an HDF5 file, not a video; features in it are read through a manifest, a .csv "
                "file with the header video,features,label and for each video a line "
                f"NAME,{full}::KEY,"
            )
        case "torch":
            return (
                "is a file of PyTorch, not a video; give a model with --model "
                f"{shlex.quote(full)}, and write features (one tensor) as .npy: "
                + python(_TORCH, full, f"{beside}.npy")
            )
        case "safetensors":
            return f"holds weights, not a video; give a model with --model {shlex.quote(full)}"
        case "pickle":
            return (
                "is a pickle, not a video; a pickle can run any program when it is opened, so no "
                "command opens it as data. Give the authors' weights with --model "
                f"{shlex.quote(full)}; write features as .npy (numpy.save) where they were made"
            )
        case "mat":
            folder = f"{beside}-arrays"
            return (
                "is a MATLAB file, not a video; write each array to a file of its own, for --gt or "
                f"as features: {python(_MAT, full, folder)}"
            )
        case "mat73":
            return (
                "is a MATLAB 7.3 file, not a video; save it in MATLAB with -v7, or its arrays as "
                ".npy, for --gt or as features"
            )
        case "json":
            return (
                "is a JSON file, not a video, and no command reads it; annotations are given with "
                "--gt as lines of text, a data set as a manifest (.csv)"
            )
        case "yaml":
            return (
                "is a YAML file, not a video; a configuration is given to ladnet-fast train with "
                f"--config {shlex.quote(full)}"
            )
        case "csv":
            return (
                "is a table, not a video; a manifest (.csv) is given alone, to ladnet-fast score, "
                "train or evaluate"
            )
        case "lfs":
            return (
                "is a pointer of Git LFS, not the video itself; fetch that in its repository: "
                "git lfs pull"
            )
        case "html":
            return "is a web page, not a video: the download failed; get the file itself again"
        case "archive":
            return "is an archive, not a video; unpack it and give the files in it"
        case _:
            return (
                "is a text file, not a video; a list of feature files is given alone, to "
                "ladnet-fast score, train or evaluate, and --layout says how it is written; "
                "annotations are given with --gt"
            )


def _score(path: str) -> str:
    return f"ladnet-fast score {shlex.quote(path)} --model RUN"


def _of_an_address(given: str) -> str | None:
    found = _ADDRESS.match(given)
    if found is None:
        return None
    # A Path has one slash where the address had two.
    address = f"{found[1]}://{given[found.end() :]}"
    if found[1].lower() == "file":
        return f"{address}: give the file's path instead: {shlex.quote('/' + given[found.end() :])}"
    command = shlex.join(["ffmpeg", "-i", address, "-t", "60", "-c", "copy", "recorded.mkv"])
    return (
        f"{address}: is an address, not a file. Score it while it goes on: {_watch(address)}; or "
        f"record to a file first, for example a minute: {command}"
    )


def _watch(source: str) -> str:
    return f"{shlex.join(['ladnet-fast', 'watch', source])} --model RUN"


def _of_a_folder(folder: Path) -> str:
    suffixes = {entry.suffix for entry in folder.iterdir() if entry.suffix.lower() in _PICTURES}
    if not suffixes:
        return f"{folder}: is a folder; give the video files in it"
    suffix = min(suffixes)
    full = os.path.abspath(folder)
    # A pattern of FFmpeg's own, in which these characters of the folder's name are escaped.
    pattern = re.sub(r"([\\*?\[\]{}])", r"\\\1", full) + f"/*{suffix}"
    command = ["ffmpeg", "-framerate", "25", "-pattern_type", "glob", "-i", pattern]
    command += ["-pix_fmt", "yuv420p", "-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", f"{full}.mp4"]
    return (
        f"{folder}: is a folder of pictures ({suffix}); make a video of them, with the frames per "
        f"second that they had: {shlex.join(command)}"
    )
