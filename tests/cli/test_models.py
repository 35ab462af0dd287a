"""``score --model`` with whatever a user may take for a model: scores, or one sentence."""

from __future__ import annotations

import pathlib
import pickle
import re
import shlex
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import Result

from ladnet_fast import LANet
from ladnet_fast.data import read_manifest
from ladnet_fast.engine import load_model, read_scores, score_video

Run = Callable[..., Result]


@pytest.fixture
def net() -> LANet:
    """A small network of the manifest's width, with a prior that makes a difference."""
    torch.manual_seed(0)
    options = {"hidden_dim": 8, "mlp_dims": (16, 8), "prior": "logit", "sigma": 2.0}
    return LANet(feature_dim=6, **options).eval()


def in_a_zip(path: Path, name: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")


def in_a_tar(path: Path) -> None:
    path.with_suffix(".txt").write_text("x")
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_suffix(".txt"))


def cut(path: Path, state: dict, keep: float, **how: object) -> None:
    torch.save(state, path, **how)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(len(whole) * keep))])


def cut_safetensors(path: Path, state: dict, keep: int) -> None:
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:keep])


OLD = {"_use_new_zipfile_serialization": False}
#: What lies there, and a part of what is said about it.
NO_MODELS: dict[str, tuple[Callable[[Path, LANet], object], str]] = {
    "empty.pt": (lambda p, n: p.write_bytes(b""), "is empty (0 bytes)"),
    "empty.safetensors": (lambda p, n: p.write_bytes(b""), "is empty (0 bytes)"),
    "noise.pt": (lambda p, n: p.write_bytes(bytes(range(7, 256)) * 9), "holds no weights"),
    "noise.safetensors": (lambda p, n: p.write_bytes(bytes(range(256))), "not a whole"),
    "zeros.pkl": (lambda p, n: p.write_bytes(bytes(5000)), "holds no weights"),
    "text.pth": (lambda p, n: p.write_text("hello\n" * 50), "holds no weights"),
    "page.pth": (lambda p, n: p.write_text("<!DOCTYPE html>\n<html>"), "a web page"),
    "pointer.pt": (
        lambda p, n: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "pointer of Git LFS",
    ),
    "features.npy": (lambda p, n: np.save(p, np.zeros((3, 6))), "one NumPy array"),
    "arrays.npz": (lambda p, n: np.savez(p, a=np.zeros(3)), "ZIP archive without weights"),
    "any.zip": (lambda p, n: in_a_zip(p, "a/b"), "ZIP archive without weights"),
    "fake.pt": (lambda p, n: in_a_zip(p, "a/data.pkl"), "is damaged"),
    "old.tar": (lambda p, n: in_a_tar(p), "holds no weights"),
    "module.pt": (lambda p, n: torch.save(n, p), "holds pickled objects (ladnet_fast.nn"),
    "module-old.pt": (lambda p, n: torch.save(n, p, **OLD), "holds pickled objects"),
    "path.pt": (
        lambda p, n: torch.save({"model": n.state_dict(), "args": pathlib.Path("x")}, p),
        "holds pickled objects (pathlib.",
    ),
    "numpy.pt": (lambda p, n: torch.save({"loss": np.float64(1)}, p), "pickled objects (numpy."),
    "pickle.pkl": (lambda p, n: p.write_bytes(pickle.dumps(n.state_dict())), "is damaged, or"),
    "pickle2.pkl": (lambda p, n: p.write_bytes(pickle.dumps({"a": 1}, 2)), "is damaged, or"),
    "list.pt": (lambda p, n: torch.save([1, 2], p), "holds list, not a state dict"),
    "tensor.pt": (lambda p, n: torch.save(torch.zeros(3), p), "holds Tensor, not a state dict"),
    "nothing.pt": (lambda p, n: torch.save({}, p), "holds no tensors"),
    "numbers.pt": (lambda p, n: torch.save({"epoch": 3}, p), "has epoch, none of them a tensor"),
    "inside.pt": (lambda p, n: torch.save({"a": torch.ones(1), "b": {}}, p), "the entry b is dict"),
    "unnamed.pt": (lambda p, n: torch.save({0: torch.ones(1)}, p), "has a name; got 0"),
    "other.pt": (
        lambda p, n: torch.save(torch.nn.Linear(2, 3).state_dict(), p),
        "holds other weights than LA-Net's: it has weight, bias",
    ),
    "two.pt": (
        lambda p, n: torch.save({"model": n.state_dict(), "state_dict": n.state_dict()}, p),
        "several state dicts (state_dict, model)",
    ),
    "twice.pt": (
        lambda p, n: torch.save({"module.a": torch.ones(1), "a": torch.ones(1)}, p),
        "has the entry a twice",
    ),
    "integers.pt": (
        lambda p, n: torch.save({k: v.long() for k, v in n.state_dict().items()}, p),
        "must hold floating-point numbers; got int64",
    ),
    "complex.pt": (
        lambda p, n: torch.save({k: v.cfloat() for k, v in n.state_dict().items()}, p),
        "must hold floating-point numbers; got complex64",
    ),
    "nan.pt": (
        lambda p, n: torch.save({k: v / 0 for k, v in n.state_dict().items()}, p),
        "are NaN or infinite",
    ),
    "double.pt": (
        lambda p, n: torch.save({k: v.double() + 1e300 for k, v in n.state_dict().items()}, p),
        "too large for float32",
    ),
    "sparse.pt": (
        lambda p, n: torch.save({k: v.to_sparse() for k, v in n.state_dict().items()}, p),
        "must be a dense tensor",
    ),
    "meta.pt": (
        lambda p, n: torch.save({k: v.to("meta") for k, v in n.state_dict().items()}, p),
        "must be a dense tensor; got one without data",
    ),
    "flat.pt": (
        lambda p, n: torch.save({k: v.flatten() for k, v in n.state_dict().items()}, p),
        "must have 2 axes",
    ),
    **{
        f"cut{i}.pt": (lambda p, n, k=keep: cut(p, n.state_dict(), k), "")
        for i, keep in enumerate((0.0, 0.02, 0.5, 0.999))
    },
    **{
        f"cut-old{i}.pt": (lambda p, n, k=keep: cut(p, n.state_dict(), k, **OLD), "")
        for i, keep in enumerate((0.0, 0.02, 0.5, 0.999))
    },
    **{
        f"cut{keep}.safetensors": (lambda p, n, k=keep: cut_safetensors(p, n.state_dict(), k), "")
        for keep in (1, 7, 9, 300, 1500, -1)
    },
}  # fmt: skip


def refusal(result: Result, name: str) -> str:
    """Return the message, which is one line that names the file and shows nothing of PyTorch's."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), "a traceback"
    lines = result.output.strip().splitlines()
    assert len(lines) == 1, result.output
    assert lines[0].startswith("error: ")
    assert name in lines[0]
    for word in ("weights_only", "Traceback", "Warning", "pytorch.org", "UnpicklingError"):
        assert word not in lines[0]
    assert len(lines[0]) < 700
    return lines[0]


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_no_model_gives_one_sentence(
    run: Run, manifest: Path, tmp_path: Path, net: LANet, name: str
) -> None:
    write, words = NO_MODELS[name]
    write(tmp_path / name, net)
    result = run("score", manifest, "--model", tmp_path / name, "--out", tmp_path / "scores")
    assert words in refusal(result, name)
    assert not (tmp_path / "scores").exists()


def test_folders_and_checkpoints_name_what_to_give_instead(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "scores")
    empty = run("score", manifest, "--model", tmp_path, *out)
    message = refusal(empty, str(tmp_path))
    assert "it holds the runs run: name one of them" in message
    state = run("score", manifest, "--model", trained / "checkpoint.safetensors", *out)
    message = refusal(state, "checkpoint.safetensors")
    named = re.search(r"its model is (\S+)", message)
    assert named
    assert run("score", manifest, "--model", named[1], *out, "--no-plots").exit_code == 0


def wrapped(state: dict, how: str) -> dict:
    if how == "module.":
        return {f"module.{name}": entry for name, entry in state.items()}
    if how == "_orig_mod.module.":
        return {f"_orig_mod.module.{name}": entry for name, entry in state.items()}
    return {how: state, "epoch": 3, "optimizer": {"state": {}}} if how else state


WAYS = ("", "module.", "_orig_mod.module.", "state_dict", "model", "model_state_dict")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("how", WAYS)
def test_saved_state_dict_scores_with_what_the_message_says_to_write(
    run: Run, manifest: Path, tmp_path: Path, net: LANet, how: str, old: bool
) -> None:
    path = tmp_path / "mine here.pt"
    torch.save(
        OrderedDict(wrapped(dict(net.state_dict()), how)),
        path,
        _use_new_zipfile_serialization=not old,
    )
    command = ("score", manifest, "--model", path, "--out", tmp_path / "scores", "--no-plots")
    message = refusal(run(*command), "mine here.pt")
    assert "prior (additive or logit)" in message
    assert not (tmp_path / "scores").exists()
    echo = re.search(r"echo .*/config\.yaml'?(?=;)", message)
    assert echo
    remedy = echo[0].replace("prior: additive", "prior: logit")
    subprocess.run(["sh", "-c", remedy], check=True)
    assert shlex.split(remedy)[-1] == str(tmp_path / "config.yaml")
    result = run(*command)
    assert result.exit_code == 0, result.output
    videos = read_manifest(manifest)
    scores = read_scores(tmp_path / "scores", videos)
    assert all(np.array_equal(scores[v.name], score_video(net, v)) for v in videos)


def test_what_a_message_says_to_save_is_read(tmp_path: Path, net: LANet) -> None:
    """``torch.save(net.state_dict(), 'weights.pt')``, where the whole module was saved before."""
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    options = {"prior": "logit", "query_dim": None}
    loaded = load_model(tmp_path / "weights.pt", options=options)
    x = torch.randn(1, 9, 6)
    assert torch.equal(loaded(x).scores, net(x).scores)


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prior": "logit", "prior_form": "exp_abs", "num_heads": 2},
        {"prior": "none", "num_heads": 4, "mlp_dims": (16, 8, 4), "kernel_size": 3},
        {"learn_prior": False, "sigma": 3.0},
    ],
)
def test_a_state_dict_of_torch_save_says_itself_how_its_network_was_made(
    run: Run, tmp_path: Path, options: dict, parallel: bool, wrap: str | None
) -> None:
    net = LANet(feature_dim=8, hidden_dim=16, **options).eval()
    state = (torch.nn.DataParallel(net) if parallel else net).state_dict()
    torch.save(state if wrap is None else {wrap: state, "epoch": 3}, tmp_path / "w.pt")
    loaded = load_model(tmp_path / "w.pt")
    x = torch.randn(2, 9, 8)
    assert torch.equal(loaded(x).scores, net(x).scores)
    np.save(tmp_path / "a.npy", x[0].numpy())
    result = run("score", tmp_path / "a.npy", "--model", tmp_path / "w.pt", "--out", tmp_path / "s")
    assert result.exit_code == 0, result.output


def test_the_entries_of_a_state_dict_stay_what_they_are() -> None:
    net = LANet(feature_dim=8)
    assert set(net.state_dict()) == {name for name, _ in net.named_parameters()}
    assert all(isinstance(entry, torch.Tensor) for entry in net.state_dict().values())
