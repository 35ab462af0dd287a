"""Lists of other projects at the command line: labels, axes, lengths, and what is missing."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import Result

from ladnet_fast._wording import OPTIONS, give, name_of, options_named
from ladnet_fast.cli import _options as opt
from ladnet_fast.cli.app import app
from ladnet_fast.data import iter_crops

Run = Callable[..., Result]
NAMES = ("01_0015", "01_0016", "02_001", "03_0003")
LENGTHS = (3, 2, 4, 2)
PYTHON = re.compile(rf"\b(?:{'|'.join(OPTIONS)})=")


@dataclasses.dataclass
class TestSet:
    """ShanghaiTech's test list as it is published: paths alone, and one vector of truth."""

    __test__ = False

    folder: Path
    listing: Path
    gt: Path
    scores: Path
    truth: list[np.ndarray]

    def arguments(self, *more: object) -> list[object]:
        return ["evaluate", self.scores, self.listing, "--layout", "shanghaitech",
                "--gt", self.gt, *more]  # fmt: skip

    def figures(self) -> dict[str, object]:
        return json.loads((self.scores / "metrics.json").read_text(), parse_constant=_no_constant)


def _no_constant(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


@pytest.fixture
def shanghai(tmp_path: Path) -> TestSet:
    rng = np.random.default_rng(3)
    truth = [np.zeros(16 * n, np.uint8) for n in LENGTHS]
    truth[0][16:32] = truth[2][:40] = 1
    scores = tmp_path / "scores"
    scores.mkdir()
    for name, length in zip(NAMES, LENGTHS, strict=True):
        np.save(scores / f"{name}.npy", rng.random(length).astype(np.float32))
    listing = tmp_path / "t.list"
    listing.write_text("".join(f"/old/{n}_{c}.npy\n" for n in NAMES for c in range(2)))
    np.save(tmp_path / "gt.npy", np.concatenate(truth))
    return TestSet(tmp_path, listing, tmp_path / "gt.npy", scores, truth)


def _flat(result: Result) -> str:
    return " ".join(result.output.replace("│", " ").split())


def _assert_done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return _flat(result)


def _assert_refused(result: Result, *parts: str, status: int = 1) -> None:
    assert result.exit_code == status, result.output
    text = _flat(result)
    for part in parts:
        assert part in text
    assert not PYTHON.search(text), text
    assert "Traceback" not in text


def test_a_list_without_labels_takes_them_from_the_ground_truth(run: Run, shanghai: TestSet):
    text = _assert_done(run(*shanghai.arguments()))
    assert f"4 of 4 videos have no label in {shanghai.listing}" in text
    assert "by the ground truth, 2 of them are anomalous" in text
    unlabelled = shanghai.figures()
    names = shanghai.folder / "names.txt"
    names.write_text("01_0015 vehicle\n02_001 running\n05_099 running\n")
    text = _assert_done(run(*shanghai.arguments("--anomalous-names", names)))
    assert "have no label" not in text
    labelled = shanghai.figures()
    assert set(labelled.pop("per_class")) == {"vehicle", "running"}
    assert unlabelled.pop("per_class") == {}
    for figures, number in ((unlabelled, 4), (labelled, 0)):
        assert figures.pop("run")["options"]["labels_from_ground_truth"] == number
        figures.pop("undefined")
    assert unlabelled == labelled


def test_labels_that_contradict_the_truth_are_refused_or_accepted_on_request(
    run: Run, shanghai: TestSet
):
    names = shanghai.folder / "names.txt"
    names.write_text("01_0016\n")
    arguments = shanghai.arguments("--anomalous-names", names)
    _assert_refused(run(*arguments), "'01_0015' is labelled normal", "--no-check-labels accepts")
    _assert_done(run(*arguments, "--no-check-labels"))


@pytest.mark.parametrize("gone", [("01_0016",), ("01_0015", "03_0003"), NAMES[:3]])
def test_missing_videos_leave_list_and_ground_truth_together(
    run: Run, shanghai: TestSet, gone: tuple[str, ...]
):
    frames = shanghai.folder / "frames.txt"
    pairs = zip(NAMES, LENGTHS, strict=True)
    frames.write_text("".join(f"x/{n}.avi {16 * t}\n" for n, t in pairs))
    for name in gone:
        (shanghai.scores / f"{name}.npy").unlink()
    arguments = shanghai.arguments("--num-frames", frames)
    _assert_refused(run(*arguments), f"{len(gone)} of 4 videos have no scores")
    text = _assert_done(run(*arguments, "--skip-missing"))
    for name in gone:
        assert f"left out: {name}, {shanghai.scores / name}.npy is missing" in text
    assert f"{len(gone)} of 4 videos are left out" in text
    skipped = shanghai.figures()
    assert skipped.pop("run")["options"]["left_out"] == list(gone)

    kept = [i for i, name in enumerate(NAMES) if name not in gone]
    shanghai.listing.write_text("".join(f"{NAMES[i]}_0.npy\n" for i in kept))
    np.save(shanghai.gt, np.concatenate([shanghai.truth[i] for i in kept]))
    _assert_done(run(*arguments))
    expected = shanghai.figures()
    expected.pop("run")
    assert skipped == expected


def test_a_missing_video_whose_length_is_not_known_is_not_cut_out_by_guess(
    run: Run, shanghai: TestSet
):
    (shanghai.scores / "02_001.npy").unlink()
    result = run(*shanghai.arguments("--skip-missing"))
    _assert_refused(result, "02_001: its files are missing", "--num-frames FILE")
    assert not (shanghai.scores / "metrics.json").exists()


def test_a_list_of_which_nothing_is_there_is_refused(run: Run, shanghai: TestSet):
    result = run("evaluate", shanghai.folder / "nowhere", *shanghai.arguments("--skip-missing")[2:])
    _assert_refused(result, "all 4 videos have missing files", "nothing would be left")


def test_missing_features_are_left_out_when_a_list_is_read(tmp_path: Path, capsys):
    for name in ("Abuse001", "Abuse003"):
        for crop in range(2):
            np.save(tmp_path / f"{name}__{crop}.npy", np.zeros((2, 4), np.float32))
    (tmp_path / "Abuse003__1.npy").unlink()
    listing = tmp_path / "x.list"
    listing.write_text(
        "".join(f"Abuse00{i}__{crop}.npy\n" for i in range(1, 4) for crop in range(2))
    )
    lists = opt.ListOptions("ucf-clip", skip_missing=True)
    videos, left_out = lists.read_present(listing)
    assert [video.name for video in videos] == ["Abuse001"]
    assert [(entry.place, entry.video.name, len(entry.missing)) for entry in left_out] == [
        (1, "Abuse002", 2), (2, "Abuse003", 1),
    ]  # fmt: skip
    shown = capsys.readouterr().out
    assert "left out: Abuse002" in shown
    assert "2 of 3 videos are left out" in shown
    assert lists.read(listing) == videos
    with pytest.raises(FileNotFoundError, match=r"3 of 6 files.*|--root FOLDER"):
        opt.ListOptions("ucf-clip").read(listing)


def test_missing_data_sets_of_an_hdf5_file_are_left_out(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["Abuse001"] = np.zeros((2, 4))
    (tmp_path / "x.list").write_text("Abuse001\nAbuse002\n")
    lists = opt.ListOptions("hdf5", tmp_path / "all.h5", skip_missing=True)
    videos, left_out = lists.read_present(tmp_path / "x.list")
    assert [video.name for video in videos] == ["Abuse001"]
    assert [entry.video.name for entry in left_out] == ["Abuse002"]


@pytest.mark.parametrize("form", ["frames", "annotations"])
@pytest.mark.parametrize("truth", ["vector", "annotations"])
def test_lists_of_32_row_features_are_evaluated(run: Run, tmp_path: Path, form: str, truth: str):
    frames = {"Abuse028_x264": 1412, "Normal_Videos_003_x264": 2820}
    (tmp_path / "s").mkdir()
    labels = [np.zeros(n, np.uint8) for n in frames.values()]
    labels[0][165:240] = 1
    for name, vector in zip(frames, labels, strict=True):
        edges = np.linspace(0, len(vector), 33).astype(int)[:-1]
        np.save(tmp_path / "s" / f"{name}.npy", vector[edges].astype(np.float32))
    (tmp_path / "x.list").write_text("".join(f"{name}.txt\n" for name in frames))
    annotations = tmp_path / "annotations.txt"
    annotations.write_text(
        "Abuse/Abuse028_x264.mp4 1412 Abuse 165 240 -1 -1\n"
        "Normal/Normal_Videos_003_x264.mp4 2820 Normal -1 -1 -1 -1\n"
    )
    numbers = annotations
    if form == "frames":
        numbers = tmp_path / "frames.txt"
        numbers.write_text("".join(f"{name}.mp4 {n}\n" for name, n in frames.items()))
    np.save(tmp_path / "gt.npy", np.concatenate(labels))
    gt = ["--gt", tmp_path / "gt.npy"]
    if truth == "annotations":
        gt = ["--gt", annotations, "--boundaries", "[s,e)"]
    arguments = ["evaluate", tmp_path / "s", tmp_path / "x.list", "--layout", "c3d-text", *gt]
    _assert_refused(run(*arguments), "give --num-frames FILE with a list")
    _assert_done(run(*arguments, "--num-frames", numbers))
    metrics = json.loads((tmp_path / "s" / "metrics.json").read_text())
    assert metrics["num_frames"] == sum(frames.values())
    assert metrics["num_anomalous_frames"] == 75
    assert metrics["auc"] > 0.8
    numbers.write_text("elsewhere.mp4 5\n")
    if truth == "vector":
        result = run(*arguments, "--num-frames", numbers)
        _assert_refused(result, "--num-frames knows 1 videos, such as 'elsewhere'")


def test_axes_are_stated_for_a_list_and_for_a_manifest_that_does_not_say(tmp_path: Path):
    array = np.random.default_rng(0).normal(size=(5, 10, 4)).astype(np.float32)
    np.save(tmp_path / "a_i3d.npy", array)
    (tmp_path / "x.list").write_text("a_i3d.npy\n")
    csv = tmp_path / "v.csv"
    csv.write_text('video,features,label,axes\na,a_i3d.npy,1,\nb,a_i3d.npy,1,"snippets,crops"\n')
    lists = opt.ListOptions("ten-crop", axes="crops,snippets")
    (video,) = lists.read(tmp_path / "x.list", labels="optional")
    np.testing.assert_array_equal(next(iter_crops(video)).features, array[0])
    a, b = opt.ListOptions(axes="crops,snippets").read(csv)
    np.testing.assert_array_equal(next(iter_crops(a)).features, array[0])
    np.testing.assert_array_equal(next(iter_crops(b)).features, array[:, 0])
    with options_named(), pytest.raises(ValueError, match="--axes snippets,crops or --axes crops"):
        next(iter_crops(dataclasses.replace(a, axes=None)))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--axes crops", ["--axes must be snippets,crops or crops,snippets"]),
        ("--threshold nan", ["--threshold must be a finite number; got nan"]),
        ("--threshold inf", ["--threshold must be a finite number; got inf"]),
        ("--threshold -inf", ["--threshold must be a finite number"]),
    ],
)
def test_bad_options_are_usage_errors(run: Run, shanghai: TestSet, arguments: str, parts: list):
    _assert_refused(run(*shanghai.arguments(*arguments.split())), *parts, status=2)
    assert not (shanghai.scores / "metrics.json").exists()


@pytest.mark.parametrize("option", ["--num-frames", "--normal-folder", "--anomalous-folder"])
def test_options_of_lists_are_refused_with_a_manifest(run: Run, manifest: Path, option: str):
    result = run("evaluate", "s", manifest, option, "x")
    _assert_refused(result, f"{option} are for lists", status=2)


def test_folders_tell_labels_at_the_command_line(run: Run, shanghai: TestSet):
    text = shanghai.listing.read_text()
    for name in NAMES:
        folder = "bad" if name in ("01_0015", "02_001") else "good"
        text = text.replace(f"/old/{name}", f"/old/{folder}/{name}")
    shanghai.listing.write_text(text)
    folders = ("--normal-folder", "good", "--anomalous-folder", "bad")
    text = _assert_done(run(*shanghai.arguments(*folders)))
    assert "have no label" not in text
    assert shanghai.figures()["num_anomalous_videos"] == 2
    wrong = run(*shanghai.arguments("--normal-folder", "god"))
    _assert_refused(wrong, "no path has the folder 'god' of --normal-folder god")
    both = run(*shanghai.arguments(*folders, "--anomalous-names", shanghai.listing))
    _assert_refused(
        both, "--anomalous-names and --normal-folder or --anomalous-folder can't be combined"
    )


def _vector(shanghai: TestSet, frames: int) -> None:
    np.save(shanghai.gt, np.resize(np.concatenate(shanghai.truth), frames))


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("train {list} --layout shanghaitech",
         ["'01_0015', a ShanghaiTech name", "give --anomalous-names FILE", "--normal-folder NAME"]),
        ("train {list} --layout shanghaitech --anomalous-names {names}",
         ["give --root FOLDER", "--remap OLD=NEW"]),
        ("evaluate {scores} {list} --layout shanghaitech --remap /x=/y --gt {gt}",
         ["no line starts with the prefix '/x' of --remap"]),
        ("evaluate {scores} {list} --layout hdf5 --gt {gt}", ["needs --root FOLDER"]),
        ("evaluate {scores} {list} --layout shanghaitech --gt {annotations}",
         ["--boundaries must be one of [s,e)"]),
        ("evaluate {scores} {list} --layout shanghaitech --gt {gt} --boundaries [s,e)",
         ["--boundaries '[s,e)' is for annotation files"]),
        ("evaluate {scores} {list} --layout shanghaitech --gt {gt} --length-rule flow",
         ["--length-rule 'flow' needs", "give --num-frames FILE"]),
        ("evaluate {scores} {list} --layout shanghaitech",
         ["neither its label nor its ground truth is known", "give --gt FILE"]),
        ("evaluate {scores} {list} --layout shanghaitech --anomalous-names {list} --gt {gt}",
         ["none of the 8 --anomalous-names"]),
        ("evaluate {scores} {list} --layout shanghaitech --gt {folder}", ["is not a file"]),
    ],
)  # fmt: skip
def test_errors_of_commands_name_options(
    run: Run, shanghai: TestSet, command: str, parts: list[str]
):
    (shanghai.folder / "names.txt").write_text("01_0015\n")
    (shanghai.folder / "annotations.txt").write_text("01_0015.avi 1 5\n")
    words = command.format(
        list=shanghai.listing, scores=shanghai.scores, gt=shanghai.gt, folder=shanghai.folder,
        names=shanghai.folder / "names.txt", annotations=shanghai.folder / "annotations.txt",
    ).split()  # fmt: skip
    _assert_refused(run(*words), *parts)


@pytest.mark.parametrize(
    ("lengths", "part"),
    [
        ([16 * n for n in LENGTHS], "the scores have a value for each frame"),
        ([2 * n for n in LENGTHS], "it has 8 frames per snippet"),
    ],
)
def test_scores_of_another_length_name_their_cause(
    run: Run, shanghai: TestSet, lengths: list[int], part: str
):
    for name, length in zip(NAMES, lengths, strict=True):
        np.save(shanghai.scores / f"{name}.npy", np.zeros(length, np.float32))
    _assert_refused(run(*shanghai.arguments()), part)
    if "scores" in part:
        _assert_refused(run(*shanghai.arguments()), "--frames-per-snippet 1 with a list")
        _assert_done(run(*shanghai.arguments("--frames-per-snippet", "1")))


@pytest.mark.parametrize("source", ["column", "option"])
def test_scores_for_each_frame_are_told_from_known_lengths(
    run: Run, manifest: Path, tmp_path: Path, source: str
):
    scores = tmp_path / "s"
    scores.mkdir()
    for i in range(8):
        np.save(scores / f"v{i}.npy", np.zeros(40, np.float32))
    gt: list[object] = []
    if source == "option":
        np.save(tmp_path / "gt.npy", np.concatenate([np.load(tmp_path / f"gt{i}.npy")
                                                     for i in range(8)]))  # fmt: skip
        gt = ["--gt", tmp_path / "gt.npy"]
    result = run("evaluate", scores, manifest, *gt)
    _assert_refused(result, "v0: 40 scores, but 10 snippets in", "scores have a value for each fr")
    for i in range(8):
        (tmp_path / f"v{i}.npy").unlink()
    result = run("evaluate", scores, manifest, *gt)
    _assert_refused(result, "v0: 40 scores of 4 frames each", "scores have a value for each frame")


def test_annotations_tell_scores_for_each_frame_where_they_state_the_length(
    run: Run, shanghai: TestSet
):
    annotations = shanghai.folder / "a.txt"
    pairs = list(zip(NAMES, LENGTHS, strict=True))
    annotations.write_text("".join(f"{n}.avi {16 * t} Any 3 9\n" for n, t in pairs))
    arguments = shanghai.arguments("--gt", annotations, "--boundaries", "[s,e)")
    _assert_done(run(*arguments))
    for name, length in pairs:
        np.save(shanghai.scores / f"{name}.npy", np.zeros(16 * length - 5, np.float32))
    _assert_refused(run(*arguments), "the line states 48 frames, and there are 43 scores",
                    "scores have a value for each frame")  # fmt: skip


def test_text_of_0_and_1_needs_no_boundaries_and_other_formats_no_question(
    run: Run, shanghai: TestSet
):
    text = shanghai.folder / "gt.txt"
    text.write_text("\n".join(map(str, np.concatenate(shanghai.truth))))
    _assert_done(run(*shanghai.arguments()))
    expected = shanghai.figures()["auc"]
    _assert_done(run(*shanghai.arguments("--gt", text)))
    assert shanghai.figures()["auc"] == expected
    matlab = shanghai.folder / "gt.mat"
    matlab.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    for more in ((), ("--boundaries", "[s,e)")):
        result = run(*shanghai.arguments("--gt", matlab, *more))
        _assert_refused(result, "is a MATLAB 5 file", "python -c")
        assert "boundaries must be" not in _flat(result)


def test_figures_are_valid_json_where_they_are_undefined(run: Run, shanghai: TestSet):
    _vector(shanghai, sum(LENGTHS) * 16)
    np.save(shanghai.gt, np.zeros(sum(LENGTHS) * 16))
    _assert_done(run(*shanghai.arguments("--threshold", "1e308")))
    figures = shanghai.figures()
    assert figures["auc"] is None
    assert math.isfinite(figures["threshold"])


def test_figures_are_never_written_over_inputs_or_other_files(run: Run, shanghai: TestSet):
    for path in (shanghai.gt, shanghai.listing, shanghai.scores / "02_001.npy"):
        before = path.read_bytes()
        _assert_refused(run(*shanghai.arguments("--out", path)), "is an input")
        result = run(*shanghai.arguments("--out", path, "--overwrite"))
        _assert_refused(result, "is an input")
        assert path.read_bytes() == before
    mine = shanghai.folder / "mine.json"
    mine.write_text("{}")
    _assert_refused(run(*shanghai.arguments("--out", mine)), "--overwrite")
    assert mine.read_text() == "{}"
    _assert_done(run(*shanghai.arguments("--out", mine, "--overwrite")))
    _assert_done(run(*shanghai.arguments("--out", mine)))


def test_every_argument_that_messages_name_is_an_option_of_the_command():
    command = typer.main.get_command(app).commands["evaluate"]  # type: ignore[attr-defined]
    flags = {flag for option in command.params for flag in option.opts + option.secondary_opts}
    for argument, option in OPTIONS.items():
        assert option.flag in flags, argument
        assert give(argument) == f"{argument}="
        assert name_of(argument) == argument
        with options_named():
            assert give(argument) == f"{option.flag} {option.value}"
            assert name_of(argument) == option.flag
    assert give("root", "a b") == "root='a b'"
    with options_named():
        assert give("root", "a b") == "--root 'a b'"
        assert give("check_labels", False) == "--no-check-labels"
        assert "--no-check-labels" in flags
