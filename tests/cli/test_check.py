"""``check`` lists all that is off in a data set, and reads every file once."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from ladnet_fast.data import FeatureSource, Video
from ladnet_fast.data.check import check_videos, reading

Run = Callable[..., Result]
RNG = np.random.default_rng(0)


def features(snippets: int = 20, width: int = 8) -> np.ndarray:
    return RNG.normal(size=(snippets, width)).astype(np.float32)


def write(folder: Path, **arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=array.dtype == object)


def manifest_of(
    folder: Path, rows: Iterable[tuple[Any, ...]], header: str = "video,features,label"
) -> Path:
    path = folder / "list.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def good(folder: Path, count: int = 6) -> list[tuple[Any, ...]]:
    write(folder, **{f"v{i}": features() for i in range(count)})
    return [(f"v{i}", f"v{i}.npy", i % 2) for i in range(count)]


def findings(run: Run, *arguments: object, folder: Path) -> list[dict[str, Any]]:
    result = run("check", *arguments, "--json", folder / "found.json", "--overwrite")
    content = json.loads((folder / "found.json").read_text())
    errors = [f for f in content["findings"] if f["severity"] == "error"]
    assert result.exit_code == (1 if errors else 0), result.output
    assert content["errors"] == len(errors)
    assert content["warnings"] == len(content["findings"]) - len(errors)
    for finding in content["findings"]:
        assert " ".join(finding["text"].split()) in " ".join(result.output.split())
    return content["findings"]


def test_a_good_set_has_no_findings_and_is_counted(run: Run, tmp_path: Path) -> None:
    path = manifest_of(tmp_path, good(tmp_path))
    result = run("check", path)
    assert result.exit_code == 0, result.output
    assert "no problems found" in result.output
    assert not list(tmp_path.glob("*.json"))
    report = check_videos([Video("v0", (FeatureSource(tmp_path / "v0.npy"),), 0)])
    assert report.counts["snippets"] == 20
    assert report.counts["width"] == 8


def poison(value: float) -> Callable[[], np.ndarray]:
    def make() -> np.ndarray:
        array = features()
        array[[3, 7]] = value
        return array

    return make


BAD = {
    "missing": (None, "error", "does not exist"),
    "unreadable": (b"\x93NUMPY junk", "error", "not a complete .npy file"),
    "unreadable-2": (np.array([[1, 2], [3]], dtype=object), "error", "object array"),
    "unreadable-3": (np.array([["a", "b"]]), "error", "real numbers"),
    "unreadable-4": (np.ones(5), "error", "neither (T, D)"),
    "unreadable-5": (np.empty((0, 8)), "error", "neither (T, D)"),
    "unreadable-6": (b"", "error", "not a complete .npy file"),
    "axes": (np.ones((10, 5, 8)), "error", "--axes"),
    "not-finite": (poison(np.nan), "error", "2 of 20 rows"),
    "not-finite-2": (poison(-np.inf), "error", "the first is row 3"),
    "not-finite-3": (np.full((4, 8), 1e300), "error", "4 of 4 rows"),
    "zero-rows": (poison(0.0), "warning", "2 of 20 rows are zero"),
    "zero-rows-2": (np.zeros((9, 8)), "error", "all 9 rows are zero"),
    "constant-rows": (poison(4.0), "warning", "2 of 20 rows are one value"),
    "width": (features(width=9), "error", "9 wide"),
    "short": (features(3), "warning", "kernel of 7"),
    "scale": (features() * 100, "warning", "times the set's median"),
    "scale-2": (features() * 0.01, "warning", "of the set's median"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_found_with_its_video_and_severity(
    run: Run, tmp_path: Path, case: str
) -> None:
    content, severity, text = BAD[case]
    rows = [*good(tmp_path), ("bad", "bad.npy", 1)]
    if isinstance(content, bytes):
        (tmp_path / "bad.npy").write_bytes(content)
    elif content is not None:
        write(tmp_path, bad=content() if callable(content) else content)
    found = findings(run, manifest_of(tmp_path, rows), folder=tmp_path)
    (finding,) = [f for f in found if f["kind"] == case.split("-2")[0].rstrip("-3456")]
    assert (finding["severity"], finding["videos"]) == (severity, ["bad"])
    assert text in finding["text"]
    assert "bad" in finding["text"]


def test_a_truncated_file_is_found(run: Run, tmp_path: Path) -> None:
    rows = good(tmp_path)
    content = (tmp_path / "v3.npy").read_bytes()
    (tmp_path / "v3.npy").write_bytes(content[:-1])
    (finding,) = findings(run, manifest_of(tmp_path, rows), folder=tmp_path)
    assert (finding["kind"], finding["videos"]) == ("unreadable", ["v3"])


def test_all_findings_are_listed_errors_first_and_each_kind_together(
    run: Run, tmp_path: Path
) -> None:
    write(tmp_path, **{f"short{i}": features(2) for i in range(3)})
    rows = [(f"short{i}", f"short{i}.npy", i % 2) for i in range(3)]
    rows += [(f"gone{i}", f"gone{i}.npy", i % 2) for i in range(3)]
    found = findings(run, manifest_of(tmp_path, [*rows, *good(tmp_path)]), folder=tmp_path)
    assert [f["kind"] for f in found] == ["missing"] * 3 + ["short"] * 3
    assert [f["videos"][0] for f in found[:3]] == ["gone0", "gone1", "gone2"]


def test_many_findings_of_a_kind_are_counted_unless_all_are_asked_for(
    run: Run, tmp_path: Path
) -> None:
    path = manifest_of(tmp_path, [(f"gone{i}", f"gone{i}.npy", i % 2) for i in range(50)])
    short, whole = run("check", path), run("check", path, "--all")
    assert short.output.count("does not exist") == 20
    assert "and 30 more of the kind 'missing' (--all prints them)" in short.output
    assert whole.output.count("does not exist") == 50
    assert "50 errors, 0 warnings" in short.output


def test_crops_that_differ_are_found_in_files_and_in_number(run: Run, tmp_path: Path) -> None:
    write(tmp_path, a=features(), b=features(19), c=features(20, 7), d=features(), e=features())
    rows = [("lengths", "a.npy;b.npy", 1), ("widths", "d.npy;c.npy", 1), ("two", "d.npy;e.npy", 1)]
    rows += [("same", "e.npy;e.npy", 0)]
    found = findings(run, manifest_of(tmp_path, [*rows, *good(tmp_path)]), folder=tmp_path)
    texts = {(f["kind"], *f["videos"]): f["text"] for f in found}
    assert "19 and 20 snippets" in texts["crops", "lengths"]
    assert "7 and 8 wide" in texts["crops", "widths"]
    assert ("same-crops", "same") in texts
    assert ("crop-count", "lengths", "widths", "two", "same") in texts


def test_a_file_per_crop_or_all_crops_in_one_read_alike_in_any_block_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = [features(23) for _ in range(5)]
    crops[1][4] = np.nan
    crops[2][22] = 0
    write(tmp_path, **{f"c{i}": crop for i, crop in enumerate(crops)})
    write(tmp_path, snippets=np.stack(crops, 1), crops=np.stack(crops, 0))
    write(tmp_path, double=np.stack(crops, 0).astype(np.float64))
    several = Video("v", tuple(FeatureSource(tmp_path / f"c{i}.npy") for i in range(5)), 1)
    single = [
        Video("v", (FeatureSource(tmp_path / f"{n}.npy"),), 1)
        for n in ("snippets", "crops", "double")
    ]

    def facts(video: Video) -> list[tuple[Any, ...]]:
        return [
            (m.crop, m.snippets, m.width, m.not_finite, m.first_not_finite, m.zero, m.digest)
            for m in reading.read_video(video).crops
        ]

    want = facts(several)
    assert [fact[3:6] for fact in want] == [
        (0, -1, 0), (1, 4, 0), (0, -1, 1), (0, -1, 0), (0, -1, 0),
    ]  # fmt: skip
    for block in (1, 8 * 5 * 3, 1 << 22):
        monkeypatch.setattr(reading, "_BLOCK_VALUES", block)
        assert all(facts(video) == want for video in (several, *single))


def test_every_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a=features(), b=features(), q=features(20, 3))
    opened: list[Path] = []
    original = reading.open_array

    def counting(source: FeatureSource) -> Any:
        opened.append(source.path)
        return original(source)

    monkeypatch.setattr(reading, "open_array", counting)
    sources = [FeatureSource(tmp_path / f"{name}.npy") for name in "abq"]
    check_videos([Video("v", (sources[0], sources[1]), 1, query=sources[2])])
    assert sorted(opened) == [source.path for source in sources]


def test_queries_are_checked_beside_the_features(run: Run, tmp_path: Path) -> None:
    write(tmp_path, long=features(30, 3), nan=poison(np.nan)()[:, :3], fine=features(19, 3))
    rows = [(*row, "fine.npy") for row in good(tmp_path)]
    rows[0], rows[1], rows[2] = (*rows[0][:3], "long.npy"), (*rows[1][:3], "nan.npy"), rows[2]
    rows[3] = (*rows[3][:3], "")
    path = manifest_of(tmp_path, rows, "video,features,label,query")
    found = {(f["kind"], *f["videos"]): f["text"] for f in findings(run, path, folder=tmp_path)}
    assert "has 30 snippets, but the features 20" in found["query", "v0"]
    assert "2 of 20 rows" in found["not-finite", "v1"]
    assert "some have none: 'v3'" in found["query", "v3"]


def test_labels_that_are_unknown_or_of_one_class_are_errors_before_training(
    run: Run, tmp_path: Path
) -> None:
    rows = [(name, file, "" if name == "v2" else 0) for name, file, _ in good(tmp_path)]
    found = findings(run, manifest_of(tmp_path, rows), folder=tmp_path)
    assert [(f["severity"], f["kind"], f["videos"]) for f in found] == [
        ("error", "unknown-label", ["v2"]), ("error", "one-class", []),
    ]  # fmt: skip


def test_splits_and_folds_without_one_class_are_found(run: Run, tmp_path: Path) -> None:
    rows = [(*row, fold, split) for row, fold, split in zip(
        good(tmp_path), (0, 0, 1, 0, 1, 0), ("train", "train", "test", "train", "test", "train"),
        strict=True,
    )]  # fmt: skip
    path = manifest_of(tmp_path, rows, "video,features,label,fold,split")
    texts = [f["text"] for f in findings(run, path, folder=tmp_path)]
    assert any(text.startswith("split 'test' has normal videos only (2)") for text in texts)
    assert any(text.startswith("fold 1 has normal videos only (2)") for text in texts)
    assert any(text.startswith("the training videos of fold 0 has normal") for text in texts)


def test_one_video_under_two_names_is_found_by_content(run: Run, tmp_path: Path) -> None:
    rows = good(tmp_path)
    write(
        tmp_path,
        copy=np.load(tmp_path / "v0.npy").astype(np.float64),
        wrong=np.load(tmp_path / "v1.npy"),
    )
    rows += [("copy", "copy.npy", 0), ("wrong", "wrong.npy", 0), ("again", "v2.npy", 0)]
    found = findings(run, manifest_of(tmp_path, rows), folder=tmp_path)
    assert {(f["severity"], *f["videos"]) for f in found if f["kind"] == "duplicate"} == {
        ("warning", "v0", "copy"), ("error", "v1", "wrong"), ("warning", "v2", "again"),
    }  # fmt: skip


def test_test_videos_in_training_are_found_by_name_and_by_content(run: Run, tmp_path: Path) -> None:
    train = manifest_of(tmp_path, good(tmp_path))
    (tmp_path / "test").mkdir()
    rows = [("v0", "../v0.npy", 0), ("renamed", "../v1.npy", 1), ("new", "new.npy", 1)]
    write(tmp_path / "test", new=features())
    test = manifest_of(tmp_path / "test", rows)
    found = findings(run, train, "--test", test, folder=tmp_path)
    overlap = {tuple(f["videos"]) for f in found if f["kind"] == "overlap"}
    assert overlap == {("v0",), ("v1", "renamed")}
    assert all(f["severity"] == "error" for f in found)


def test_splits_of_one_manifest_that_share_content_overlap(run: Run, tmp_path: Path) -> None:
    rows = [(*row, "train") for row in good(tmp_path)]
    rows += [("other", "v1.npy", 1, "test"), ("fine", "fine.npy", 0, "test")]
    write(tmp_path, fine=features())
    path = manifest_of(tmp_path, rows, "video,features,label,split")
    (finding,) = findings(run, path, folder=tmp_path)
    assert (finding["kind"], finding["videos"]) == ("overlap", ["v1", "other"])


def test_ground_truth_is_compared_with_every_video(run: Run, tmp_path: Path) -> None:
    rows = [[*row, ""] for row in good(tmp_path)]
    write(tmp_path, short=np.ones(300, np.uint8), full=np.ones(320, np.uint8))
    rows[1][3], rows[3][3], rows[4][3], rows[5][3] = "short.npy", "gone.npy", "full.npy", "full.npy"
    path = manifest_of(tmp_path, map(tuple, rows), "video,features,label,frame_labels")
    found = {(f["kind"], *f["videos"]): f["text"] for f in findings(run, path, folder=tmp_path)}
    assert set(found) == {("truth", "v1"), ("truth", "v3"), ("truth-label", "v4")}
    assert "300 frames, but 320 are expected" in found["truth", "v1"]
    assert "likely cause" in found["truth", "v1"]
    assert "does not exist" in found["truth", "v3"]
    assert "normal, but 320 of its 320" in found["truth-label", "v4"]


def test_a_vector_that_does_not_fit_is_named_with_its_cause(run: Run, tmp_path: Path) -> None:
    path = manifest_of(tmp_path, good(tmp_path))
    write(tmp_path, gt=np.zeros(6 * 320 + 16, np.uint8))
    (finding,) = findings(run, path, "--gt", tmp_path / "gt.npy", folder=tmp_path)
    assert "1936 frames, but the 6 videos have 1920" in finding["text"]
    (tmp_path / "v2.npy").unlink()
    found = findings(run, path, "--gt", tmp_path / "gt.npy", folder=tmp_path)
    assert {(f["kind"], *f["videos"]) for f in found} == {("missing", "v2"), ("truth", "v2")}


def test_annotations_are_compared_with_every_video(run: Run, tmp_path: Path) -> None:
    path = manifest_of(tmp_path, good(tmp_path))
    lines = ["v1 5 60", "v2 3 9", "v5 100 900", "v0 -1 -1"]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    truth = ("--gt", tmp_path / "a.txt", "--boundaries", "[s,e]")
    found = {
        (f["kind"], *f["videos"]): f["text"] for f in findings(run, path, *truth, folder=tmp_path)
    }
    assert set(found) == {("truth", "v3"), ("truth", "v5"), ("truth-label", "v2")}
    assert "no line for the anomalous video 'v3'" in found["truth", "v3"]
    assert "interval 100 900" in found["truth", "v5"]
    (tmp_path / "a.txt").write_text("v1 5\n")
    (finding,) = findings(run, path, *truth, folder=tmp_path)
    assert "no partner" in finding["text"]


def test_the_models_widths_and_kernel_decide_where_one_is_given(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    path = manifest_of(folder, good(folder))
    (finding,) = findings(run, path, "--model", trained, folder=folder)
    assert "8 wide, the model takes 6" in finding["text"]
    assert len(finding["videos"]) == 6


def test_names_and_messages_are_text_whatever_they_hold(run: Run, tmp_path: Path) -> None:
    rows = [*good(tmp_path), ("a[b]", "[bold]gone[b].npy", 1)]
    (finding,) = findings(run, manifest_of(tmp_path, rows), folder=tmp_path)
    assert "a[b]: feature file" in finding["text"]
    assert "[bold]gone[b].npy" in finding["text"]


def test_lists_of_other_projects_are_checked_with_their_layout(run: Run, tmp_path: Path) -> None:
    write(tmp_path, Abuse028_x264=features(), Normal_Videos_003_x264=features(2))
    names = ["Abuse028_x264.npy", "Normal_Videos_003_x264.npy", "street12.npy", "Arson1.npy"]
    (tmp_path / "all.list").write_text("\n".join(names))
    found = findings(run, tmp_path / "all.list", "--layout", "ucf-i3d", folder=tmp_path)
    assert [(f["kind"], f["videos"]) for f in found] == [
        ("missing", ["street12"]), ("missing", ["Arson1"]),
        ("unknown-label", ["street12", "Arson1"]), ("short", ["Normal_Videos_003_x264"]),
    ]  # fmt: skip


def test_the_file_of_findings_replaces_nothing_of_others(run: Run, tmp_path: Path) -> None:
    path = manifest_of(tmp_path, good(tmp_path))
    before = (tmp_path / "v0.npy").read_bytes()
    for target in (tmp_path / "v0.npy", path):
        result = run("check", path, "--json", target, "--overwrite")
        assert result.exit_code == 1
        assert "is an input" in result.stderr
    (tmp_path / "notes.json").write_text("mine")
    assert run("check", path, "--json", tmp_path / "notes.json").exit_code == 1
    assert (tmp_path / "notes.json").read_text() == "mine"
    assert (tmp_path / "v0.npy").read_bytes() == before


def test_hdf5_and_text_features_are_read_too(run: Run, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a"] = features(20, 4)
        file["b"] = poison(np.nan)()[:, :4]
    np.savetxt(tmp_path / "c.txt", features(32, 4))
    (tmp_path / "d.txt").write_text("no numbers\n")
    rows = [("a", "all.h5", 0), ("b", "all.h5", 1), ("gone", "all.h5", 1), ("c", "c.txt", 1)]
    rows += [("d", "d.txt", 0)]
    found = findings(run, manifest_of(tmp_path, rows), folder=tmp_path)
    assert {(f["kind"], *f["videos"]) for f in found} == {
        ("not-finite", "b"), ("unreadable", "gone"), ("unreadable", "d"),
    }  # fmt: skip
