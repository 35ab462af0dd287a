"""What the package remembers of its own files, and what it refuses to write over."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import _records
from ladnet_fast._locks import FolderInUseError, folder_lock
from ladnet_fast._outputs import OutputError, check_outputs
from ladnet_fast._records import DamagedFileError, record_text, recorded, verify, wrote
from ladnet_fast._tensors import load_tensors, save_tensors


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))


def test_a_file_is_remembered_with_how_it_was_made(tmp_path):
    made = {"video": "a.mp4"}
    with recorded(tmp_path / "a.npy", made) as temporary:
        temporary.write_bytes(b"12")
        made["frames"] = 32  # known only at the end
    record = verify(tmp_path / "a.npy")
    assert record is not None
    assert record.made == {"video": "a.mp4", "frames": 32}
    assert [p.name for p in tmp_path.glob("*.npy")] == ["a.npy"]


def test_somebody_elses_file_has_no_record(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"12")
    assert verify(tmp_path / "a.npy") is None
    assert not wrote(tmp_path / "a.npy")


@pytest.mark.parametrize("position", [0, 100, -1])
def test_one_flipped_bit_is_noticed_and_the_printed_remedy_works(tmp_path, position):
    path = tmp_path / "it's a.npy"
    record_text(path, "x" * 500, {})
    flip(path, position)
    with pytest.raises(DamagedFileError, match="has changed since ladnet-fast wrote it") as caught:
        verify(path)
    assert not wrote(path)
    command = str(caught.value).rpartition("record: ")[2]
    assert shlex.split(command)[0] == "rm"
    subprocess.run(command, shell=True, check=True)
    assert verify(path) is None


def test_a_flipped_bit_is_noticed_though_size_and_time_are_as_before(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    record_text(path, "x" * 500, {})
    status = path.stat()
    flip(path, 250)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(DamagedFileError):
        verify(path)


def test_a_copy_of_the_folder_is_still_ours(tmp_path):
    import shutil

    record_text(tmp_path / "one" / "a.csv", "x", {})
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    os.utime(tmp_path / "two" / "a.csv", (time.time() + 9,) * 2)
    assert wrote(tmp_path / "two" / "a.csv")
    assert verify(tmp_path / "two" / "a.csv") is not None


@pytest.mark.parametrize("rename", [1, 2])
def test_a_kill_before_either_rename_leaves_the_old_file_known(tmp_path, monkeypatch, rename):
    path = tmp_path / "a.csv"
    record_text(path, "old", {"version": 1})
    calls = []

    def killed(self, target, replace=Path.replace):
        calls.append(target)
        if len(calls) == rename:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            record_text(path, "new", {"version": 2})
    assert path.read_text() == "old"
    assert wrote(path)  # it may be replaced
    record = verify(path)  # and it is not taken for the new one
    assert record is None or record.made == {"version": 1}
    record_text(path, "new", {"version": 2})
    assert verify(path).made == {"version": 2}


def test_a_damaged_record_is_named(tmp_path):
    record_text(tmp_path / "a.csv", "x", {})
    _records.record_path(tmp_path / "a.csv").write_text("{")
    with pytest.raises(DamagedFileError, match="the record of"):
        verify(tmp_path / "a.csv")


def paths_to(path, tmp_path):
    """Other names of one file: relative, through a link to it, to its folder, a second name."""
    (tmp_path / "soft.npy").symlink_to(path)
    (tmp_path / "folder").symlink_to(path.parent)
    os.link(path, tmp_path / "hard.npy")
    relative = os.path.relpath(path)
    return [
        path,
        relative,
        f"{path.parent}/../{path.parent.name}//{path.name}",
        tmp_path / "soft.npy",
        tmp_path / "folder" / path.name,
        tmp_path / "hard.npy",
    ]


def test_an_output_that_is_an_input_is_refused_by_whatever_name(tmp_path):
    path = tmp_path / "in" / "a.npy"
    path.parent.mkdir()
    path.write_bytes(b"x")
    names = paths_to(path, tmp_path)
    for output in names:
        for given in names:
            with pytest.raises(OutputError, match="is an input"):
                check_outputs([tmp_path / "other", output], [given], overwrite=True)
    check_outputs([tmp_path / "out" / "a.npy"], [path, tmp_path / "absent"])


def test_a_file_that_is_not_ours_is_replaced_only_when_asked(tmp_path):
    record_text(tmp_path / "ours.npy", "x", {})
    (tmp_path / "theirs.npy").write_text("x")
    (tmp_path / "dangling.npy").symlink_to(tmp_path / "absent")
    check_outputs([tmp_path / "ours.npy"], [])
    for name in ("theirs.npy", "dangling.npy"):
        with pytest.raises(OutputError, match=f"{name} would be replaced.*--overwrite"):
            check_outputs([tmp_path / "ours.npy", tmp_path / name], [])
        check_outputs([tmp_path / name], [], overwrite=True)


def test_our_file_that_somebody_changed_is_theirs(tmp_path):
    record_text(tmp_path / "notes.csv", "video,score\n", {})
    (tmp_path / "notes.csv").write_text("video,score,my remarks\n")
    with pytest.raises(OutputError, match="somebody has changed it"):
        check_outputs([tmp_path / "notes.csv"], [])


@pytest.mark.parametrize("twin", ["./x.npy", "a/../x.npy", ".//x.npy"])
def test_two_outputs_that_are_one_file_are_refused(tmp_path, twin):
    with pytest.raises(OutputError, match="are one file"):
        check_outputs([f"{tmp_path}/x.npy", f"{tmp_path}/{twin}"], [])


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "x.npy").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_outputs([tmp_path / "x.npy"], [], overwrite=True)


def test_a_folder_serves_one_process_at_a_time(tmp_path):
    code = (
        "import sys\nfrom ladnet_fast._locks import folder_lock\n"
        "with folder_lock(sys.argv[1], 'training'):\n    print('in')"
    )
    command = [os.sys.executable, "-c", code, str(tmp_path)]
    with folder_lock(tmp_path, "training"):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert "FolderInUseError" in done.stderr
        assert "another process is training there" in done.stderr
        with folder_lock(tmp_path, "listing"):
            pass
    assert subprocess.run(command, capture_output=True, text=True).stdout == "in\n"
    assert issubclass(FolderInUseError, ValueError)


TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor(3, dtype=torch.int64),
    "c": torch.ones(4, dtype=torch.bfloat16),
    "empty": torch.zeros(0, 3),
    "view": torch.arange(12.0).reshape(3, 4).T,
    "bool": torch.tensor([True, False]),
}


def test_tensors_come_back_with_their_metadata(tmp_path):
    save_tensors(tmp_path / "x.safetensors", TENSORS, {"format": "pt"})
    metadata, tensors = load_tensors(tmp_path / "x.safetensors")
    assert metadata == {"format": "pt"}
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype


def test_any_flipped_bit_of_a_tensor_file_is_noticed(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, TENSORS, {"format": "pt", "options": '{"width": 8}'})
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in {*rng.integers(0, len(content), 200).tolist(), 8, len(content) - 1}:
        for bit in (1, 128):
            damaged = bytearray(content)
            damaged[position] ^= bit
            path.write_bytes(bytes(damaged))
            try:
                metadata, tensors = load_tensors(path)
            except DamagedFileError:
                continue
            # Blanks that pad the header carry nothing.
            assert metadata == {"format": "pt", "options": '{"width": 8}'}
            assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS), position
            pytest.fail(f"byte {position} was changed, and the file was read")


@pytest.mark.parametrize("length", [0, 1, 7, 8, 50, -1])
def test_a_tensor_file_that_is_cut_off_is_named(tmp_path, length):
    path = tmp_path / "x.safetensors"
    save_tensors(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFileError, match=r"x\.safetensors is not a whole safetensors file"):
        load_tensors(path)


def test_a_tensor_file_of_another_program_is_read(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(load_tensors(tmp_path / "x.safetensors")[1]["a"], torch.ones(2))


def test_a_full_disk_is_an_error_of_the_system_that_names_the_file(tmp_path):
    code = (
        "import resource, signal, torch, sys\n"
        "from ladnet_fast._tensors import save_tensors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    save_tensors(sys.argv[1], {'a': torch.zeros(10000)}, {})\n"
        "except OSError as error:\n    print(error.errno, error)\n"
    )
    path = tmp_path / "model.safetensors"
    done = subprocess.run(
        [os.sys.executable, "-c", code, str(path)], capture_output=True, text=True
    )
    assert "File too large" in done.stdout, done.stderr
    assert "model.safetensors" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_file_has_the_permissions_of_any_other_file(tmp_path):
    save_tensors(tmp_path / "x.safetensors", TENSORS, {})
    (tmp_path / "plain").touch()
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("file", ["out", "out/deep/.ladnet", "out/deep"])
def test_a_file_in_the_place_of_a_folder_is_named_before_anything_is_made(tmp_path, file):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("x")
    with pytest.raises(OutputError, match=f"{file} is a file"):
        check_outputs([tmp_path / "out" / "deep" / "x.npy"], [], overwrite=True)
