"""A video's name is a file's name, in one spelling."""

from pathlib import Path

import pytest

from ladnet_fast.data import (
    DataError,
    FeatureSource,
    Video,
    read_list,
    read_manifest,
    write_manifest,
)

NO_FILE = [
    ("./x", "'x'"),
    ("a//b", "'a/b'"),
    ("a/./b", "'a/b'"),
    ("x/", "'x'"),
    (".", "nothing"),
    ("/x", "leave their folder"),
    ("../x", "leave their folder"),
    ("a/../x", "leave their folder"),
    ("a\tb", r"'\\t'"),
    ("a\nb", r"'\\n'"),
    ("a\x1b[0m", r"'\\x1b'"),
    ("a\x85b", r"'\\x85'"),
    ("a\u2028b", r"'\\u2028'"),
    ("a./b", "ends in a dot or blank"),
    ("a /b", "ends in a dot or blank"),
]
FILES = [
    "x",
    "a/b",
    ".x",
    "x.",
    "Mr. & Mrs. Smith",
    "v=8c__#1_label_B1-0-0",
    "\u76d1\u63a7 1",
    "a\\b",
]


@pytest.mark.parametrize(("name", "why"), NO_FILE)
def test_a_name_that_files_cannot_have_is_refused_with_its_reason(tmp_path, name, why):
    path = tmp_path / "videos.csv"
    path.write_text(f'video,features,label\n"{name}",x.npy,1\n', newline="")
    with pytest.raises(DataError, match=rf"line \d: video name .* can't name a file.*{why}"):
        read_manifest(path, check_files=False)
    with pytest.raises(ValueError, match=f"can't name a file.*{why}"):
        write_manifest(tmp_path / "out.csv", [Video(name, (FeatureSource(Path("x.npy")),), 1)])


@pytest.mark.parametrize("line", ["/", "a/\x1b.npy", "a/\x00.npy", "x\ty.npy"])
def test_a_list_names_the_line_of_such_a_name(tmp_path, line):
    path = tmp_path / "x.list"
    path.write_text(f"Abuse001.npy\n{line}\n")
    with pytest.raises(DataError, match=r"x\.list.*(line 2: .*name|binary data)"):
        read_list(path, "ucf-i3d", labels="optional", check_files=False)


@pytest.mark.parametrize("name", FILES)
def test_any_other_name_is_kept_as_it_is(tmp_path, name):
    video = Video(name, (FeatureSource(tmp_path / "x.npy"),), 1)
    write_manifest(tmp_path / "videos.csv", [video])
    assert read_manifest(tmp_path / "videos.csv", check_files=False) == [video]
