"""The pictures of the front page: a rule chooses the bags, and lines are what was measured."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from benchmarks.front_page import demo_bags, growth, pictures
from ladnet_fast.data import FeatureSource, Video, write_manifest

SNIPPETS = 40


def demo(folder, hits):
    """Write what a demo leaves: for each number, a bag with so many of its 8 anomalies on top."""
    scores = folder / "scores" / demo_bags.TRIAL
    scores.mkdir(parents=True)
    (folder / "bags").mkdir()
    (folder / "run.json").write_text(
        json.dumps({"time": "2022-07-18T10:00:00+00:00", "versions": {"torch": "2.13.0"}}),
        encoding="utf-8",
    )
    videos = []
    for number, hit in enumerate([*hits, None]):
        name = f"bag{number}"
        truth = np.zeros(SNIPPETS, np.uint8)
        curve = np.linspace(0.3, 0.5, SNIPPETS, dtype=np.float32)
        if hit is not None:
            truth[4:8] = truth[20:24] = 1
            curve[np.flatnonzero(truth)[:hit]] = 0.9
        np.save(folder / "bags" / f"{name}.npy", np.zeros((SNIPPETS, 2), np.float32))
        np.save(folder / "bags" / f"{name}.frames.npy", truth.repeat(16))
        np.save(scores / f"{name}.npy", curve)
        videos.append(
            Video(
                name=name,
                features=(FeatureSource(folder / "bags" / f"{name}.npy"),),
                label=int(hit is not None),
                num_frames=SNIPPETS * 16,
                frames_per_snippet=16,
                frame_labels=folder / "bags" / f"{name}.frames.npy",
                split="held-out",
            )
        )
    write_manifest(folder / "bags" / "videos.csv", videos)
    return folder


@pytest.mark.parametrize(
    ("hits", "quartiles"),
    [
        ((8, 0, 5, 3), (0, 3, 5)),
        ((1, 7, 3, 5, 8), (3, 5, 7)),
        ((8, 7, 6, 5, 4, 3, 2, 1, 0), (2, 4, 6)),
    ],
)
def test_the_bags_are_the_quartiles_by_auc_whatever_their_order(hits, quartiles, tmp_path):
    chosen = demo_bags.choose(demo(tmp_path, hits))
    assert chosen["of"] == len(hits)
    assert [bag["name"] for bag in chosen["bags"]] == [f"bag{hits.index(q)}" for q in quartiles]
    aucs = [bag["auc"] for bag in chosen["bags"]]
    assert aucs == sorted(aucs)
    for bag, hit in zip(chosen["bags"], quartiles, strict=True):
        assert bag["truth"] == [[4, 8], [20, 24]]
        assert bag["scores"].count(0.9) == hit
        assert len(bag["scores"]) == SNIPPETS
    assert (chosen["date"], chosen["versions"]) == ("2022-07-18", {"torch": "2.13.0"})


def test_what_was_chosen_is_read_as_it_was_written(tmp_path):
    chosen = demo_bags.choose(demo(tmp_path / "demo", (2, 4, 6, 8)))
    demo_bags.write(chosen, tmp_path / "bags.json")
    assert demo_bags.read(tmp_path / "bags.json") == chosen


def test_a_folder_that_is_no_demo_says_what_makes_one(tmp_path):
    with pytest.raises(ValueError, match="ladnet-fast demo"):
        demo_bags.choose(tmp_path)


def test_too_few_bags_have_no_quartiles(tmp_path):
    with pytest.raises(ValueError, match="3 anomalous held-out bags"):
        demo_bags.choose(demo(tmp_path, (3, 6, 1)))


def test_curves_and_lines_are_the_numbers(tmp_path):
    chosen = demo_bags.choose(demo(tmp_path, (2, 4, 6, 8)))
    colours = pictures.THEMES["dark"]
    for axes, bag in zip(pictures.scores_figure(chosen, colours).axes, chosen["bags"], strict=True):
        curves = [patch.get_data() for patch in axes.patches if hasattr(patch, "get_data")]
        assert [curve.values.tolist() for curve in curves] == [bag["scores"]]
        shades = [patch for patch in axes.patches if not hasattr(patch, "get_data")]
        assert [[s.get_x(), s.get_x() + s.get_width()] for s in shades] == bag["truth"]
    measured = growth.read()
    (axes,) = pictures.growth_figure(measured, colours).axes
    drawn = {
        line.get_label(): dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in axes.lines
    }
    assert drawn == {growth.SIDES[side]: line for side, line in measured["lines"].items()}
    assert set(measured["lines"]) == set(growth.SIDES)


def test_pictures_repeat_and_tell_their_source(tmp_path):
    chosen = demo_bags.choose(demo(tmp_path / "demo", (2, 4, 6, 8)))
    measured = growth.read()
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written = pictures.draw(chosen, measured, tmp_path / name)
        contents.append({path.name: path.read_text(encoding="utf-8") for path in written})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4
    for name, text in contents[0].items():
        ET.fromstring(text)
        content = chosen if name.startswith("scores") else measured
        assert pictures.source_of(content) in text
        assert str(tmp_path) not in text


def test_other_numbers_have_another_source():
    measured = growth.read()
    changed = {**measured, "lines": {**measured["lines"], "native": {200: 1.0}}}
    assert pictures.source_of(changed) != pictures.source_of(measured)


def test_what_is_written_can_be_told_from_its_paper():
    def luminance(colour):
        parts = [int(part, 16) / 255 for part in re.findall("[0-9a-f]{2}", colour)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for colours in pictures.THEMES.values():
        paper = luminance(colours["paper"])
        for name in ("text", *growth.SIDES):
            other = luminance(colours[name])
            contrast = (max(paper, other) + 0.05) / (min(paper, other) + 0.05)
            assert contrast >= (7 if name == "text" else 4.5), name  # WCAG 2.1
