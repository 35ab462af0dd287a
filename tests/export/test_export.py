"""Exported files compute what the network computes, at lengths that were not exported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ladnet_fast import LANet, export, use_impl
from ladnet_fast.export import ExportError, to_onnx, to_torch
from ladnet_fast.video import I3D

LENGTHS = ((1, 1), (2, 2), (1, 500), (5, 33))
NETWORKS = {
    "additive": {},
    "logit": {"prior": "logit", "prior_form": "exp_abs", "num_heads": 2, "query_dim": 5},
    "none": {"prior": "none", "kernel_size": 1, "mlp_dims": (4,)},
}


def network(name: str = "additive", **options) -> LANet:
    given = {"feature_dim": 6, "hidden_dim": 8, "mlp_dims": (7, 4), **NETWORKS[name], **options}
    return LANet(**given)


def inputs(net: LANet, size: tuple[int, int]) -> list[torch.Tensor]:
    widths = [net.feature_dim] + ([] if net.query_dim is None else [net.query_dim])
    return [torch.randn(*size, width) for width in widths]


def expected(net: LANet, given: list[torch.Tensor]):
    query = given[1] if len(given) > 1 else None
    with torch.no_grad(), use_impl("reference"):
        return net.eval()(given[0], query=query)


@pytest.fixture(scope="module")
def session():
    """Return what runs an ONNX file: a function of path and inputs."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason="in the extra [export]")
    onnxruntime = pytest.importorskip("onnxruntime", reason="in the extra [export]")

    def run(path: Path, given: list[torch.Tensor]) -> list[torch.Tensor]:
        model = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feed = {i.name: x.numpy() for i, x in zip(model.get_inputs(), given, strict=True)}
        return [torch.from_numpy(x) for x in model.run(None, feed)]

    return run


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_files_compute_the_same_without_this_package(tmp_path, name):
    net = network(name)
    path = to_torch(net, tmp_path / "net.pt2")
    program = torch.export.load(path)
    assert not [n for n in program.graph.nodes if "ladnet" in str(n.target)]
    for size in LENGTHS:
        given = inputs(net, size)
        torch.testing.assert_close(tuple(program.module()(*given)), tuple(expected(net, given)))


def test_a_torch_file_runs_where_this_package_is_not_imported(tmp_path):
    path = to_torch(network(), tmp_path / "net.pt2")
    code = (
        "import sys, torch\n"
        f"module = torch.export.load({str(path)!r}).module()\n"
        "print(tuple(module(torch.zeros(2, 9, 6))[0].shape), 'ladnet_fast' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(2, 9) False", done.stderr


@pytest.mark.parametrize("name", ["additive", "logit"])
def test_onnx_files_compute_the_same_at_every_length(tmp_path, session, name):
    import onnx

    net = network(name)
    path = to_onnx(net, tmp_path / "net.onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert [i.name for i in model.graph.input] == ["x"] + ["query"] * (net.query_dim is not None)
    sizes = [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim[:2]]
    assert sizes == ["batch", "snippets"]
    told = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert told["ladnet_fast.network"] == "LANet"
    for size in LENGTHS:
        given = inputs(net, size)
        for ours, theirs in zip(session(path, given), expected(net, given), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]  # the weights are inside


def test_export_takes_the_reference_whatever_the_network_was_made_with(tmp_path):
    net = network(impl="native").train()
    to_torch(net, tmp_path / "net.pt2")
    assert net.attention.impl == "native"
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_an_implementation_that_is_named_stands_in_the_graph(tmp_path):
    pytest.importorskip("ladnet_fast._cpu", reason="needs the compiled module")
    path = to_torch(network(), tmp_path / "net.pt2", impl="native")
    graph = torch.export.load(path).graph
    assert [n for n in graph.nodes if "ladnet_fast.locality_attention" in str(n.target)]


def test_other_precisions_go_to_torch_and_are_refused_by_onnx(tmp_path):
    to_torch(network().bfloat16(), tmp_path / "net.pt2")
    pytest.importorskip("onnxruntime", reason="in the extra [export]")
    pytest.importorskip("onnxscript", reason="in the extra [export]")
    with pytest.raises(ValueError, match=r"net is in torch\.float64; .*net\.float\(\)"):
        to_onnx(network().double(), tmp_path / "net.onnx")


def test_another_network_is_refused(tmp_path):
    with pytest.raises(TypeError, match="net must be a ladnet_fast"):
        to_torch(torch.nn.Linear(2, 2), tmp_path / "net.pt2")


def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    (tmp_path / "net.pt2").write_bytes(b"before")

    def load(file):
        return SimpleNamespace(module=lambda: lambda x: (x[..., 0] * 0 + 0.5, x[..., :4]))

    monkeypatch.setattr(export.torch.export, "load", load)
    with pytest.raises(ExportError, match=r"the torch file's scores differ .* nothing was written"):
        to_torch(network(), tmp_path / "net.pt2")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"before"]


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'ladnet-fast\[export\]'"):
        to_onnx(network(), tmp_path / "net.onnx")


@pytest.mark.slow
def test_i3d_goes_from_frames_to_features(tmp_path, session):
    torch.manual_seed(0)
    model = I3D().eval().fold()
    frames = torch.randint(0, 256, (3, 16, 224, 224, 3), dtype=torch.uint8)
    from ladnet_fast.video import snippet_features

    features = torch.from_numpy(snippet_features(model, frames.flatten(0, 1)))
    (ours,) = session(to_onnx(model, tmp_path / "i3d.onnx"), [frames])
    torch.testing.assert_close(ours, features, rtol=1e-4, atol=1e-6)
    module = torch.export.load(to_torch(model, tmp_path / "i3d.pt2")).module()
    torch.testing.assert_close(module(frames), features, rtol=1e-4, atol=1e-6)
