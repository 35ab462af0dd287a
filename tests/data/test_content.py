"""Files are known by their content, and every command of a message does what it says."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast.data import (
    DataError,
    FeatureSource,
    Video,
    feature_shape,
    load_features,
    load_ground_truth,
    read_annotations,
    read_frame_labels,
    read_list,
    read_manifest,
    read_num_frames,
)
from tests.data.commands import commands_in, run_command

ODD_NAMES = ["plain", 'it\'s a $HOME `x` "y"', "-n", "ünï 监控"]


def _objects(*elements: object) -> np.ndarray:
    array = np.empty(len(elements), dtype=object)
    for i, element in enumerate(elements):
        array[i] = element
    return array


def _rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _error_of(read, *arguments: object) -> str:
    with pytest.raises(DataError) as error:
        read(*arguments)
    return str(error.value)


def _run_only_command(message: str, folder: Path) -> None:
    (command,) = commands_in(message)
    run_command(command, folder)


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (_objects(*_rows(10, 7, 4)), _rows(10, 7, 4)),
        (_rows(7, 10, 4).astype(object), _rows(7, 10, 4)),
        (_rows(7, 4).astype(object), _rows(7, 4)),
        (_objects(*[row.tolist() for row in _rows(7, 4)]), _rows(7, 4)),
    ],
)
def test_an_object_array_of_one_shape_is_converted_in_place(tmp_path, name, array, expected):
    path = tmp_path / f"{name}.npy"
    np.save(path, array, allow_pickle=True)
    _run_only_command(_error_of(load_features, path), tmp_path)
    assert feature_shape(path) == (expected.swapaxes(0, 1).shape if len(expected) == 10
                                   else expected.shape)  # fmt: skip
    np.testing.assert_array_equal(np.load(path), expected)


@pytest.mark.parametrize("nested", [False, True])
def test_a_ragged_object_array_becomes_a_file_for_each_element(tmp_path, nested):
    path = tmp_path / "it's.npy"
    parts = [_rows(3, 8), _rows(2, 8), _rows(5, 8)]
    array = _objects(*parts)
    if nested:
        array = np.array(None, dtype=object)
        array[()] = parts
    np.save(path, array, allow_pickle=True)
    message = _error_of(load_features, path)
    assert "it's__0.npy and so on; list those instead" in message
    before = path.read_bytes()
    _run_only_command(message, tmp_path)
    assert path.read_bytes() == before
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(load_features(tmp_path / f"it's__{i}.npy"), part)


def test_a_ground_truth_of_objects_is_converted_too(tmp_path):
    path = tmp_path / "gt.npy"
    np.save(path, np.array([0, 1, 1, 0], dtype=object), allow_pickle=True)
    _run_only_command(_error_of(read_frame_labels, path), tmp_path)
    assert read_frame_labels(path).tolist() == [0, 1, 1, 0]


READERS = {
    "list": lambda path: read_list(path, "ucf-i3d", check_files=False),
    "manifest": lambda path: read_manifest(path, check_files=False),
    "annotations": read_annotations,
    "frames": read_num_frames,
    "ground truth": read_frame_labels,
    "names": lambda path: read_list(
        _file(path.parent / "l.list", b"a.npy\n"), "ucf-i3d", anomalous_names=path
    ),
}


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("codec", "mark", "text", "encodings"),
    [
        ("utf-16-le", "\ufeff", "Abuse001.npy\r\nAbuse002.npy\n", ["UTF-16"]),
        ("utf-16-be", "\ufeff", "Abuse001.npy\n", ["UTF-16"]),
        ("utf-32-le", "\ufeff", "Abuse001.npy\n", ["UTF-32"]),
        ("utf-16-le", "", "Abuse001.npy\n", ["UTF-16LE"]),
        ("utf-16-be", "", "Abuse001.npy\n", ["UTF-16BE"]),
        ("gbk", "", "监控/正常001.npy\n", ["GB18030"]),
        ("cp1252", "", "caf\xe9, 1.npy\n", ["CP1252"]),
    ],
)
def test_text_in_another_encoding_is_converted_by_the_printed_command(
    tmp_path, reader, codec, mark, text, encodings
):
    path = _file(tmp_path / "it's a.list", (mark + text).encode(codec))
    message = _error_of(READERS[reader], path)
    commands = commands_in(message)
    assert [command.split()[2] for command in commands][: len(encodings)] == encodings
    run_command(commands[0], tmp_path)
    assert (tmp_path / "it's a-utf8.list").read_bytes().decode() == text


def test_every_encoding_that_is_offered_decodes_the_file(tmp_path):
    content = "\xe9\xe8.npy\n".encode("cp1252") + "正常.npy\n".encode("gbk")
    message = _error_of(READERS["list"], _file(tmp_path / "x.list", content))
    assert "with the one that reads right" in message
    for command in commands_in(message):
        run_command(command, tmp_path)


@pytest.mark.parametrize(
    "content", [b"\xff\xfeA", b"\x81\x8d\xff\xff\n", b"a\x00\x01\x02\x00\xffb"]
)
def test_no_command_is_offered_where_none_works(tmp_path, content):
    message = _error_of(READERS["list"], _file(tmp_path / "x.list", content))
    assert "iconv" not in message


ROWS = _rows(7, 4)


def _save_features(path: Path) -> None:
    if path.suffix == ".mat" and "73" in path.name:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w", userblock_size=512) as file:
            file["x"] = ROWS.T  # MATLAB stores columns
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    elif path.suffix == ".mat":
        pytest.importorskip("scipy.io").savemat(path, {"x": ROWS})
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(ROWS), path)
    elif path.suffix == ".hdf":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["x"] = ROWS
    else:
        with path.open("wb") as file:
            (np.savez if path.suffix == ".npz" else np.save)(file, ROWS)


@pytest.mark.parametrize("name", ["x.mat", "x73.mat", "it's.pt", "x.npz", "x.hdf", "x.npy.bak"])
def test_features_of_another_format_are_converted_by_the_printed_command(tmp_path, name):
    path = tmp_path / name
    _save_features(path)
    _run_only_command(_error_of(load_features, path), tmp_path)
    np.testing.assert_array_equal(load_features(path.with_suffix(".npy")), ROWS)


def test_a_pickle_of_features_has_no_command(tmp_path):
    path = _file(tmp_path / "x.pkl", pickle.dumps(ROWS))
    message = _error_of(load_features, path)
    assert "x.pkl is a Python pickle" in message
    assert commands_in(message) == []


@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
def test_rows_of_text_in_another_encoding_are_converted(tmp_path, codec):
    path = _file(tmp_path / "x.txt", "1 2\n3 4\n".encode(codec))
    _run_only_command(_error_of(load_features, path), tmp_path)
    np.testing.assert_array_equal(load_features(tmp_path / "x-utf8.txt"), [[1, 2], [3, 4]])
    _file(path, b"PK\x03\x04")
    assert "it is a zip archive" in _error_of(load_features, path)


KINDS = {
    "a NumPy array": b"\x93NUMPY\x01\x00rest",
    "a MATLAB 5 file": b"MATLAB 5.0 \xa4",
    "a MATLAB 7.3 file": b"MATLAB 7.3 MAT-file",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n",
    "a zip archive": b"PK\x03\x04",
    "a Python pickle": pickle.dumps({"a": 1}),
    "compressed by gzip": b"\x1f\x8b\x08",
    "a video": b"\x00\x00\x00\x20ftypisom",
    "a PDF": b"%PDF-1.7",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_binary_file_is_named_for_what_it_is(tmp_path, reader, kind):
    path = _file(tmp_path / "x.list", KINDS[kind])
    message = _error_of(READERS[reader], path)
    assert f"x.list is {kind}" in message
    assert "iconv" not in message


TRUTH = np.zeros(48, dtype=np.uint8)
TRUTH[10:30] = 1


def _video() -> Video:
    return Video("v", (FeatureSource(Path("v.npy")),), 1)


def _save_mat5(path: Path) -> None:
    pytest.importorskip("scipy.io").savemat(path, {"gt": TRUTH[None]})


def _save_mat73(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        file["gt"] = TRUTH[:, None].astype(np.float64)
        file.create_group("#refs#")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")


def _save_hdf5(path: Path) -> None:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file["gt"] = TRUTH


def _save_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, gt=TRUTH)


def _save_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, TRUTH)


def _text_saver(text: str):
    return lambda path: path.write_text(text)


CONVERTED = {
    "gt.mat": _save_mat5,
    "gt73.mat": _save_mat73,
    "gt.h5": _save_hdf5,
    "gt.npz": _save_npz,
    "gt.npy.txt": _save_npy,
    "gt.json": _text_saver(json.dumps(TRUTH.tolist())),
    "gt2.json": _text_saver(json.dumps([TRUTH[:20].tolist(), TRUTH[20:].tolist()])),
    "gt.csv": _text_saver("frame,label\n" + "".join(f"{i},{y}\n" for i, y in enumerate(TRUTH))),
    "names.csv": _text_saver("".join(f"v,{i},{y}.0\n" for i, y in enumerate(TRUTH))),
    "it's.txt": _text_saver("a;b,label\n" + "".join(f"{i},{y}\n" for i, y in enumerate(TRUTH))),
}


@pytest.mark.parametrize("boundaries", [None, "[s,e)"])
@pytest.mark.parametrize("name", CONVERTED)
def test_ground_truth_of_another_format_is_converted_by_the_printed_command(
    tmp_path, name, boundaries
):
    path = tmp_path / name
    CONVERTED[name](path)
    with pytest.raises(DataError, match="neither") as error:
        load_ground_truth([_video()], [3], source=path, boundaries=boundaries)
    assert "boundaries" not in str(error.value)
    (tmp_path / f"{path.stem}.npy").write_bytes(b"somebody's")
    own = dataclasses.replace(_video(), frame_labels=path)
    assert commands_in(_error_of(load_ground_truth, [own], [3]))
    with pytest.raises(DataError) as error:
        load_ground_truth([_video()], [3], source=path)
    _run_only_command(str(error.value), tmp_path)
    assert (tmp_path / f"{path.stem}.npy").read_bytes() == b"somebody's"
    (truth,) = load_ground_truth([_video()], [3], source=tmp_path / f"{path.stem}-1.npy")
    np.testing.assert_array_equal(truth, TRUTH)


def test_a_json_object_becomes_a_file_for_each_video(tmp_path):
    path = tmp_path / "gt.json"
    path.write_text(json.dumps({"v 1": TRUTH.tolist(), "v2": [0, 1]}))
    _run_only_command(_error_of(read_frame_labels, path), tmp_path)
    assert read_frame_labels(tmp_path / "v2.npy").tolist() == [0, 1]
    np.testing.assert_array_equal(read_frame_labels(tmp_path / "v 1.npy"), TRUTH)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(str, TRUTH)),
        " ".join(map(str, TRUTH)),
        ",".join(map(str, TRUTH)) + "\r\n",
        "\n".join(f"{y}.0" for y in TRUTH),
        "\n".join(f"{y:.18e}" for y in TRUTH),
    ],
)
@pytest.mark.parametrize("name", ["gt.txt", "gt.csv", "gt.list", "gt"])
def test_text_of_0_and_1_is_a_vector_whatever_its_name(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, newline="")
    (truth,) = load_ground_truth([_video()], [3], source=path)
    np.testing.assert_array_equal(truth, TRUTH)
    with pytest.raises(ValueError, match=r"boundaries='\[s,e\)' is for annotation files"):
        load_ground_truth([_video()], [3], source=path, boundaries="[s,e)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\n1\n2\n", "holds numbers only, but frame 2 is 2"),
        ("0.1 0.9 0.3", "holds numbers only, but frame 0 is 0.1"),
        ("0 255\n0 255", "holds numbers only, but frame 1 is 255"),
        ("0\nnan\n", "holds numbers only, but frame 1 is nan"),
        ("", r"shape \(0,\)"),
    ],
)
def test_numbers_that_are_no_truth_are_not_taken_for_annotations(tmp_path, text, message):
    path = tmp_path / "gt.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_ground_truth([_video()], [3], source=path)


def test_annotations_of_any_name_stay_annotations(tmp_path):
    for name, text in (("gt.csv", "v 10 30\n"), ("01.txt", "01 10 30\nv 10 30"),
                       ("x", "v, w.mp4 1 2\nv.mp4 10 30")):  # fmt: skip
        path = tmp_path / name
        path.write_text(text)
        (truth,) = load_ground_truth([_video()], [3], source=path, boundaries="[s,e)")
        np.testing.assert_array_equal(truth, TRUTH)
        with pytest.raises(ValueError, match="boundaries must be one of"):
            load_ground_truth([_video()], [3], source=path)


def test_a_folder_or_absent_file_is_no_question_of_boundaries(tmp_path):
    for path in (tmp_path, tmp_path / "gone.mat", tmp_path / "gone.npy"):
        with pytest.raises(FileNotFoundError, match="does not exist or is not a file"):
            load_ground_truth([_video()], [3], source=path)
