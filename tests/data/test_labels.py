"""Only names and cells that are certain give a label; the user tells the others."""

from pathlib import Path

import pytest

from ladnet_fast.data import BagDataset, DataError, FeatureSource, Video, read_list
from ladnet_fast.data.labels import UCF_CRIME_CLASSES
from ladnet_fast.data.layouts import UnknownLabelError, label_from_cell, xd_violence_label

CERTAIN = [
    *[("ucf-clip", f"{name}028_x264", (1, (name,))) for name in UCF_CRIME_CLASSES],
    ("ucf-clip", "Abuse028", (1, ("Abuse",))),
    ("ucf-i3d", "Normal_Videos_003_x264", (0, ())),
    ("ucf-i3d", "Normal_Videos003_x264", (0, ())),
    ("ucf-i3d", "Testing_Normal_Videos_Anomaly/clip7", (0, ())),
    ("ucf-i3d", "Training-Normal-Videos-Part-1/clip7", (0, ())),
    ("ucf-i3d", "Training-Normal-Videos/clip7", (0, ())),
    ("ucf-i3d", "Normal_Videos_event/clip7", (0, ())),
    ("ten-crop", "x__#1_label_B1-B2-G", (1, ("B1", "B2", "G"))),
    ("xd-violence", "x_label_B4-0-0", (1, ("B4",))),
    ("xd-violence", "x_label_A", (0, ())),
]
UNKNOWN = [
    ("ucf-clip", name)
    for name in (
        "street12", "normal001", "Normal/cam01", "AbNormal01", "RoadAccident12", "abuse001",
        "Abuse01", "Abuse0281", "Abuse028x264", "xAbuse028", "Abuse_028", "NormalVideos1",
        "not_Normal_Videos_1", "my-Normal-stuff/x", "Normal/Abnormal/x", "Training-Normal/x",
        "Training-Normal-Videos/Abuse028_x264", "28",
    )
] + [
    ("xd-violence", name)
    for name in ("x_label_B3", "x_label_C", "x_label_A-B1", "x_label_0-0-0", "x_label_D1-0-0",
                 "x_label_", "x_label_B1-", "x_label_A_more", "x", "label_A", "x_label_a")
] + [("shanghaitech", "01_0015"), ("ten-crop", "no7_xvid"), ("c3d-text", "Normal01")]  # fmt: skip
CELLS = {
    (0, ()): ["0", "0.0", "0.", "False", "false", "Normal", "normal", "A", "Normal_Videos",
              "Training_Normal_Videos_Anomaly"],
    (1, ()): ["1", "1.0", "1.000", "True", "TRUE"],
    (1, ("G",)): ["G"],
    (1, ("B1",)): ["B1-0-0"],
    (1, ("B4", "B5", "G")): ["B4-B5-G"],
    (1, ("Shooting",)): ["Shooting"],
    (1, ("RoadAccidents",)): ["RoadAccidents"],
}  # fmt: skip
NO_CELLS = ["-1", "2", "0.5", "1e0", "nan", "None", "NonViolence", "Violence", "Anomaly", "B3", "C",
            "A-B1", "0-0-0", "B1-", "Abuse028", "abnormal", "yes"]  # fmt: skip


def _list(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "x.list"
    path.write_text("\n".join(lines) + "\n")
    return path


def _read(tmp_path: Path, layout: str, *lines: str, **options: object) -> list[Video]:
    return read_list(_list(tmp_path, *lines), layout, check_files=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", ["required", "optional"])
@pytest.mark.parametrize(("layout", "name", "label"), CERTAIN)
def test_a_certain_name_tells_the_label(tmp_path, layout, name, label, labels):
    (video,) = _read(tmp_path, layout, f"{name}.npy", labels=labels)
    assert (video.label, video.classes) == label


@pytest.mark.parametrize(("layout", "name"), UNKNOWN)
def test_any_other_name_is_unknown_for_scoring_and_refused_for_training(tmp_path, layout, name):
    (video,) = _read(tmp_path, layout, f"{name}.npy", labels="optional")
    assert (video.label, video.classes) == (None, ())
    with pytest.raises(DataError) as error:
        _read(tmp_path, layout, f"{name}.npy")
    for part in ("x.list, line 1: ", "anomalous_names=", "normal_folders=", "anomalous_folders=",
                 "manifest with the column label"):  # fmt: skip
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("cell", "label"), [(cell, label) for label, cells in CELLS.items() for cell in cells]
)
def test_a_certain_cell_tells_the_label(tmp_path, cell, label):
    assert label_from_cell(cell) == label
    (video,) = _read(tmp_path, "vadclip", "path,label", f"street__0.npy,{cell}")
    assert (video.label, video.classes) == label
    (video,) = _read(tmp_path, "shanghaitech", f"01_0015_0.npy {cell}")
    assert (video.label, video.classes) == label


@pytest.mark.parametrize("cell", NO_CELLS)
@pytest.mark.parametrize(
    ("layout", "lines"),
    [("vadclip", ("path,label", "street__0.npy,{}")), ("shanghaitech", ("", "01_0015_0.npy {}"))],
)
def test_any_other_cell_is_no_class(tmp_path, layout, lines, cell):
    lines = [line.format(cell) for line in lines]
    with pytest.raises(
        DataError, match=rf"line 2: label must be one of 0, 1, True.*; got '{cell}'"
    ):
        _read(tmp_path, layout, *lines)
    (video,) = _read(tmp_path, layout, *lines, labels="optional")
    assert (video.label, video.classes) == (None, ())


@pytest.mark.parametrize("name", ["x_label_", "x_label_B1-", "x_label_A_more", "label_A", "x"])
def test_name_that_is_no_xd_violence_name_has_no_label(name):
    with pytest.raises(UnknownLabelError, match="XD-Violence"):
        xd_violence_label(name)


def test_training_on_an_unknown_label_names_the_remedies(make_video):
    with pytest.raises(DataError, match=r"(?s)v: its label is not known.*column label.*anomalous_"):
        BagDataset([make_video(label=None)])


FOLDERS = ("cam/good/a.npy", "cam/bad/b.npy", "bad/Abuse001.npy", "good/Abuse002.npy")


def test_folders_tell_labels_where_the_user_says_so(tmp_path):
    videos = _read(
        tmp_path, "ucf-i3d", *FOLDERS, normal_folders=["good"], anomalous_folders=["bad"]
    )
    assert [(v.name, v.label, v.classes) for v in videos] == [
        ("a", 0, ()), ("b", 1, ()), ("Abuse001", 1, ("Abuse",)), ("Abuse002", 0, ()),
    ]  # fmt: skip


def test_one_kind_of_folder_leaves_the_others_to_their_names(tmp_path):
    options = {"anomalous_folders": ["bad"], "labels": "optional"}
    videos = _read(tmp_path, "ucf-i3d", *FOLDERS, **options)
    assert [v.label for v in videos] == [None, 1, 1, 1]
    with pytest.raises(DataError, match="line 1: 'a' is not a UCF-Crime name"):
        _read(tmp_path, "ucf-i3d", *FOLDERS, anomalous_folders=["bad"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normal_folders": ["god"]}, "no path has the folder 'god' of .*bad, cam, good"),
        ({"normal_folders": ["a/b"]}, "normal_folders must be the name of one folder"),
        ({"anomalous_folders": [""]}, "anomalous_folders must be the name of one folder"),
        ({"normal_folders": ["bad"], "anomalous_folders": ["bad"]}, "both name 'bad'"),
        ({"normal_folders": ["bad"], "anomalous_folders": ["cam"]}, "'b' lies in folders of both"),
        ({"normal_folders": ["bad"], "anomalous_names": ["a"]}, "can't be combined"),
        ({"labels": "some"}, "labels must be one of required, optional; got 'some'"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        _read(tmp_path, "ucf-i3d", *FOLDERS, **options)


def _named(tmp_path: Path, text: str, *lines: str) -> list[tuple[str, int | None, tuple[str, ...]]]:
    names = tmp_path / "names.txt"
    names.write_text(text)
    videos = _read(tmp_path, "ucf-i3d", *lines, anomalous_names=names)
    return [(video.name, video.label, video.classes) for video in videos]


def test_a_names_file_may_give_classes_and_names_with_blanks(tmp_path):
    text = "01_0015 vehicle\nmy cam 1\r\nmy cam 2 running \nof another list x\nq\tB1-B2-0\nz Normal"
    lines = ("01_0015.npy", "my cam 1.npy", "my cam 2.npy", "q.npy", "z.npy", "Abuse001.npy")
    assert _named(tmp_path, text, *lines) == [
        ("01_0015", 1, ("vehicle",)),
        ("my cam 1", 1, ()),
        ("my cam 2", 1, ("running",)),
        ("q", 1, ("B1", "B2")),
        ("z", 0, ()),
        ("Abuse001", 0, ()),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\n", "line 1: 'a b' may be the video of that name, or 'a' with the class 'b'"),
        ("a x\na y\n", "line 2: another label for 'a' than before"),
        ("a -1\n", "line 1: the class must begin .*; got '-1'"),
        ("c\nd x\n", "none of the 2 anomalous_names, such as 'c', is in the list"),
    ],
)
def test_a_names_file_that_is_not_certain_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        _named(tmp_path, text, "a.npy", "a b.npy")


def test_a_label_of_one_video_is_told_by_all_its_crops(tmp_path):
    with pytest.raises(DataError, match="crops of '01_0015' have different labels: 0, 1"):
        _read(tmp_path, "shanghaitech", "01_0015_0.npy 1", "01_0015_1.npy 0")
    assert Video("x", (FeatureSource(Path("x.npy")),), None).label is None
