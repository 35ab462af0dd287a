"""Bags of hockey: no clip on both sides, cuts in both classes, truth and frames exact."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.accuracy import datasets, hockey
from benchmarks.accuracy.cli import hockey as command

av = pytest.importorskip("av")
COUNT = {"train": 24, "valid": 12, "test": 12}
app = typer.Typer()
app.command()(command)


def write_clip(path, seed, size=hockey.SIZE, frames=3):
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames + seed % 2):
            pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def named(tmp_path):
    """A checkout whose clips have names and nothing in them."""
    for split, count in COUNT.items():
        for kind in ("fight", "no_fight"):
            folder = tmp_path / hockey.CLIPS / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{kind}{i}.avi").touch()
    return tmp_path


def test_no_clip_is_used_twice_within_a_label_nor_in_two_splits(named):
    bags = hockey.plan(named)
    for label in (0, 1):
        used = Counter(clip for bag in bags if bag.label == label for clip in bag.clips)
        assert set(used.values()) == {1}
    for bag in bags:
        assert {clip.parents[1].name for clip in bag.clips} == {bag.split}
        assert [clip.parent.name == "fight" for clip in bag.clips] == list(bag.fights)
    assert {(bag.split, bag.label) for bag in bags} == {(s, y) for s in COUNT for y in (0, 1)}


def test_bags_of_both_labels_have_cuts_and_fights_are_few(named):
    for bag in hockey.plan(named):
        assert len(bag.clips) > 1
        assert sum(bag.fights) in ((0,) if bag.label == 0 else hockey.FIGHTS)


def test_a_plan_repeats_itself_and_seeds_differ(named):
    assert hockey.plan(named, 1) == hockey.plan(named, 1) != hockey.plan(named, 2)


def test_duplicates_are_left_out_of_the_training_split_alone(named):
    for split in COUNT:
        for name in hockey.DUPLICATES:
            (named / hockey.CLIPS / split / "no_fight" / f"{name}.avi").touch()
    seen = {(b.split, c.stem) for b in hockey.plan(named) for c in b.clips}
    assert not {("train", name) for name in hockey.DUPLICATES} & seen


def test_a_smaller_limit_leaves_bags_out_and_changes_none(named, monkeypatch):
    whole = hockey.plan(named)
    monkeypatch.setattr(hockey, "BAGS", 2)
    some = hockey.plan(named)
    assert max(Counter((bag.split, bag.label) for bag in some).values()) == 2
    assert set(some) < set(whole)


def test_a_bag_has_the_clips_frames_bit_for_bit_and_a_label_for_each(tmp_path):
    clips = []
    for i in range(3):
        clips.append(tmp_path / f"c{i}.avi")
        write_clip(clips[-1], i)
    bag = hockey.Bag("test-fight000", "test", tuple(clips), (False, True, False))
    truth = hockey.write_bag(bag, tmp_path / "out")
    expected, labels = [], []
    for clip, fight in zip(bag.clips, bag.fights, strict=True):
        with av.open(str(clip)) as container:
            frames = [frame.to_ndarray() for frame in container.decode(video=0)]
        expected += frames
        labels += [int(fight)] * len(frames)
    with av.open(str(tmp_path / "out/bags/test-fight000.mkv")) as container:
        found = [frame.to_ndarray() for frame in container.decode(video=0)]
    np.testing.assert_array_equal(found, expected)
    assert truth.tolist() == labels == np.load(tmp_path / "out/gt/test-fight000.npy").tolist()


def test_the_manifests_are_read_by_the_benchmark(named, tmp_path):
    bags = hockey.plan(named)
    out = tmp_path / "out"
    frames = [40] * len(bags)
    for folder in ("features", "gt"):
        (out / folder).mkdir(parents=True)
    for bag in bags:
        np.save(out / "features" / f"{bag.name}.npy", np.zeros((2, 4), np.float32))
        np.save(out / "gt" / f"{bag.name}.npy", np.arange(40) < 20 * bag.label)
    for tested in ("valid", "test"):
        (out / "videos.csv").write_text(hockey.manifest(bags, frames, tested))
        part = datasets.load(str(out / "videos.csv")).parts[0]
        assert {video.name.split("-")[0] for video in part.test} == {tested}
        assert {video.name.split("-")[0] for video in part.train} == {"train"}


def test_the_command_writes_bags_and_says_what_comes_next(named, tmp_path):
    for path in sorted(named.glob("data/*/*/*/*.avi")):
        path.unlink()
    for split in COUNT:
        for kind in ("fight", "no_fight"):
            for i in range(6):
                write_clip(named / hockey.CLIPS / split / kind / f"{kind}{i}.avi", i, frames=2)
    out = tmp_path / "made"
    result = CliRunner().invoke(app, [str(named), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert f"ladnet-fast extract {out}/bags --out {out}/features" in result.output
    names = {path.stem for path in (out / "bags").glob("*.mkv")}
    assert names == {path.stem for path in (out / "gt").glob("*.npy")}
    for manifest in ("videos.csv", "validation.csv"):
        assert (out / manifest).read_text().startswith("video,features,label,num_frames")


@pytest.mark.parametrize("kind", ["an empty folder", "clips of another size"])
def test_what_is_no_checkout_is_refused_by_name(named, tmp_path, kind):
    checkout = tmp_path / "other"
    if kind == "clips of another size":
        checkout = named
        for path in sorted(named.glob("data/*/*/*/*.avi")):
            write_clip(path, 0, size=(64, 48), frames=1)
    result = CliRunner().invoke(app, [str(checkout), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    text = " ".join(result.output.replace("│", " ").split())
    assert ("git clone" if kind == "an empty folder" else "64x48") in text
