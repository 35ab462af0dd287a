"""Bad input of the public API, generated: every error names the argument, what it got, what may be.

Doors are public functions with good arguments. Each of their arguments is replaced by every bad
value of its kind, one at a time.
"""

from __future__ import annotations

import functools
import math
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss, LANet, data, engine, metrics, use_impl
from ladnet_fast.video import extract_to_files, read_frames

Door = tuple[str, Callable[..., Any], dict[str, Any], dict[str, list[Any]]]

Q = torch.randn(2, 2, 5, 4)
X = torch.randn(2, 5, 24)
S, F, Y = torch.rand(2, 5), torch.randn(2, 5, 4), torch.tensor([1, 0])
SMALL = {"feature_dim": 24, "hidden_dim": 16, "mlp_dims": (20, 12), "kernel_size": 3}
VIDEO = data.Video("v", (data.FeatureSource(Path("v.npy")),), 0, num_frames=33)
VIDEOS = [
    data.Video(f"v{i}", (data.FeatureSource(Path(f"v{i}.npy")),), i % 2, fold=i % 2, split="train")
    for i in range(8)
]

# Bad values by kind of argument.
NO_NUMBER = ["1", True, None, math.nan, [1.0], {}, 1j, torch.ones(2)]
REAL = [*NO_NUMBER, math.inf, -math.inf, 10**400]
POSITIVE = [*REAL, -0.5]
NO_INTEGER = ["3", 1.5, True, None, math.nan, [3], 3j]
COUNT = [*NO_INTEGER, 0, -1]
NAMES = [None, "", "x", 1, b"x", math.nan]
CHOICE = [*NAMES, ["additive"], {}, np.array(["a", "b"])]
SWITCH = ["no", "False", None, 2, math.nan, []]
PATHS = ["missing", "folder", "empty", "junk", "nul\0byte", "x" * 5000]


def tensors(good: torch.Tensor) -> list[Any]:
    """Return what may be given for a floating tensor by mistake."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantized tensors are on their way out of PyTorch
        quantized = torch.quantize_per_tensor(good.float(), 0.1, 0, torch.qint8)
    return [
        None, 1.5, "x", good.tolist(), good.numpy(), good[0], good[None], good.int(), good.bool(),
        good.to(torch.complex64), good.to(torch.float8_e4m3fn), good.to_sparse(), quantized,
        good.to("meta"), good[:, :-1], good[:1],
    ]  # fmt: skip


VECTOR = [
    [2, 2], 2, "x", np.array([2, 2]), torch.tensor([2.0, 2.0]), torch.tensor([True, True]),
    torch.tensor([2, 2], dtype=torch.int16), torch.tensor([[2], [2]]), torch.tensor(2),
    torch.tensor([2]), torch.tensor([2, 2, 2]), torch.tensor([-1, 2]), torch.tensor([2, 6]),
    torch.tensor([2, 2], device="meta"), torch.tensor([2, 2]).to_sparse(), torch.tensor([2j, 2j]),
]  # fmt: skip
OFFSETS = [
    [0, 5], torch.tensor([0.0, 5.0]), torch.tensor([[0, 5]]), torch.tensor([0, 4]),
    torch.tensor([1, 5]), torch.tensor([0, 3, 2, 5]), torch.tensor([], dtype=torch.int64),
    torch.tensor([0]), torch.tensor([0, 5], device="meta"), torch.tensor([0, -1, 5]), "x", 5,
]  # fmt: skip
LABELS = [
    None, [1, 0], "x", np.array([1, 0]), torch.tensor([2, 0]), torch.tensor([-1, 0]),
    torch.tensor([0.5, 0.0]), torch.tensor([math.nan, 0.0]), torch.tensor([math.inf, 0.0]),
    torch.tensor([1]), torch.tensor([1, 0, 1]), torch.tensor([[1, 0]]), torch.tensor(1),
    torch.tensor([1j, 0]), torch.tensor([1, 0], device="meta"), torch.tensor([1, 0]).to_sparse(),
]  # fmt: skip


class Case(NamedTuple):
    """One call that must fail: ``call(**good | {argument: value})``."""

    door: str
    call: Callable[..., Any]
    good: dict[str, Any]
    argument: str
    value: Any


def doors() -> Iterator[Door]:
    """Yield a door's name, the function, good arguments, and bad values by argument."""
    attention = {"q": Q, "k": Q, "v": Q, "prior_w": torch.ones(2), "prior_b": torch.zeros(2)}
    prior = [[1.0, 1.0], torch.ones(3), torch.ones(2, 1), torch.ones(2).half(), "x"]
    prior += [torch.ones(2, dtype=torch.int64), torch.ones(2).to("meta"), torch.ones(2).to_sparse()]
    yield "LF.locality_attention", LF.locality_attention, attention, {
        "q": tensors(Q), "k": tensors(Q), "v": tensors(Q), "prior_w": prior, "prior_b": prior,
        "prior": CHOICE, "scale": [v for v in REAL if v is not None], "lengths": VECTOR,
        "impl": CHOICE, "return_lse": SWITCH,
    }  # fmt: skip
    packed = attention | dict.fromkeys("qkv", Q[:1])
    yield "packed attention", LF.locality_attention, packed, {"cu_seqlens": OFFSETS}
    options = {
        "ranking_weight": POSITIVE, "alignment_weight": POSITIVE, "margin": POSITIVE,
        "eps": [*POSITIVE, 0], "topk_divisor": [*COUNT, 10**30], "pairing": CHOICE,
        "select": CHOICE, "detach": CHOICE, "impl": CHOICE,
    }  # fmt: skip
    yield "DDLLoss", DDLLoss, {}, options
    yield "LF.ddl_loss", LF.ddl_loss, {"scores": S, "features": F, "labels": Y}, options | {
        "scores": tensors(S), "features": tensors(F), "labels": LABELS,
        "lengths": [*VECTOR, torch.tensor([0, 5])], "margin": [*POSITIVE, 1e39],
    }  # fmt: skip
    yield "packed loss", LF.ddl_loss, {"scores": S[0], "features": F[0], "labels": Y[:1]}, {
        "cu_seqlens": [*OFFSETS, torch.tensor([0, 0, 5])],
    }  # fmt: skip
    sizes = [*COUNT, 10**12, 10**30]
    yield "LANet", LANet, SMALL, {
        "feature_dim": sizes, "hidden_dim": sizes, "num_heads": [*COUNT, 3, 10**12],
        "kernel_size": sizes, "query_dim": [v for v in sizes if v is not None],
        "mlp_dims": [None, 12, "12", (), (0,), (1.5,), ("12",), (True,), {20, 12}, (10**13,)],
        "dropout": [*POSITIVE, 1.0, 1.5], "sigma": [*POSITIVE, 0, 1e39, 1e300, 1e-300],
        "prior": CHOICE, "prior_form": CHOICE, "impl": CHOICE, "learn_prior": SWITCH,
    }  # fmt: skip
    fewer = [X[..., :20], X.double(), X.half(), X.bfloat16()]
    alone = [x for x in tensors(X) if not (isinstance(x, torch.Tensor) and fits(x))]
    yield "LANet()", LANet(**SMALL), {"x": X}, {"x": [*alone, *fewer], "lengths": VECTOR}
    query = torch.randn(2, 5, 8)
    yield "LANet(query_dim)()", LANet(**SMALL, query_dim=8), {"x": X, "query": query}, {
        "query": [*tensors(query)[1:], query[..., :5], query.double(), query.bfloat16()],
    }  # fmt: skip
    yield "use_impl", use_impl, {"name": "auto"}, {"name": NAMES}
    yield from data_doors()
    yield from other_doors()


def fits(x: torch.Tensor) -> bool:
    """Whether ``x`` is a good batch after all: one with fewer bags or snippets is."""
    dense = x.layout == torch.strided and x.device.type == "cpu" and x.dtype == torch.float32
    return dense and x.dim() == 3


def data_doors() -> Iterator[Door]:
    """Yield readers and what divides and samples videos."""
    axes = ["", "x", 1, b"x", math.nan]
    yield "read_list", data.read_list, {"path": "list", "layout": "ucf-i3d"}, {
        "path": PATHS, "layout": NAMES, "labels": NAMES, "axes": axes, "queries": ["missing"],
        "anomalous_names": ["missing", ["nobody"]], "remap": [("/a", "/b")],
    }  # fmt: skip
    for name, read in (
        ("read_manifest", data.read_manifest), ("read_annotations", data.read_annotations),
        ("read_frame_labels", data.read_frame_labels),
    ):  # fmt: skip
        yield name, read, {"path": "good"}, {"path": PATHS}
    yield "load_features", data.load_features, {"source": "good.npy"}, {
        "source": PATHS, "crop": [-1, 1, 10**30], "axes": axes,
    }  # fmt: skip
    yield "feature_shape", data.feature_shape, {"source": "good.npy"}, {
        "source": PATHS, "axes": axes,
    }  # fmt: skip
    frames = {"intervals": [data.Interval(1, 5, None)], "num_frames": 9, "boundaries": "[s,e)"}
    yield "intervals_to_frames", data.intervals_to_frames, frames, {"boundaries": NAMES}
    yield "ground_truth_length", data.ground_truth_length, {"video": VIDEO, "num_snippets": 2}, {
        "length_rule": NAMES,
    }  # fmt: skip
    truth = {"videos": VIDEOS, "num_snippets": [2] * 8}
    yield "load_ground_truth", data.load_ground_truth, truth, {
        "videos": [[]], "num_snippets": [[2], [0] * 8], "boundaries": axes, "length_rule": NAMES,
    }  # fmt: skip
    yield "select_split", data.select_split, {"videos": VIDEOS, "split": "train"}, {
        "videos": [[]], "split": NAMES,
    }  # fmt: skip
    yield "split_by_fold", data.split_by_fold, {"videos": VIDEOS, "fold": 0}, {
        "videos": [[]], "fold": [7, -1],
    }  # fmt: skip
    yield (
        "stratified_folds",
        data.stratified_folds,
        {"videos": VIDEOS, "k": 2},
        {"k": [0, -1, 1, 5]},
    )
    yield "train_validation_split", data.train_validation_split, {"videos": VIDEOS}, {
        "fraction": [0, 1, 1.5, -0.5, math.nan, math.inf], "videos": [[]],
    }  # fmt: skip
    yield "linspace_indices", data.linspace_indices, {"length": 9}, {"length": [0, -1], "size": [0]}
    yield "bin_mean", data.bin_mean, {"features": np.ones((9, 2))}, {
        "bins": [0, -1], "features": [np.ones(9), np.ones((0, 2))],
    }  # fmt: skip
    yield "EpochSampler", data.EpochSampler, {"size": 3}, {"size": [0, -1]}
    yield "BalancedBatchSampler", data.BalancedBatchSampler, {"labels": [0, 1], "batch_size": 2}, {
        "batch_size": [0, -1, 1],
    }  # fmt: skip
    yield "Video", data.Video, {"name": "v", "features": VIDEO.features, "label": 0}, {
        "name": [""], "label": [2, -1, "1", 0.5, math.nan], "axes": axes,
        "num_frames": [0, -1], "frames_per_snippet": [0, -1],
    }  # fmt: skip


def other_doors() -> Iterator[Door]:
    """Yield metrics, configuration, models and videos."""
    scores = {"scores": [[0.1, 0.9]], "ground_truth": [[0, 1]], "labels": [1]}
    yield "metrics.evaluate", metrics.evaluate, scores, {
        "scores": [[], [[math.nan, 0.1]], [[0.1]], [[[0.1, 0.2]]], [[]]],
        "ground_truth": [[], [[0]]], "labels": [[], [2], ["1"], [0.5]], "classes": [["Abuse"], []],
        "names": [[]],
    }  # fmt: skip
    yield "frame_scores", metrics.frame_scores, {"scores": [0.1, 0.9], "frames_per_snippet": 16}, {
        "scores": [[], [[0.1]], [math.nan]], "frames_per_snippet": [0, -1],
        "num_frames": [0, -1, 99],
    }  # fmt: skip
    yield "smooth", metrics.smooth, {"scores": [0.1, 0.9], "kind": "fixed", "k": 2}, {
        "scores": [[], [math.inf]], "kind": NAMES, "k": [0, -1], "edge": NAMES,
    }  # fmt: skip
    rate = [True, None, math.nan, math.inf, [1.0], {}, 1j, -0.5]
    sections = {
        "model": {
            "hidden_dim": COUNT, "prior": NAMES, "dropout": [*rate, 1], "num_heads": [3],
            "mlp_dims": [None, 12, "x", []], "sigma": [*rate, 0, 1e300], "kernel_size": COUNT,
        },
        "loss": {
            "ranking_weight": rate, "margin": rate, "eps": [*rate, 0], "pairing": NAMES,
            "topk_divisor": COUNT, "ddl": SWITCH,
        },
        "training": {
            "epochs": COUNT, "batch_size": COUNT, "lr": [*rate, 0], "schedule": NAMES,
            "validation": [*rate, 1], "workers": NO_INTEGER, "seed": NO_INTEGER, "balanced": SWITCH,
        },
    }  # fmt: skip
    for section, bad in sections.items():
        start = {"feature_dim": 24, "hidden_dim": 16} if section == "model" else {}
        yield f"Config.{section}", functools.partial(configured, section), start, bad
    yield "load_config", engine.load_config, {"path": "good"}, {
        "path": ["missing", "folder", "junk", "nul\0byte"],
    }  # fmt: skip
    yield "load_model", engine.load_model, {"source": "run"}, {"source": PATHS}
    yield "read_scores", engine.read_scores, {"folder": "s", "videos": VIDEOS}, {
        "folder": ["missing", "junk"],
    }  # fmt: skip
    yield "read_frames", lambda **given: list(read_frames(**given)), {"path": "clip.mp4"}, {
        "path": ["missing", "folder", "empty", "junk"], "size": [(0, 5), (5,), (-1, 4)],
        "max_frames": [0, -1],
    }  # fmt: skip
    yield "extract_to_files", extract_to_files, {"videos": ["clip.mp4"], "out_dir": "out"}, {
        "crops": [0, 3, "3", None, -1], "videos": [[]],
    }  # fmt: skip


def configured(section: str, **options: Any) -> object:
    """Read a section of a configuration, and build the model that it describes."""
    config = engine.Config.from_dict({section: options})
    return config.model.build() if section == "model" else config


CASES = [
    Case(door, call, good, argument, value)
    for door, call, good, bad in doors()
    for argument, values in bad.items()
    for value in values
]


def _words(value: Any) -> Iterator[str]:
    yield from (str(value), type(value).__name__)
    if isinstance(value, torch.Tensor | np.ndarray):
        yield from (str(tuple(value.shape)), str(value.dtype), f"got {value.shape[:1]}")
    if isinstance(value, torch.Tensor):
        yield from (str(value.device), str(value.layout))
    if isinstance(value, int) and abs(value) > 10**40:
        yield f"{value.bit_length()} bits"
    if isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.dim() <= 1:
        value = value.to_dense().tolist()
    if isinstance(value, list | tuple | set) and len(value) < 20:
        yield f"{len(value)}"
        yield "empty"
        for entry in value:
            yield from _words(entry)
    elif isinstance(value, torch.Tensor):
        yield f"{value.shape[-1]} features"


#: What is allowed, or what to do.
ALLOWED = re.compile(
    r"must|expected|expects|allowed|needs?\b|at least|one of|agree|exist|no such|does not|doesn't|"
    r"finite|have|is empty|read from|move it|convert it|give|check that|first path is|not valid|"
    r"too long|or None|the splits are|is not the folder|not a file|no text",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the bad paths name: a folder, an empty file, a file of junk."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    (folder / "junk").write_bytes(bytes(range(256)) * 4)
    (folder / "list").write_text("Abuse028.npy\n")
    np.save(folder / "good.npy", np.ones((4, 3), np.float32))
    return folder


def _id(case: Case) -> str:
    return f"{case.door}-{case.argument}-{' '.join(repr(case.value).split())[:30]}"


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_the_error_names_the_argument_what_was_given_and_what_is_allowed(case, place, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises((TypeError, ValueError, OSError)) as caught:
        case.call(**case.good | {case.argument: case.value})
    text = str(caught.value)
    is_path = isinstance(case.value, str) and case.value in PATHS
    name = "use_impl" if case.door == "use_impl" else case.argument
    assert re.search(rf"\b{name}\b", text) or (is_path and case.value[:50] in text), text
    assert any(word in text for word in _words(case.value)), text
    assert ALLOWED.search(text), text
    assert "\n" not in text.strip() or "command" in text or "  " in text, text
    assert "Traceback" not in text
    assert len(text) < 1000 + len(str(case.value)) * is_path, text


def test_there_are_more_than_two_hundred_at_every_kind_of_door():
    doors_ = {case.door for case in CASES}
    assert len(CASES) > 900
    assert {"LANet", "DDLLoss", "LF.locality_attention", "LF.ddl_loss", "load_model"} < doors_
    assert {"read_list", "metrics.evaluate", "Config.training", "read_frames"} < doors_
