"""Rows of the sound of videos, written beside their features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..._outputs import OutputError, check_outputs
from ..._records import DamagedFileError, record_of, recorded, verify
from ..._tensors import tensors_digest
from ...data._list_files import QUERY_SUFFIX
from .. import origin
from ..decode import frame_rate
from ..errors import VideoError
from ..sources import Footage
from .decode import read_audio
from .logmel import examples
from .queries import KIND
from .vggish import VGGish, load_vggish


class Sound:
    """Describes the sound of videos, one row for each snippet of their features.

    Parameters
    ----------
    model : VGGish
        With weights.
    folder : Path
        Of the features: ``NAME__vggish.npy`` goes beside ``NAME.npy``.
    fps : float or None
        Rate at which the frames of snippets were chosen; None: every file's own.
    frames_per_snippet : int
        Frames of a snippet.
    overwrite : bool
        Compute again what is there, whoever wrote it.
    """

    def __init__(
        self,
        model: VGGish,
        folder: Path,
        *,
        fps: float | None = None,
        frames_per_snippet: int = 16,
        overwrite: bool = False,
    ) -> None:
        self._model, self._folder, self._overwrite = model, folder, overwrite
        self._fps, self._frames = fps, frames_per_snippet
        self._settings = {"network": "vggish", "weights": tensors_digest(model.state_dict(), {})}

    def file(self, name: str) -> Path:
        """Return where the rows of a video go."""
        return self._folder / f"{name}{QUERY_SUFFIX}.npy"

    def check(self, footage: Sequence[Footage]) -> None:
        """Refuse files that are in the way, before hours of work.

        Raises
        ------
        OutputError
            If one is an input or was not written here, or holds the sound of another video or of
            other weights.
        """
        files = [self.file(name) for _, name in footage]
        check_outputs(files, [path for path, _ in footage], kinds=[KIND], overwrite=self._overwrite)
        for (video, _), file in zip(footage, files, strict=True):
            record = None if self._overwrite or not file.is_file() else record_of(file)
            if record is None or not video.is_file():
                continue
            made = record.made
            if made.get("settings") != self._settings:
                what = "other weights"
            elif "content" not in made or origin.compare(video, made["content"]) == "other":
                what = f"another video than {video}"
            else:
                continue
            raise OutputError(
                f"{file} holds the sound of {what}; name another folder with --out, or replace it "
                "with --overwrite"
            )

    def describe(self, video: Path, name: str, snippets: int) -> Path:
        """Write the rows of a video, (``snippets``, 128) float32, unless they are there.

        Raises
        ------
        VideoError
            If it has no sound, or can't be read, or doesn't tell its rate.
        """
        file = self.file(name)
        rate = frame_rate(video) if self._fps is None else self._fps
        if rate is None:
            raise VideoError(f"{video} doesn't say its frame rate; give it with --fps")
        made: dict[str, Any] = {
            "kind": KIND, "settings": self._settings, "seconds": self._frames / rate,
            "snippets": snippets,
        }  # fmt: skip
        if not self._overwrite and self._is_there(file, video, made):
            return file
        content = origin.describe(video)
        patches = examples(read_audio(video), hop_seconds=self._frames / rate, count=snippets)
        made |= {"video": content["path"], "content": content}
        with recorded(file, made) as temporary, temporary.open("wb") as out:
            np.save(out, self._model.embed(patches))
        return file

    def _is_there(self, file: Path, video: Path, made: dict[str, Any]) -> bool:
        try:
            record = verify(file) if file.is_file() else None
        except DamagedFileError:
            return False
        if record is None or any(record.made.get(key) != value for key, value in made.items()):
            return False
        return origin.compare(video, record.made["content"]) == "same"


def named_sound(spec: str, *, device: str) -> VGGish:
    """Load what ``--sound`` names: ``vggish:FILE`` with the user's weights.

    Raises
    ------
    ValueError, FileNotFoundError
        If the name is another or the file is not there, or its weights are not VGGish's.
    """
    kind, colon, file = spec.partition(":")
    if kind != "vggish" or not colon or not file:
        raise ValueError(
            "--sound must be vggish:FILE, where FILE has weights as harritaylor/torchvggish names "
            f"them; got {spec!r}"
        )
    return load_vggish(file, device=device)
