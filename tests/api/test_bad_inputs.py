"""Bad input of the public API, generated: every error names the argument, what it got, what may be.

Doors are public functions with good arguments. Each of their arguments is replaced by every bad
value of its kind, one at a time.
"""

from __future__ import annotations

import dataclasses
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
from ladnet_fast.data.annotations import read_num_frames
from ladnet_fast.video import extract_features, extract_to_files, frames, read_frames
from ladnet_fast.video.decode import announced_frames, frame_rate
from ladnet_fast.video.features import iter_features, snippet_features

Door = tuple[str, Callable[..., Any], dict[str, Any], dict[str, list[Any]]]

_SEED = torch.Generator().manual_seed(0)
Q = torch.randn(2, 2, 5, 4, generator=_SEED)
X = torch.randn(2, 5, 24, generator=_SEED)
S, F = torch.rand(2, 5, generator=_SEED), torch.randn(2, 5, 4, generator=_SEED)
Y = torch.tensor([1, 0])
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
ARRAY = np.array(["a", "b"])  # whose comparisons have no truth value
OPTIONS = [*[v for v in NAMES if v is not None], ["x"], {}, ARRAY]
OPTIONAL_COUNT = [v for v in COUNT if v is not None]
SEED = [v for v in NO_INTEGER if v is not None]
NO_TEXT = [3, 1.5, b"x", ["x"], math.nan, ARRAY]
NO_PATH = [3, 1.5, b"x", ["x"], math.nan, {}]
NO_LIST = [None, 3, "x", math.nan, {}, np.array(1)]
VECTORS = [["a"], ["0.5"], [None], [1j], [[0.1], [0.1, 0.2]], "x", None, [10**400]]
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
    query = torch.randn(2, 5, 8, generator=_SEED)
    yield "LANet(query_dim)()", LANet(**SMALL, query_dim=8), {"x": X, "query": query}, {
        "query": [*tensors(query)[1:], query[..., :5], query.double(), query.bfloat16()],
    }  # fmt: skip
    yield "use_impl", use_impl, {"name": "auto"}, {"name": CHOICE}
    yield from data_doors()
    yield from other_doors()


def fits(x: torch.Tensor) -> bool:
    """Whether ``x`` is a good batch after all: one with fewer bags or snippets is."""
    dense = x.layout == torch.strided and x.device.type == "cpu" and x.dtype == torch.float32
    return dense and x.dim() == 3


def data_doors() -> Iterator[Door]:
    """Yield readers and what divides and samples videos."""
    yield "read_list", data.read_list, {"path": "list", "layout": "ucf-i3d"}, {
        "path": [*PATHS, *NO_PATH, None], "layout": [*CHOICE, ["a"]], "labels": CHOICE,
        "axes": OPTIONS, "queries": ["missing", *NO_PATH], "root": NO_PATH,
        "anomalous_names": ["missing", ["nobody"], 3, b"x", [3], math.nan],
        "remap": [("/a", "/b"), "ab", 3, ("/a",), ("/a", None), ["a", "b", "c"]],
        "normal_folders": ["normal", 3, [3], None], "anomalous_folders": ["anomalous", [None]],
        "num_frames": NO_PATH[:-1], "frames_per_snippet": OPTIONAL_COUNT, "split": NO_TEXT,
        "check_files": SWITCH,
    }  # fmt: skip
    for name, read in (
        ("read_manifest", data.read_manifest), ("read_annotations", data.read_annotations),
        ("read_num_frames", read_num_frames),
    ):  # fmt: skip
        yield name, read, {"path": "good"}, {"path": [*PATHS, *NO_PATH, None]}
    yield "read_frame_labels", data.read_frame_labels, {"path": "good"}, {
        "path": [*PATHS, *NO_PATH, None],
    }  # fmt: skip
    yield "read_manifest", data.read_manifest, {"path": "good"}, {"check_files": SWITCH}
    yield "write_manifest", data.write_manifest, {"path": "new.csv", "videos": VIDEOS}, {
        "path": [*NO_PATH, None], "videos": [*NO_LIST, [], [3], VIDEO, ["v"]],
    }  # fmt: skip
    yield "load_features", data.load_features, {"source": "good.npy"}, {
        "source": [*PATHS, *NO_PATH, None], "crop": [*NO_INTEGER, -1, 1, 10**30], "axes": OPTIONS,
    }  # fmt: skip
    yield "feature_shape", data.feature_shape, {"source": "good.npy"}, {
        "source": [*PATHS, *NO_PATH, None], "axes": OPTIONS,
    }  # fmt: skip
    yield "FeatureSource", data.FeatureSource, {"path": "x.h5"}, {
        "path": [*NO_PATH, None], "key": NO_TEXT,
    }  # fmt: skip
    given = {"intervals": [data.Interval(1, 5, None)], "num_frames": 9, "boundaries": "[s,e)"}
    yield "intervals_to_frames", data.intervals_to_frames, given, {
        "boundaries": CHOICE, "slack": [*NO_INTEGER, -1], "num_frames": [*NO_INTEGER, -1, 10**30],
        "class_name": NO_TEXT, "intervals": [
            None, 3, [(1, 5)], ["1 5"], [data.Interval(-5, -1, None)],
            [data.Interval(1.5, 3, None)], [data.Interval(1, "3", None)],
        ],
    }  # fmt: skip
    length = {"video": VIDEO, "num_snippets": 2, "length_rule": "snippets"}
    yield "ground_truth_length", data.ground_truth_length, length, {
        "length_rule": CHOICE, "num_snippets": [*OPTIONAL_COUNT, 10**30],
    }  # fmt: skip
    for rule in ("num_frames", "flow", "auto"):
        yield f"{rule} length", data.ground_truth_length, length | {"length_rule": rule}, {
            "num_snippets": OPTIONAL_COUNT,
        }  # fmt: skip
    truth = {"videos": VIDEOS, "num_snippets": [2] * 8}
    yield "load_ground_truth", data.load_ground_truth, truth, {
        "videos": [[], *NO_LIST, ["v"] * 8],
        "num_snippets": [[2], [0] * 8, *NO_LIST, *([2] * 7 + [v] for v in COUNT)],
        "boundaries": OPTIONS, "length_rule": CHOICE, "counted": CHOICE, "check_labels": SWITCH,
        "source": NO_PATH,
    }  # fmt: skip
    yield "select_split", data.select_split, {"videos": VIDEOS, "split": "train"}, {
        "videos": [[], *NO_LIST, [3]], "split": [*NAMES, *NO_TEXT],
    }  # fmt: skip
    yield "split_by_fold", data.split_by_fold, {"videos": VIDEOS, "fold": 0}, {
        "videos": [[], *NO_LIST, [3]], "fold": [7, -1, *NO_INTEGER],
    }  # fmt: skip
    yield "stratified_folds", data.stratified_folds, {"videos": VIDEOS, "k": 2}, {
        "k": [*COUNT, 1, 5], "videos": [[], *NO_LIST, [3]], "seed": [*NO_INTEGER, -1],
    }  # fmt: skip
    yield "train_validation_split", data.train_validation_split, {"videos": VIDEOS}, {
        "fraction": [*REAL, 0, 1, 1.5, -0.5], "videos": [[], *NO_LIST, [3]],
        "seed": [*NO_INTEGER, -1],
    }  # fmt: skip
    yield "linspace_indices", data.linspace_indices, {"length": 9}, {
        "length": [*COUNT, 10**30], "size": COUNT,
    }  # fmt: skip
    no_matrix = [np.ones(9), np.ones((0, 2)), *NO_LIST, [[1.0]], [["a"]]]
    yield "linspace_sample", data.linspace_sample, {"features": np.ones((9, 2))}, {
        "features": no_matrix, "size": COUNT,
    }  # fmt: skip
    yield "bin_mean", data.bin_mean, {"features": np.ones((9, 2))}, {
        "bins": [*COUNT, 10**30],
        "features": [*no_matrix, torch.ones(9, 2), np.ones((2, 2), complex), np.array([["a"]])],
    }  # fmt: skip
    yield "EpochSampler", data.EpochSampler, {"size": 3}, {"size": [*COUNT, 10**30], "seed": SEED}
    yield "BalancedBatchSampler", data.BalancedBatchSampler, {"labels": [0, 1], "batch_size": 2}, {
        "batch_size": [*COUNT, 1], "seed": SEED,
        "labels": [*NO_LIST, ["0", "1"], [0, None], [0, 1, 2], [[0, 1]], [0.5, 1.0], [0, math.nan]],
    }  # fmt: skip
    for name, sampler in (
        ("EpochSampler.set_epoch", data.EpochSampler(3)),
        ("BalancedBatchSampler.set_epoch", data.BalancedBatchSampler([0, 1], 2)),
    ):
        yield name, sampler.set_epoch, {"epoch": 0}, {"epoch": [*NO_INTEGER, -1]}
    npy = dataclasses.replace(VIDEO, features=(data.FeatureSource(Path("good.npy")),))
    yield "BagDataset", data.BagDataset, {"videos": [npy]}, {
        "videos": [[], *NO_LIST, [3]], "size": OPTIONAL_COUNT, "sampling": CHOICE, "crops": CHOICE,
        "preload": SWITCH,
    }  # fmt: skip
    bag = data.Bag(torch.ones(2, 3), 0, None)
    yield "collate", data.collate, {"bags": [bag]}, {
        "bags": [[], *NO_LIST, [3], ["bag"]], "pad_to": [*OPTIONAL_COUNT, 1],
    }  # fmt: skip
    yield "Video", data.Video, {"name": "v", "features": VIDEO.features, "label": 0}, {
        "name": ["", None, *NO_TEXT], "label": [2, -1, "1", 0.5, math.nan, [1], ARRAY, 1j],
        "axes": OPTIONS, "num_frames": [*OPTIONAL_COUNT, 10**30],
        "frames_per_snippet": [*OPTIONAL_COUNT, 10**30],
        "fold": [v for v in NO_INTEGER if v is not None], "split": NO_TEXT,
        "features": [(), *NO_LIST, "x.npy", ["x.npy"], (Path("x.npy"),), (None,)],
        "query": ["x.npy", 3, Path("x.npy")], "frame_labels": NO_PATH,
        "classes": [None, 3, "Abuse", [3], {"Abuse": 1}],
    }  # fmt: skip


def other_doors() -> Iterator[Door]:
    """Yield metrics, configuration, models and videos."""
    scores = {"scores": [[0.1, 0.9]], "ground_truth": [[0, 1]], "labels": [1]}
    yield "metrics.evaluate", metrics.evaluate, scores, {
        "scores": [
            [], [[math.nan, 0.1]], [[0.1]], [[[0.1, 0.2]]], [[]], *NO_LIST, {"v": [0.1, 0.9]},
            *([vector] for vector in VECTORS),
        ],
        "ground_truth": [
            [], [[0]], *NO_LIST, {0: [0, 1]}, [["a", "b"]], [[0, None]], [[0, 2]], [[0, 0.5]],
            [[[0], [0, 1]]], [None],
        ],
        "labels": [[], [2], ["1"], [0.5], *NO_LIST, [None], [[1]], [math.nan], [ARRAY]],
        "classes": [["Abuse"], [], [None], [3], [[3]], 3, "x", {0: ["Abuse"]}],
        "names": [[], 3, "x", {}], "threshold": REAL,
    }  # fmt: skip
    yield "frame_scores", metrics.frame_scores, {"scores": [0.1, 0.9], "frames_per_snippet": 16}, {
        "scores": [[], [[0.1]], [math.nan], *VECTORS], "num_frames": [*OPTIONAL_COUNT, 99, 10**30],
        "frames_per_snippet": [*OPTIONAL_COUNT, 10**30],
    }  # fmt: skip
    even = {"scores": [0.1, 0.9], "frames_per_snippet": None, "num_frames": 5}
    yield "frame_scores, evenly", metrics.frame_scores, even, {
        "num_frames": [*OPTIONAL_COUNT, 10**30],
    }  # fmt: skip
    yield "smooth", metrics.smooth, {"scores": [0.1, 0.9], "kind": "fixed", "k": 2}, {
        "scores": [[], [math.inf], *VECTORS], "kind": CHOICE, "k": [*COUNT, 10**30], "edge": CHOICE,
    }  # fmt: skip
    rate = [*REAL, "0.1", "nan", "inf", "1_0e5", "\N{ARABIC-INDIC DIGIT ONE}e5", -0.5]
    whole = [*COUNT, 10**30, 10**400, 10**5000]
    sections = {
        "model": {
            "hidden_dim": whole, "prior": CHOICE, "dropout": [*rate, 1], "num_heads": [*whole, 3],
            "mlp_dims": [None, 12, "x", [], [10**400], ["3"], [1.5], {3}, {3: 1}],
            "sigma": [*rate, 0, 1e300], "kernel_size": whole, "learn_prior": SWITCH,
        },
        "loss": {
            "ranking_weight": rate, "margin": rate, "eps": [*rate, 0], "pairing": CHOICE,
            "topk_divisor": whole, "ddl": SWITCH,
        },
        "training": {
            "epochs": whole, "batch_size": whole, "lr": [*rate, 0], "schedule": CHOICE,
            "validation": [*rate, 1], "workers": [*NO_INTEGER, -1, 10**400], "balanced": SWITCH,
            "clip_norm": [v for v in rate if v is not None], "seed": [*NO_INTEGER, -1, 10**400],
            "snippets": [v for v in whole if v is not None], "device": CHOICE,
        },
    }  # fmt: skip
    for section, bad in sections.items():
        start = {"feature_dim": 24, "hidden_dim": 16} if section == "model" else {}
        yield f"Config.{section}", functools.partial(configured, section), start, bad
    yield "Config", engine.Config, {}, {key: [None, 3, {}, "x"] for key in sections}
    yield "Config.from_dict", engine.Config.from_dict, {"sections": {}}, {
        "sections": [None, 3, "x", []],
    }  # fmt: skip
    no_section = {name: [3, "x", [], True] for name in sections}
    yield "Config.replace", engine.Config().replace, {}, no_section
    yield "Config.override", engine.Config().override, {"assignments": []}, {
        "assignments": [None, 3, "training.epochs=3", [3], [None]], "training": [3, "x", []],
    }  # fmt: skip
    yield "load_config", engine.load_config, {"path": "good"}, {
        "path": ["missing", "folder", "junk", "nul\0byte", *NO_PATH, None],
    }  # fmt: skip
    save = {"path": "new.yaml", "config": engine.Config()}
    yield "save_config", engine.save_config, save, {"path": [*NO_PATH, None]}
    yield "load_model", engine.load_model, {"source": "run"}, {
        "source": [*PATHS, *NO_PATH, None],
    }  # fmt: skip
    yield "read_scores", engine.read_scores, {"folder": "s", "videos": VIDEOS}, {
        "folder": ["missing", "junk", *NO_PATH, None],
    }  # fmt: skip
    yield from video_doors()


def video_doors() -> Iterator[Door]:
    """Yield what reads videos and extracts features."""
    sizes = [(0, 5), (5,), (-1, 4), 5, "55", (1.5, 2), ("3", 4), (True, 4), (math.nan, 4), {5, 4}]
    yield "read_frames", lambda **given: list(read_frames(**given)), {"path": "clip.mp4"}, {
        "path": ["missing", "folder", "empty", "junk", *NO_PATH, None], "size": sizes,
        "max_frames": [*OPTIONAL_COUNT, 10**30],
    }  # fmt: skip
    for name, read in (("announced_frames", announced_frames), ("frame_rate", frame_rate)):
        yield name, read, {"path": "clip.mp4"}, {"path": [*NO_PATH, None]}
    frame = np.zeros((4, 5, 3), np.uint8)
    yield "resize", frames.resize, {"frame": frame, "size": (2, 3)}, {
        "size": [*sizes, None], "frame": [None, 3, frame.tolist(), frame[0], frame.astype(float)],
    }  # fmt: skip
    yield "short_side_size", frames.short_side_size, {"height": 4, "width": 5}, {
        "height": COUNT, "width": COUNT, "short": COUNT,
    }  # fmt: skip
    crops = [*COUNT, 3, 10.0, ARRAY]
    many = {"frames": torch.zeros(1, 6, 6, 3), "crops": 5, "size": 4}
    yield "cut_crops", frames.cut_crops, many, {
        "crops": crops, "size": [*COUNT, 7], "frames": [None, 3, torch.zeros(6, 6, 3), "x"],
    }  # fmt: skip
    model = torch.nn.Module()
    model.conv_1a = torch.nn.Module()
    model.conv_1a.conv = torch.nn.Linear(1, 1)
    net = {"model": model, "batch": 8}
    common = {"model": [None, 3, "i3d", torch.nn.Linear(1, 1)], "batch": OPTIONAL_COUNT}
    yield "snippet_features", snippet_features, net | {"frames": frame}, common | {
        "frames": [None, 3, "x", frame.tolist(), torch.zeros(4), frame.astype(float)],
    }  # fmt: skip
    for name, read in (("iter_features", iter_features), ("extract_features", extract_features)):
        yield name, read, net | {"video": "missing"}, common | {
            "crops": crops, "video": [*NO_PATH, None], "progress": [3, "x", []],
        }  # fmt: skip
    # The video is missing: whatever else is wrong has to be said before that.
    yield "extract_to_files", extract_to_files, {"videos": ["missing.mp4"], "out_dir": "out"}, {
        "crops": crops, "videos": [[], None, 3, [3], [None], [b"x"]], "batch": OPTIONAL_COUNT,
        "out_dir": [*NO_PATH, None], "overwrite": SWITCH, "progress": [3, "x", []],
        "dtype": ["float32", torch.int8, torch.complex64, 3, np.float32, [torch.float32], ARRAY],
        "device": ["gpu", "", "cpu:x", "cuda:99", "meta", 1.5, True, [], b"cpu", -1],
        "model": common["model"][1:],
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
    if isinstance(value, int) and abs(value) > 10**40:  # str() of a larger one is refused
        yield f"{value.bit_length()} bits"
        yield str(value)[:60] if abs(value) < 10**1000 else "bits"
        return
    yield from (str(value), type(value).__name__)
    if isinstance(value, torch.Tensor | np.ndarray):
        yield from (str(tuple(value.shape)), str(value.dtype), f"got {value.shape[:1]}")
    if isinstance(value, torch.Tensor):
        yield from (str(value.device), str(value.layout))
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
    r"too long|or None|the splits are|is not the folder|not a file|not text",
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
    """Return the same name in every process: values print at random, or with an address."""
    plain = isinstance(case.value, (str, bool, float, type(None)))
    value = repr(case.value)[:30] if plain else type(case.value).__name__
    return f"{case.door}-{case.argument}-{value}"


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
    assert len(text) < 1000 + (len(case.value) if is_path else 0), text


def test_there_are_more_than_two_hundred_at_every_kind_of_door():
    doors_ = {case.door for case in CASES}
    assert len(CASES) > 2000
    assert {"LANet", "DDLLoss", "LF.locality_attention", "LF.ddl_loss", "load_model"} < doors_
    assert {"read_list", "metrics.evaluate", "Config.training", "read_frames"} < doors_
