"""Anything that keeps to the protocol stands in for I3D."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladnet_fast._records import record_of
from ladnet_fast.data import read_manifest
from ladnet_fast.video import I3D, extract_features, extract_to_files, snippet_features
from ladnet_fast.video.extractors import (
    ExtractorError,
    I3DExtractor,
    Preparation,
    extractor_names,
    make_extractor,
)
from ladnet_fast.video.extractors.protocol import is_extractor
from ladnet_fast.video.weights import MEMBER_SHA256

WriteVideo = Callable[..., Path]
MakeFrames = Callable[..., np.ndarray]


class Greys:
    """Three numbers for every 5 frames: the first frame's mean, its height and its width."""

    name, width, frames_per_snippet, device = "greys", 3, 5, "cpu"
    preparation = Preparation(40, 24)

    def __init__(self, weights: str = "w1") -> None:
        self.settings = {"network": "greys", "weights": weights, "precision": "float32"}
        self.loads = 0

    def load(self) -> None:
        self.loads += 1

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        assert clips.dtype == np.uint8
        assert clips.ndim == 5
        height, width = clips.shape[2:4]
        rows = [[clip[0].mean(), height, width] for clip in clips]
        return np.array(rows, np.float32)


@pytest.fixture
def clip(write_video: WriteVideo, grey_frames: MakeFrames, tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mkv", grey_frames(23))


@pytest.mark.parametrize("crops", [1, 5])
def test_another_extractor_decides_width_snippets_and_preparation(clip: Path, crops: int) -> None:
    features = extract_features(clip, model=Greys(), crops=crops, batch=3)
    row = np.stack([5.0 * np.arange(0, 20, 5), [24] * 4, [24] * 4], axis=1)
    np.testing.assert_allclose(features, np.stack([row] * crops), atol=1e-4)


def test_its_files_manifest_and_records_say_what_it_is(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extractor = Greys()
    (done,) = extract_to_files([clip], out, model=extractor)
    assert (done.num_snippets, np.load(done.features[0]).shape) == (4, (4, 3))
    record = record_of(done.features[0])
    assert record is not None
    assert record.made["settings"] == {
        "crops": 1, "preparation": 1, "network": "greys", "weights": "w1", "precision": "float32",
        "frames_per_snippet": 5, "short_side": 40, "crop": 24,
    }  # fmt: skip
    listing = out / "videos.csv"
    listing.write_text(listing.read_text().replace("npy,,", "npy,1,"))  # fill in the label
    (video,) = read_manifest(listing)
    assert (video.frames_per_snippet, video.num_frames) == (5, 23)
    (again,) = extract_to_files([clip], out, model=Greys())
    assert again.reused
    with pytest.raises(ValueError, match=r"other settings \(weights 'w1' then, 'w2' now\)"):
        extract_to_files([clip], out, model=Greys("w2"))


def test_features_of_another_extractor_are_not_mixed_in(
    clip: Path, tmp_path: Path, pixel_model: I3D
) -> None:
    extract_to_files([clip], tmp_path / "out", model=Greys())
    with pytest.raises(ValueError, match=r"network 'greys' then, 'i3d' now.*frames_per_snippet 5"):
        extract_to_files([clip], tmp_path / "out", model=pixel_model)


def test_it_is_loaded_only_when_a_video_needs_it(clip: Path, tmp_path: Path) -> None:
    first, second = Greys(), Greys()
    extract_to_files([clip], tmp_path / "out", model=first)
    extract_to_files([clip], tmp_path / "out", model=second)
    assert (first.loads, second.loads) == (1, 0)


@pytest.mark.parametrize(
    "rows", [np.zeros((4, 2), np.float32), np.zeros((4, 3)), np.zeros((3, 3), np.float32), None]
)
def test_rows_that_are_not_what_was_promised_are_refused(
    grey_frames: MakeFrames, rows: Any
) -> None:
    class Wrong(Greys):
        def __call__(self, clips: np.ndarray) -> Any:
            return rows

    with pytest.raises(ExtractorError, match=r"'greys' must return float32 \(4, 3\)"):
        snippet_features(Wrong(), grey_frames(20), batch=4)


def test_i3d_is_remembered_as_ever_and_not_loaded_for_it() -> None:
    def never() -> I3D:
        raise AssertionError("loaded")

    extractor = I3DExtractor(never)
    assert is_extractor(extractor)
    assert extractor.settings == {
        "network": "i3d",
        "weights": MEMBER_SHA256,
        "precision": "float32",
    }


def test_whatever_lacks_something_is_no_extractor() -> None:
    assert not is_extractor(Greys)
    assert not is_extractor(lambda clips: clips)
    needed = ("name", "width", "frames_per_snippet", "preparation", "settings", "device", "load")
    parts = {name: getattr(Greys(), name) for name in needed}
    parts["__call__"] = lambda self, clips: clips
    assert is_extractor(type("Whole", (), parts)())
    for name in parts:
        part = {key: value for key, value in parts.items() if key != name}
        assert not is_extractor(type("Part", (), part)())


class TestEntryPoints:
    """An installed package brings an extractor."""

    @pytest.fixture
    def install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        monkeypatch.syspath_prepend(tmp_path)

        def install(package: str, name: str, make: Any) -> None:
            module = types.ModuleType(package)
            module.make = make  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, package, module)
            info = tmp_path / f"{package}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
            (info / "entry_points.txt").write_text(
                f"[ladnet_fast.extractors]\n{name} = {package}:make\n"
            )

        return install

    def test_it_is_found_by_its_name_and_gets_what_was_asked_for(
        self, install: Callable[..., None]
    ) -> None:
        def make(what: str | None, **options: str) -> Greys:
            return Greys(json.dumps([what, options], sort_keys=True))

        install("greys_package", "greys", make)
        assert {"greys", "i3d"} <= set(extractor_names())
        made = make_extractor("greys:a:b", device="cuda", engine="auto", precision="bf16")
        assert json.loads(str(made.settings["weights"])) == [
            "a:b", {"device": "cuda", "engine": "auto", "precision": "bf16"},
        ]  # fmt: skip

    def test_two_packages_of_one_name_are_refused(self, install: Callable[..., None]) -> None:
        for package in ("one_package", "two_package"):
            install(package, "twice", lambda *_, **__: Greys())
        with pytest.raises(ExtractorError, match=r"'twice' \(.*one_package:make.*uninstall"):
            make_extractor("twice")

    def test_what_is_none_is_named(self, install: Callable[..., None]) -> None:
        install("none_package", "nothing", lambda *_, **__: 3)
        with pytest.raises(
            ExtractorError, match="'nothing' makes 3, which is not an extractor: it lacks name"
        ):
            make_extractor("nothing")

    def test_ours_can_not_be_taken_over(self, install: Callable[..., None]) -> None:
        install("bad_package", "i3d", lambda *_, **__: Greys())
        assert isinstance(make_extractor("i3d"), I3DExtractor)
        assert metadata.entry_points(group="ladnet_fast.extractors", name="i3d")

    @pytest.mark.parametrize("spec", ["absent", "", ":x", None, 3])
    def test_an_unknown_name_lists_what_there_is(self, spec: Any) -> None:
        with pytest.raises(ExtractorError, match=r"NAME is one of .*i3d"):
            make_extractor(spec)
