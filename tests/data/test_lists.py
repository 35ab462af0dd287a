from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import LAYOUTS, DataError, FeatureSource, iter_crops, load_features, read_list

XD_A = "Bad.Boys.1995__#00-26-51_00-27-53_label_A"
XD_B = "v=8cTqh9tMz_I__#1_label_B1-B2-0"
TWO_UCF = [("Abuse028_x264", 1, ("Abuse",)), ("Normal_Videos_003_x264", 0, ())]
TWO_XD = [(XD_B, 1, ("B1", "B2")), (XD_A, 0, ())]


def _crops(name: str, count: int, pattern: str = "{name}__{crop}.npy") -> list[str]:
    return [pattern.format(name=name, crop=crop) for crop in range(count)]


# layout, lines, (name, label, classes) of every video, crops of every video, frames per snippet
CASES = {
    "PEL4VAD's UCF-Crime: crop 0 has no suffix": (
        "ucf-i3d",
        [
            f"{folder}/{file}"
            for folder, name in (("Abuse", TWO_UCF[0][0]), ("Normal", TWO_UCF[1][0]))
            for file in [f"{name}.npy", *_crops(name, 10)[1:]]
        ],
        TWO_UCF,
        10,
        16,
    ),
    "UR-DMU's UCF-Crime: every crop has a suffix": (
        "ucf-clip",
        _crops(TWO_UCF[0][0], 10) + _crops(TWO_UCF[1][0], 10),
        TWO_UCF,
        10,
        16,
    ),
    "one crop only": ("ucf-clip", [f"{name}__0.npy" for name, *_ in TWO_UCF], TWO_UCF, 1, 16),
    "XD-Violence, film titles with dots": (
        "xd-violence",
        _crops(XD_B, 5) + _crops(XD_A, 5),
        TWO_XD,
        5,
        16,
    ),
    "ShanghaiTech's training list with labels": (
        "shanghaitech",
        [f"{f} 1" for f in _crops("01_0015", 10, "{name}_{crop}.npy")]
        + [f"{f} 0.0" for f in _crops("01_001", 10, "{name}_{crop}.npy")],
        [("01_0015", 1, ()), ("01_001", 0, ())],
        10,
        16,
    ),
    "VadCLIP's UCF-Crime": (
        "vadclip",
        ["path,label"]
        + [f"{f},RoadAccidents" for f in _crops("RoadAccidents001_x264", 3)]
        + [f"{f},Normal" for f in _crops("Normal_Videos_003_x264", 3)],
        [("RoadAccidents001_x264", 1, ("RoadAccidents",)), ("Normal_Videos_003_x264", 0, ())],
        3,
        16,
    ),
    "VadCLIP's XD-Violence": (
        "vadclip",
        ["path,label"]
        + [f"{f},B1-B2-0" for f in _crops(XD_B, 2)]
        + [f"{f},A" for f in _crops(XD_A, 2)],
        TWO_XD,
        2,
        16,
    ),
    "RTFM's UCF-Crime: crops inside the file": (
        "ten-crop",
        [f"{name}_i3d.npy" for name, *_ in TWO_UCF],
        TWO_UCF,
        1,
        16,
    ),
    "RTFM's XD-Violence": ("ten-crop", [f"{n}_i3d.npy" for n, *_ in TWO_XD], TWO_XD, 1, 16),
    "Sultani's C3D": ("c3d-text", [f"{name}.txt" for name, *_ in TWO_UCF], TWO_UCF, 1, None),
}


def _write(tmp_path: Path, lines: list[str], newline: str = "\n") -> Path:
    path = tmp_path / "test.list"
    path.write_bytes(newline.join([*lines, ""]).encode())
    return path


def _summary(videos):
    return [(video.name, video.label, video.classes) for video in videos]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("case", CASES)
def test_every_layout_is_read(tmp_path, case, newline):
    layout, lines, expected, crops, per_snippet = CASES[case]
    videos = read_list(_write(tmp_path, lines, newline), layout, split="test", check_files=False)
    assert _summary(videos) == expected
    paths = [line.split(",")[0].split(" ")[0] for line in lines if line != "path,label"]
    assert [s.path for v in videos for s in v.features] == [tmp_path / path for path in paths]
    for video in videos:
        assert len(video.features) == crops
        assert video.frames_per_snippet == per_snippet
        assert video.split == "test"


def test_every_layout_has_a_case():
    assert {case[0] for case in CASES.values()} | {"hdf5"} == set(LAYOUTS)


def test_crops_in_any_order_are_sorted(tmp_path):
    lines = [f"Abuse028_x264__{crop}.npy" for crop in (2, 0, 1)]
    (video,) = read_list(_write(tmp_path, lines), "ucf-clip", check_files=False)
    assert [s.path.name for s in video.features] == _crops("Abuse028_x264", 3)


@pytest.mark.parametrize("names_file", [False, True])
def test_anomalous_names_label_what_names_do_not_tell(tmp_path, names_file):
    lines = [f"{name}_{crop}.npy" for name in ("01_0015", "01_0016") for crop in range(2)]
    names: object = ["01_0016", "of another list"]
    if names_file:
        names = tmp_path / "names.txt"
        names.write_text("01_0016\r\nof another list\r\n")
    videos = read_list(
        _write(tmp_path, lines), "shanghaitech", anomalous_names=names, check_files=False
    )
    assert _summary(videos) == [("01_0015", 0, ()), ("01_0016", 1, ())]


def test_anomalous_names_overrule_names(tmp_path):
    lines = ["Abuse028_x264__0.npy", "Arrest001_x264__0.npy"]
    videos = read_list(
        _write(tmp_path, lines), "ucf-clip", anomalous_names=["Arrest001_x264"], check_files=False
    )
    assert _summary(videos) == [("Abuse028_x264", 0, ()), ("Arrest001_x264", 1, ("Arrest",))]


@pytest.mark.parametrize(
    ("line", "root", "remap", "located"),
    [
        ("Abuse/Abuse001.npy", None, None, "LIST/Abuse/Abuse001.npy"),
        ("Abuse\\Abuse001.npy", None, None, "LIST/Abuse/Abuse001.npy"),
        ("Abuse/Abuse001.npy", "/data", None, "/data/Abuse/Abuse001.npy"),
        ("/home/a/Abuse/Abuse001.npy", "/data", None, "/home/a/Abuse/Abuse001.npy"),
        ("/home/a/Abuse/Abuse001.npy", None, ("/home/a", "/data"), "/data/Abuse/Abuse001.npy"),
        ("/home/a/Abuse/Abuse001.npy", "/data", ("/home/a/", ""), "/data/Abuse/Abuse001.npy"),
        ("/home/a/Abuse/Abuse001.npy", "/data", ("/home/a", "x"), "/data/x/Abuse/Abuse001.npy"),
        ("D:\\feat\\Abuse001.npy", None, ("D:\\feat", "/data"), "/data/Abuse001.npy"),
        ("D:\\feat\\Abuse001.npy", None, ("D:\\", "/data"), "/data/feat/Abuse001.npy"),
        ("D:/feat/Abuse001.npy", None, ("D:\\feat\\", "/data/"), "/data/Abuse001.npy"),
    ],
)
def test_paths_of_other_machines_are_located(tmp_path, line, root, remap, located):
    (video,) = read_list(
        _write(tmp_path, [line]), "ucf-i3d", root=root, remap=remap, check_files=False
    )
    assert str(video.features[0].path) == located.replace("LIST", str(tmp_path))


def test_remap_compares_whole_path_components(tmp_path):
    lines = ["/home/ab/Abuse001.npy", "/home/a/Abuse002.npy"]
    videos = read_list(
        _write(tmp_path, lines), "ucf-i3d", remap=("/home/a", "/data"), check_files=False
    )
    assert [str(v.features[0].path) for v in videos] == [
        "/home/ab/Abuse001.npy",
        "/data/Abuse002.npy",
    ]


@pytest.mark.parametrize(
    ("layout", "lines", "options", "message"),
    [
        ("ucf-i3d", [], {}, "list .* is empty"),
        (
            "ucf-clip",
            ["Abuse001__0.npy", "Arrest001__0.npy", "Abuse001__1.npy"],
            {},
            "line 3: video 'Abuse001' already began on line 1; put all crops",
        ),
        (
            "ucf-clip",
            ["Abuse001__0.npy", "a/Abuse001__0.npy"],
            {},
            "lines 1 and 2: both are crop 0",
        ),
        ("ucf-i3d", ["Abuse001.npy", "Abuse001__0.npy"], {}, "lines 1 and 2: both are crop 0"),
        (
            "ucf-clip",
            ["Abuse001__0.npy", "Abuse001__1.npy", "", "Arrest001__0.npy"],
            {},
            "line 4: video 'Arrest001' has 1 crops, but 'Abuse001' has 2",
        ),
        ("ucf-i3d", ["01_0015.npy"], {}, "line 1: '01_0015' is not a UCF-Crime name.*anomalous_na"),
        ("xd-violence", ["Abuse001__0.npy"], {}, "not an XD-Violence name"),
        ("xd-violence", ["x_label_Z__0.npy"], {}, "not an XD-Violence name"),
        ("shanghaitech", ["01_0015_0.npy"], {}, "'01_0015', a ShanghaiTech name.*anomalous_names="),
        (
            "shanghaitech",
            ["01_0015_0.npy 1", "01_0015_1.npy 0"],
            {},
            "the crops of '01_0015' have different labels",
        ),
        (
            "vadclip",
            ["Abuse001__0.npy,Abuse"],
            {},
            "path,label; got 'Abuse001__0.npy,Abuse'",
        ),
        ("vadclip", ["path,label", "Abuse001__0.npy"], {}, "line 2: a line must be path,label"),
        ("vadclip", ["path,label", "Abuse001__0.npy,"], {}, "line 2: a line must be path,label"),
        (
            "ucf-i3d",
            ["a/Abuse001.npy"],
            {"remap": ("/b", "/c")},
            "no line starts with .*'/b'.*a/Abus",
        ),
        (
            "ucf-i3d",
            ["Abuse001.npy"],
            {"anomalous_names": ["Abuse001.npy"]},
            "none of the 1 anomalous_names, such as 'Abuse001.npy', is in the list",
        ),
    ],
)
def test_bad_list_is_refused_with_its_line(tmp_path, layout, lines, options, message):
    with pytest.raises(DataError, match=message):
        read_list(_write(tmp_path, lines), layout, check_files=False, **options)


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("ucf", {}, "layout must be one of ucf-i3d, .*got 'ucf'"),
        ("hdf5", {}, "needs root"),
        ("ucf-i3d", {"frames_per_snippet": 0}, "frames_per_snippet must be at least 1"),
    ],
)
def test_bad_argument_is_refused(tmp_path, layout, options, message):
    with pytest.raises(ValueError, match=message):
        read_list(_write(tmp_path, ["Abuse001.npy"]), layout, check_files=False, **options)


def test_missing_files_are_counted_with_the_remedy(tmp_path, save):
    save("Abuse001__0.npy")
    path = _write(tmp_path, _crops("Abuse001", 3))
    with pytest.raises(FileNotFoundError, match=r"(?s)2 of 3 .*Abuse001__1\.npy.*root=.*remap="):
        read_list(path, "ucf-clip")
    with pytest.raises(FileNotFoundError, match=r"list .*absent\.list does not exist"):
        read_list(tmp_path / "absent.list", "ucf-clip")


def test_hdf5_lines_are_keys_as_written_or_by_name(tmp_path, rng):
    h5py = pytest.importorskip("h5py")
    rows = rng.normal(size=(3, 4)).astype(np.float32)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["Abuse028_x264"] = rows
        file["Normal_Videos_003_x264.mp4"] = rows + 1
        file["group/Arrest001_x264"] = rows + 2
    lines = ["Abuse/Abuse028_x264.mp4", "Normal_Videos_003_x264.mp4", "group/Arrest001_x264"]
    videos = read_list(_write(tmp_path, lines), "hdf5", root=tmp_path / "all.h5")
    assert [(v.name, v.label) for v in videos] == [
        ("Abuse028_x264", 1),
        ("Normal_Videos_003_x264", 0),
        ("Arrest001_x264", 1),
    ]
    for offset, video in enumerate(videos):
        np.testing.assert_array_equal(load_features(video.features[0]), rows + offset)
    with pytest.raises(DataError, match=r"all\.h5 has no data set for 'Abuse001_x264'; it has 3"):
        read_list(_write(tmp_path, ["Abuse001_x264"]), "hdf5", root=tmp_path / "all.h5")
    with pytest.raises(FileNotFoundError, match=r"gone\.h5 does not exist"):
        read_list(_write(tmp_path, lines), "hdf5", root=tmp_path / "gone.h5")


@pytest.mark.parametrize("form", ["folder", "list", "list, a line for each crop"])
def test_audio_is_paired_by_name(tmp_path, save, form):
    for name, *_ in TWO_XD:
        for file in _crops(name, 2):
            save(file, (6, 4))
        save(f"audio/{name}__vggish.npy", (5, 3))
    queries = tmp_path / "audio"
    if form != "folder":
        queries = tmp_path / "audio.list"
        repeat = 2 if "crop" in form else 1
        # in another order than the videos
        queries.write_text(
            "".join(f"/old/audio/{n}__vggish.npy\r\n" * repeat for n, *_ in reversed(TWO_XD))
        )
    path = tmp_path / "rgb.list"
    path.write_text("".join(f"/old/{f}\n" for n, *_ in TWO_XD for f in _crops(n, 2)))
    videos = read_list(path, "xd-violence", remap=("/old", str(tmp_path)), queries=queries)
    for video in videos:
        assert video.query == FeatureSource(tmp_path / f"audio/{video.name}__vggish.npy")
        assert [crop.query.shape for crop in iter_crops(video)] == [(5, 3)] * 2


def test_missing_or_ambiguous_audio_is_named(tmp_path):
    path = _write(tmp_path, [f"{name}__0.npy" for name, *_ in TWO_XD])
    audio = tmp_path / "audio.list"
    audio.write_text(f"{XD_B}__vggish.npy\n")
    with pytest.raises(DataError, match=r"no query for 1 of 2 videos, such as 'Bad\.Boys"):
        read_list(path, "xd-violence", queries=audio, check_files=False)
    audio.write_text(f"a/{XD_B}__vggish.npy\nb/{XD_B}__vggish.npy\n")
    with pytest.raises(DataError, match="line 2: a second query for video 'v=8c"):
        read_list(path, "xd-violence", queries=audio, check_files=False)
    with pytest.raises(FileNotFoundError, match=r"__vggish\.npy"):
        read_list(_write(tmp_path, [f"{XD_A}__0.npy"]), "xd-violence", queries=tmp_path)


@pytest.mark.parametrize("cell", ["", ",", ", ", ',""'])
def test_a_csv_list_needs_labels_only_where_labels_are_needed(tmp_path, cell):
    listing = tmp_path / "test.csv"
    listing.write_text(f"path,label\nstreet1__0.npy{cell}\nAbuse001__0.npy,Abuse\n")
    first, second = read_list(listing, "vadclip", check_files=False, labels="optional")
    assert (first.name, first.label, second.label) == ("street1", None, 1)
    with pytest.raises(DataError, match="line 2: a line must be path,label"):
        read_list(listing, "vadclip", check_files=False)
