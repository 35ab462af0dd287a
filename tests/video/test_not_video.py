"""Files that are no video: what they are, and what reads them."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ladnet_fast.data import load_features, read_manifest
from ladnet_fast.video import VideoError, read_frames
from ladnet_fast.video.not_video import explain_not_a_video

FEATURES = np.arange(12, dtype=np.float32).reshape(3, 4)


def _npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, FEATURES)


def _npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **{"a": FEATURES, "b/c": FEATURES + 1})


def _hdf5(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["KEY"] = FEATURES


def _mat(path: Path) -> None:
    pytest.importorskip("scipy.io").savemat(path, {"feat": FEATURES}, appendmat=False)


def _mat73(path: Path) -> None:
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b"\0") + b"\x89HDF\r\n")


def _torch(path: Path) -> None:
    torch.save(torch.from_numpy(FEATURES), path)


def _old_torch(path: Path) -> None:
    torch.save(torch.from_numpy(FEATURES), path, _use_new_zipfile_serialization=False)


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": FEATURES}))


def _weights(path: Path) -> None:
    save_file({"a": torch.zeros(2)}, path)


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("a.mp4"), io.BytesIO())


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mp4", b"x")


def _text(text: str, encoding: str = "utf-8") -> Callable[[Path], None]:
    return lambda path: path.write_bytes(text.encode(encoding)) and None


def _junk(path: Path) -> None:
    path.write_bytes(b"?\0\xff" * 64)


LIST = "/data/Abuse001_x264__0.npy\n" * 400
#: Each with its own suffix, with one that says nothing, or with content that says nothing.
CASES: list[tuple[str, Callable[[Path], None], str]] = [
    *((name, _npy, "NumPy array.*ladnet-fast score") for name in ("a.npy", "a.bin", "a")),
    *((name, _npz, "NumPy arrays.*python -c") for name in ("a.npz", "a.data")),
    *((name, _hdf5, "HDF5.*manifest") for name in ("a.h5", "a.hdf5", "a.features")),
    *((name, _mat, "MATLAB.*python -c") for name in ("a.mat", "a.gt")),
    ("a.mat", _mat73, "MATLAB 7.3"),
    *((name, _torch, "PyTorch.*--model.*python -c") for name in ("a.pt", "a.pth", "a.x")),
    ("a.pt", _old_torch, "PyTorch"),
    *((name, _pickle, "pickle.*no command opens") for name in ("a.pkl", "a.pickle", "a.x")),
    *((name, _weights, "weights.*--model") for name in ("m.safetensors", "m.x")),
    *((name, _tar, "archive.*unpack") for name in ("a.tar", "a.x")),
    *((name, _zip, "archive.*unpack") for name in ("a.zip", "a.x")),
    *((name, _text('{"a": [1, 2]}'), "JSON.*--gt") for name in ("a.json", "a.x")),
    *((name, _text("a: 1\n"), "YAML.*--config") for name in ("a.yaml", "a.yml")),
    *((name, _text("video,features,label\n"), "manifest") for name in ("a.csv",)),
    *((name, _text(LIST), "--layout") for name in ("a.list", "a.txt", "a.split", "a")),
    ("a.list", _text(LIST, "utf-16"), "--layout"),
    ("a.split", _text(LIST, "utf-16"), "--layout"),
    ("a.split", _text("日本語 " * 2000), "--layout"),
    *((name, _text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull")
      for name in ("a.mp4", "a.npy")),
    ("a.mp4", _text("\n<!DOCTYPE html><html>"), "web page.*download failed"),
    *((f"a{suffix}", _junk, "not a video") for suffix in (".npz", ".h5", ".pkl", ".mat", ".list")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "write", "message"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)]
)
def test_a_file_that_is_no_video_is_recognised(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(VideoError) as caught:
        next(read_frames(path))
    told = explain_not_a_video(path)
    assert str(caught.value) == told
    assert told is not None
    assert told.startswith(f"{path}: ")
    with pytest.raises(ValueError, match=rf"(?s){message}"):
        raise ValueError(told)


def test_gzip_is_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.x"
    path.write_bytes(gzip.compress(b"x"))
    assert "archive" in (explain_not_a_video(path) or "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mp4", b"\0\0\0\x20ftypisom"),
        ("a.mp4", b"words"),
        ("a.MKV", b""),
        ("a", b""),
        ("a", b"\x1aE\xdf\xa3"),
        ("a.y4m", b"YUV4MPEG2 W2 H2\nFRAME\n\0\xff\x10\x80"),
        ("a.m3u8", b"#EXTM3U\n#EXTINF:10,\na.ts\n"),
        ("a.png", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_what_may_be_a_video_is_left_to_ffmpeg(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert explain_not_a_video(tmp_path / name) is None


def test_what_is_not_there_is_not_explained(tmp_path: Path) -> None:
    for name in ("absent.npz", "a:b.mp4", "C:"):
        assert explain_not_a_video(tmp_path / name) is None
        assert explain_not_a_video(name) is None


# ---- what the messages say works ----------------------------------------------------------------


def command_of(told: str | None, program: str = "python") -> list[str]:
    assert told is not None
    words = shlex.split(told[told.index(f"{program} ") :])
    assert words[0] == program
    return [sys.executable if program == "python" else program, *words[1:]]


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of an odd name; the current one is another."""
    folder = tmp_path / "it's $HOME; -x"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    return folder


def test_arrays_of_an_npz_are_written_apart(odd: Path) -> None:
    _npz(odd / "a b.npz")
    subprocess.run(command_of(explain_not_a_video(odd / "a b.npz")), check=True)
    arrays = {path.name: np.load(path) for path in (odd / "a b-arrays").iterdir()}
    np.testing.assert_array_equal(arrays.pop("a.npy"), FEATURES)
    np.testing.assert_array_equal(arrays.pop("b_c.npy"), FEATURES + 1)
    assert arrays == {}


def test_arrays_of_a_mat_are_written_apart(odd: Path) -> None:
    _mat(odd / "gt.mat")
    subprocess.run(command_of(explain_not_a_video(odd / "gt.mat")), check=True)
    (path,) = (odd / "gt-arrays").iterdir()
    np.testing.assert_array_equal(np.load(path), FEATURES)


def test_a_tensor_becomes_npy(odd: Path) -> None:
    for write in (_torch, _old_torch):
        write(odd / "a.pt")
        subprocess.run(command_of(explain_not_a_video(odd / "a.pt")), check=True)
        np.testing.assert_array_equal(np.load(odd / "a.npy"), FEATURES)
        (odd / "a.npy").unlink()


def test_features_in_hdf5_are_read_by_the_manifest_of_the_message(tmp_path: Path) -> None:
    _hdf5(tmp_path / "all.h5")
    told = explain_not_a_video(tmp_path / "all.h5") or ""
    header = told.partition("the header ")[2].split()[0]
    line = told.rpartition("a line ")[2]
    manifest = tmp_path / "videos.csv"
    manifest.write_text(f"{header}\n{line}\n")
    (video,) = read_manifest(manifest)
    np.testing.assert_array_equal(load_features(video.features[0]), FEATURES)


# ---- folders, addresses, devices ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("rtsp://camera/stream", "rtsp://camera/stream"),
        ("rtsp:/camera/stream", "rtsp://camera/stream"),
        ("http://host/a b.mp4?x=1&y=2", "http://host/a b.mp4?x=1&y=2"),
        ("https:/host/a.m3u8", "https://host/a.m3u8"),
        ("udp://@239.0.0.1:1234", "udp://@239.0.0.1:1234"),
    ],
)
def test_an_address_is_refused_with_commands_that_score_or_record(given: str, address: str) -> None:
    for path in (given, Path(given)):
        told = explain_not_a_video(path)
        assert command_of(told, "ladnet-fast")[:3] == ["ladnet-fast", "watch", address]
        assert command_of(told, "ffmpeg")[:3] == ["ffmpeg", "-i", address]
        with pytest.raises(VideoError, match="Score it while it goes on"):
            next(read_frames(path))


def test_a_file_address_is_answered_with_the_path() -> None:
    assert (explain_not_a_video("file:///data/a b.mp4") or "").endswith("instead: '/data/a b.mp4'")


def test_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "pipe", "device or a pipe")):
        with pytest.raises(VideoError, match=message):
            next(read_frames(path))


@pytest.mark.parametrize("name", ["frames", "it's [a] *odd* {one}?"])
def test_a_folder_of_pictures_comes_with_the_command_for_a_video(tmp_path: Path, name: str) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / name
    folder.mkdir()
    for number in range(5):
        image.new("RGB", (33, 32), (50 * number, 0, 0)).save(folder / f"{number:03d}.png")
    words = command_of(explain_not_a_video(folder), "ffmpeg")
    assert words[-1] == f"{folder}.mp4"
    if ffmpeg := shutil.which("ffmpeg"):
        subprocess.run([ffmpeg, "-v", "error", *words[1:]], check=True)
        assert len(list(read_frames(words[-1]))) == 5


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "pickle-was-executed"),)

    for name in ("a.pkl", "a.pt", "a"):
        (tmp_path / name).write_bytes(pickle.dumps(Malicious()))
        assert explain_not_a_video(tmp_path / name)
    assert not (tmp_path / "pickle-was-executed").exists()


def test_json_lines_are_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"a": 1}) + "\n")
    assert "JSON" in (explain_not_a_video(tmp_path / "a.jsonl") or "")
