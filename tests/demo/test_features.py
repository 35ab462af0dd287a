from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.demo import DemoError
from ladnet_fast.demo.effects import FADE_SNIPPETS
from ladnet_fast.demo.features import Fades, Takes, clip_takes, pair_fades
from ladnet_fast.demo.footage import Clip, assign_roles, load_footage

SIDE, TAKES, DISTURBED = 36, 5, 3


@pytest.fixture
def clip(videos: list[Path]) -> Clip:
    return assign_roles(videos)[1]


@pytest.fixture
def compute(tmp_path: Path) -> Callable[..., Takes]:
    def call(clip: Clip, extractor, **changes) -> Takes:
        settings = {"side": SIDE, "num_takes": TAKES, "num_disturbed": DISTURBED, **changes}
        return clip_takes(clip, extractor=extractor, cache=tmp_path / "c", **settings)

    return call


@pytest.fixture(scope="session")
def first_computation(
    original_videos: list[Path], make_extractor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Takes, Path]:
    """Takes, and the cache that they left: computed once for all tests."""
    cache = tmp_path_factory.mktemp("takes") / "c"
    clip = assign_roles(original_videos)[1]
    settings = {"side": SIDE, "num_takes": TAKES, "num_disturbed": DISTURBED}
    return clip_takes(clip, extractor=make_extractor(), cache=cache, **settings), cache


@pytest.fixture
def computed(first_computation: tuple[Takes, Path], tmp_path: Path) -> Takes:
    """Takes, as if they had been computed in this test, with a cache that it may change."""
    takes, cache = first_computation
    shutil.copytree(cache, tmp_path / "c")
    return takes


def test_features_are_computed_once(clip: Clip, compute, make_extractor) -> None:
    first = compute(clip, make_extractor())
    extractor = make_extractor()
    second = compute(clip, extractor)
    assert (first.cached, second.cached, extractor.calls) == (False, True, 0)
    assert first.features.shape == (TAKES, 4, 6)
    assert first.disturbed.shape == (DISTURBED, 6)
    for name in ("features", "segments", "disturbed", "places", "storyboard", "num_frames"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.usefixtures("computed")
def test_a_renamed_video_is_found_in_the_cache(compute, make_extractor, videos: list[Path]) -> None:
    videos[1] = videos[1].rename(videos[1].with_name("felines.mkv"))
    assert compute(assign_roles(videos)[1], make_extractor()).cached


@pytest.mark.usefixtures("computed")
@pytest.mark.parametrize(
    "change",
    [
        {"side": 32},
        {"num_takes": TAKES + 1},
        {"num_disturbed": 0},
        {"identity": "another"},
        {"content": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_that_changes_the_numbers_misses_the_cache(
    clip: Clip, compute, make_extractor, videos: list[Path], write_video, change: dict
) -> None:
    change = dict(change)
    extractor = make_extractor(change.pop("identity", "colours"), fail_after=0)
    if change.pop("content", False):
        write_video("cats.mkv", (141, 30, 30), frames=70, height=72, width=96)
        clip = assign_roles(videos)[1]
    with pytest.raises(KeyboardInterrupt):  # it asks for features
        compute(clip, extractor, **change)


def _cut(content: bytes) -> bytes:
    return content[:100]


def _flip_first(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def _flip_header(content: bytes) -> bytes:
    place = content.index(b"ladnet_fast")
    return content[:place] + bytes([content[place] ^ 2]) + content[place + 1 :]


def _flip_last(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 128])


@pytest.mark.parametrize("damage", [_cut, _flip_first, _flip_header, _flip_last])
def test_a_damaged_entry_is_computed_again(
    clip: Clip,
    computed: Takes,
    compute,
    make_extractor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    (entry,) = (tmp_path / "c").iterdir()
    content = entry.read_bytes()
    entry.write_bytes(damage(content))
    again = compute(clip, make_extractor())
    assert not again.cached
    assert f"{entry}" in caplog.text
    assert "the features are computed again" in caplog.text
    np.testing.assert_array_equal(computed.features, again.features)
    assert compute(clip, make_extractor()).cached


def test_another_videos_entry_is_not_taken(
    videos: list[Path], compute, make_extractor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = assign_roles(videos)
    compute(clips[2], make_extractor())
    (first,) = (tmp_path / "c").iterdir()
    expected = compute(clips[1], make_extractor())
    (second,) = set((tmp_path / "c").iterdir()) - {first}
    second.write_bytes(first.read_bytes())
    again = compute(clips[1], make_extractor())
    assert not again.cached
    assert "holds the entry of another key" in caplog.text
    np.testing.assert_array_equal(expected.features, again.features)


def test_an_interrupted_extraction_leaves_nothing(
    clip: Clip, compute, make_extractor, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        compute(clip, make_extractor(fail_after=1))
    assert not list(tmp_path.glob("c/*"))


@pytest.mark.usefixtures("computed")
def test_a_cached_video_can_still_be_too_short_for_another_part(
    compute, make_extractor, videos: list[Path]
) -> None:
    clip = assign_roles([videos[1], videos[2], videos[3]])[0]
    with pytest.raises(DemoError, match=r"cats\.mkv has 70 frames, but as background"):
        compute(clip, make_extractor())


def test_progress_counts_snippets(clip: Clip, compute, make_extractor) -> None:
    seen: list[tuple[int, int]] = []
    compute(clip, make_extractor(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 23), (16, 23), (20, 23), (23, 23)]


def test_an_extractor_that_returns_too_few_rows_is_refused(clip: Clip, compute) -> None:
    class Short:
        identity = "short"

        def __call__(self, frames: np.ndarray) -> np.ndarray:
            return np.zeros((1, 6), np.float32)

    with pytest.raises(DemoError, match=r"must return 8 rows for 128 frames; got shape \(1, 6\)"):
        compute(clip, Short())


def test_a_disturbed_snippet_belongs_to_the_one_it_replaces(
    clip: Clip, compute, make_extractor
) -> None:
    takes = compute(clip, make_extractor(), num_disturbed=4)  # blur, dark, flash, freeze
    assert takes.places.shape == (4, 2)
    before = takes.features[takes.places[:, 0], takes.places[:, 1], :3].mean(axis=1)
    blur, dark, flash, freeze = takes.disturbed[:, :3].mean(axis=1)
    assert blur == pytest.approx(before[0], abs=0.02)
    assert dark == pytest.approx(0.2 * before[1], abs=0.01)
    assert flash == pytest.approx(1 - 0.3 * (1 - before[2]), abs=0.01)
    assert freeze == pytest.approx(before[3], abs=0.02)


# ---- cross-fades --------------------------------------------------------------------------------


def fade_between(
    videos: list[Path], extractor, before=(0, (2, 5)), after=(3, (0, 1)), **changes
) -> Fades:
    """Fade from one video's segments to another's; a video is named by its place."""
    clips = assign_roles(videos)
    return pair_fades(
        (clips[before[0]], before[1]),
        (clips[after[0]], after[1]),
        extractor=extractor,
        **{"side": SIDE, "count": 1, **changes},
    )


@pytest.fixture
def fade(videos: list[Path], tmp_path: Path) -> Callable[..., Fades]:
    return partial(fade_between, videos, cache=tmp_path / "c")


@pytest.fixture(scope="session")
def first_fade(
    original_videos: list[Path], make_extractor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the cache that a fade left: computed once for all tests."""
    cache = tmp_path_factory.mktemp("fades") / "c"
    fade_between(original_videos, make_extractor(), cache=cache)
    return cache


@pytest.fixture
def faded(first_fade: Path, tmp_path: Path) -> None:
    """Leave the cache as if a fade had been computed in this test."""
    shutil.copytree(first_fade, tmp_path / "c")


def test_a_fade_leads_from_one_videos_colour_to_the_others(fade, make_extractor) -> None:
    fades = fade(make_extractor(), count=2)
    assert fades.features.shape == (2, FADE_SNIPPETS, 6)
    blue = fades.features[..., 2] - fades.features[..., 1]  # the street is green, the sea is blue
    assert (np.diff(blue, axis=1) > 0).all()
    assert {tuple(pair) for pair in fades.segments.tolist()} <= {
        (one, other) for one in (2, 5) for other in (0, 1)
    }


def test_fades_are_computed_once_and_each_way_by_itself(fade, make_extractor) -> None:
    first = fade(make_extractor())
    extractor = make_extractor()
    again = fade(extractor)
    assert (first.cached, again.cached, extractor.calls) == (False, True, 0)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.segments, again.segments)
    with pytest.raises(KeyboardInterrupt):
        fade(make_extractor(fail_after=0), before=(3, (0, 1)), after=(0, (2, 5)))


@pytest.mark.parametrize(
    "change",
    [
        {"count": 2},
        {"side": 32},
        {"before": (0, (0, 1))},
        {"before": (1, (0, 1))},
        {"after": (3, (1, 0))},
    ],
    ids=str,
)
@pytest.mark.usefixtures("faded")
def test_other_fades_miss_the_cache(fade, make_extractor, change: dict) -> None:
    with pytest.raises(KeyboardInterrupt):  # it asks for features
        fade(make_extractor(fail_after=0), **change)


@pytest.mark.usefixtures("faded")
def test_a_cached_fade_reads_no_video(fade, make_extractor) -> None:
    read: list[str] = []

    def load(clip: Clip, side: int) -> np.ndarray:
        read.append(clip.name)
        return load_footage(clip, side)

    assert fade(make_extractor(), load=load).cached
    assert not read
    with pytest.raises(KeyboardInterrupt):
        fade(make_extractor("another", fail_after=0), load=load)
    assert read == ["street", "sea"]
