from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import (
    BagDataset,
    DataError,
    FeatureSource,
    Video,
    load_features,
    read_manifest,
    write_manifest,
)


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "videos.csv"
    path.write_bytes(text.encode())
    return path


def test_every_column_is_read(tmp_path):
    path = _write(
        tmp_path,
        "video,features,label,class,num_frames,frames_per_snippet,fold,frame_labels,split,query\n"
        "a,f/a.npy;f/a__1.npy,1,B1;B2,120,8,3,gt/a.npy,test,q/a.npy\n"
        "b,/abs/b.npy,0,,,,,,,\n"
        "c,c.txt,1,,99,even,,,,\n"
        "d,all.h5,1,,,,,,,all.h5::audio/d\n",
    )
    assert read_manifest(path, check_files=False) == [
        Video(
            "a",
            (FeatureSource(tmp_path / "f/a.npy"), FeatureSource(tmp_path / "f/a__1.npy")),
            1,
            ("B1", "B2"),
            120,
            8,
            3,
            tmp_path / "gt/a.npy",
            "test",
            FeatureSource(tmp_path / "q/a.npy"),
        ),
        Video("b", (FeatureSource(Path("/abs/b.npy")),), 0),
        Video("c", (FeatureSource(tmp_path / "c.txt"),), 1, num_frames=99, frames_per_snippet=None),
        Video(
            "d",
            (FeatureSource(tmp_path / "all.h5", "d"),),
            1,
            query=FeatureSource(tmp_path / "all.h5", "audio/d"),
        ),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_marks_and_blank_lines_do_not_matter(tmp_path, newline, mark):
    lines = ["video,features,label", '"a, b",a.npy,1', "", "c,c.npy,0", ""]
    videos = read_manifest(_write(tmp_path, mark + newline.join(lines)), check_files=False)
    assert [(video.name, video.label) for video in videos] == [("a, b", 1), ("c", 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no video"),
        ("video,features,label\n", "names no video"),
        ("video,features\na,a.npy\n", "lacks 'label'; expected video,features,label"),
        ("video,features,label,num_frame\n", "unknown 'num_frame'"),
        ("video,features,label,label\n", "repeats 'label'"),
        ("video,features,label\na,a.npy\n", "line 2: 2 cells, but the header has 3"),
        ("video,features,label\na,a.npy,yes\n", "line 2: label must be 0 .* got 'yes'"),
        ("video,features,label\na,,1\n", "line 2: a: features must name at least one file"),
        ("video,features,label\n,a.npy,1\n", "line 2: name of a video must not be empty"),
        ("video,features,label\na,a.npy,1\na,b.npy,1\n", "line 3: video 'a' is already on line 2"),
        ("video,features,label,fold\na,a.npy,1,x\n", "line 2: fold must be a whole number"),
        ("video,features,label,num_frames\na,a.npy,1,-5\n", "num_frames must be at least 1"),
        ("video,features,label,class\na,a.npy,0,Abuse\n", "line 2: a: classes must be empty"),
        ("video,features,label\na,x.h5::,1\n", "line 2: feature source must be"),
        ('video,features,label\na,"a.npy,1\n', "line .: not valid CSV"),
    ],
)
def test_bad_content_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_manifest(_write(tmp_path, text), check_files=False)


def test_text_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "videos.csv"
    path.write_bytes("video,features,label\né,a.npy,1\n".encode("latin1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_manifest(path)


def test_absent_manifest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest .*videos\.csv does not exist"):
        read_manifest(tmp_path / "videos.csv")


def test_missing_files_are_counted_and_the_first_named(tmp_path, save):
    save("here.npy")
    rows = "".join(f"v{i},gone{i}.npy,0\n" for i in range(5))
    path = _write(tmp_path, f"video,features,label\nv,here.npy,0\n{rows}")
    with pytest.raises(FileNotFoundError, match="5 of 6 files") as error:
        read_manifest(path)
    message = str(error.value)
    assert "gone0.npy (video v0)" in message
    assert "gone3.npy" not in message
    assert "and 2 more" in message
    assert len(read_manifest(path, check_files=False)) == 6


def test_missing_ground_truth_and_query_are_found_too(tmp_path, save):
    save("a.npy")
    path = _write(tmp_path, "video,features,label,frame_labels,query\na,a.npy,1,gt.npy,q.npy\n")
    with pytest.raises(FileNotFoundError, match=r"(?s)q\.npy.*gt\.npy"):
        read_manifest(path)


def test_written_manifest_reads_back_equal_and_moves_with_its_folder(tmp_path, make_video, save):
    videos = [
        make_video("f/a", ((5, 4), (5, 4)), num_frames=80, fold=1, split="train"),
        make_video(
            "b",
            label=1,
            classes=("B1", "G"),
            frames_per_snippet=None,
            frame_labels=save("gt/b.npy"),
            query=FeatureSource(save("q.npy")),
        ),
        Video("c", (FeatureSource(Path("/elsewhere/c.h5"), "key"),), 0),
    ]
    write_manifest(tmp_path / "videos.csv", videos)
    assert read_manifest(tmp_path / "videos.csv", check_files=False) == videos
    moved = tmp_path.parent / f"{tmp_path.name}_moved"
    expected = np.load(videos[1].features[0].path)
    tmp_path.rename(moved)
    source = read_manifest(moved / "videos.csv", check_files=False)[1].features[0]
    assert source.path.is_relative_to(moved)
    np.testing.assert_array_equal(load_features(source), expected)


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([], "videos is empty"),
        ([Video("a", (FeatureSource(Path("a;b.npy")),), 0)], "can't hold"),
        ([Video("a", (FeatureSource(Path("a.npy")),), 1, ("x;y",))], "can't hold 'x;y'"),
        ([Video("a", (FeatureSource(Path("a.npy")),), 0)] * 2, "two videos named 'a'"),
    ],
)
def test_refused_manifest_leaves_the_old_one(tmp_path, videos, message):
    path = _write(tmp_path, "old")
    with pytest.raises(ValueError, match=message):
        write_manifest(path, videos)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_label_is_enough_for_scoring_and_refused_where_it_is_needed(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4), dtype=np.float32))
    path = _write(tmp_path, "video,features,label\na,a.npy,\n")
    (video,) = read_manifest(path)
    assert video.label is None
    write_manifest(tmp_path / "again.csv", [video])
    assert read_manifest(tmp_path / "again.csv") == [video]
    with pytest.raises(DataError, match=r"a: its label is not known.*fill the manifest's"):
        BagDataset([video])


def test_the_rate_that_extract_notes_is_no_unknown_column(tmp_path):
    path = _write(tmp_path, "video,features,label,fps\na,a.npy,1,12.5\nb,b.npy,0,\n")
    assert [video.name for video in read_manifest(path, check_files=False)] == ["a", "b"]
