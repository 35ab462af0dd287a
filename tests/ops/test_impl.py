"""Which implementation serves: the order of the wishes, and what is said when none can."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
import torch

import ladnet_fast
import ladnet_fast.functional as LF
from ladnet_fast.ops import _impl

CPU = torch.device("cpu")


def test_a_call_outranks_use_impl_which_outranks_the_environment(monkeypatch):
    monkeypatch.setattr(_impl, "_environment", "native")
    assert _impl.requested("auto") == "native"
    with ladnet_fast.use_impl("triton"):
        assert _impl.requested("auto") == "triton"
        assert _impl.requested("reference") == "reference"
        with ladnet_fast.use_impl("auto"):
            assert _impl.requested("auto") == "auto"
        assert _impl.requested("auto") == "triton"
    assert _impl.requested("auto") == "native"


def test_use_impl_is_undone_by_an_exception():
    with pytest.raises(KeyError), ladnet_fast.use_impl("reference"):
        raise KeyError
    assert _impl.requested("auto") == _impl._environment


@pytest.mark.parametrize("name", ["cpu", "", None])
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(ValueError, match=r"auto, reference, native, triton, cuda"):
        ladnet_fast.use_impl(name)


@pytest.mark.parametrize("code", ["from ladnet_fast import LANet", "import ladnet_fast.functional"])
def test_an_unknown_name_in_the_environment_is_refused_at_import(code):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LADNET_IMPL": "fastest"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "LADNET_IMPL must be one of" in done.stderr


def test_the_environment_decides_for_a_whole_process():
    code = "from ladnet_fast.ops import _impl; print(_impl.requested('auto'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LADNET_IMPL": "reference"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "reference"


def test_a_named_implementation_raises_with_every_reason():
    backends = {"native": lambda x: ["dtype float16", "head size 300"], "reference": lambda x: []}
    with pytest.raises(ladnet_fast.ImplUnavailableError, match=r"dtype float16; head size 300"):
        _impl.choose("op", "native", CPU, backends, None)


def test_auto_takes_the_first_that_can_and_logs_once_why_not(caplog):
    backends = {"native": lambda x: [f"not {x}"], "reference": lambda x: []}
    with caplog.at_level(logging.INFO, logger="ladnet_fast"):
        assert _impl.choose("op", "auto", CPU, backends, "unique reason") == "reference"
        assert _impl.choose("op", "auto", CPU, backends, "unique reason") == "reference"
    assert [r.message for r in caplog.records if "unique reason" in r.message] == [
        "op falls back to the reference: impl='native' cannot serve op: not unique reason"
    ]
    assert _impl.choose("op", "auto", CPU, {"native": lambda x: []}, None) == "native"


def test_gpu_implementations_refuse_tensors_of_the_cpu():
    q = torch.randn(1, 1, 4, 8)
    w = torch.ones(1)
    with pytest.raises(ladnet_fast.ImplUnavailableError, match="triton"):
        LF.locality_attention(q, q, q, w, w, impl="triton")
    with pytest.raises(ladnet_fast.ImplUnavailableError, match="cuda"):
        LF.ddl_loss(torch.rand(2, 4), torch.randn(2, 4, 3), torch.tensor([0, 1]), impl="cuda")


# ---- GPUs that the kernels cannot serve, and devices without kernels -----------------------------


def serve(device: str, *ops: str) -> list[str]:
    backends = {name: lambda *call: ["not here"] for name in ops}
    return [_impl.choose(op, "auto", torch.device(device), backends) for op in ("one", "another")]


@pytest.mark.parametrize("kind", ["mps", "xpu", "hpu"])
def test_the_reference_serves_other_devices_with_one_warning_that_names_the_cost(kind, monkeypatch):
    monkeypatch.setattr(_impl, "_warned", set())
    with pytest.warns(UserWarning, match=rf"no kernels for {kind} devices.*square of the") as seen:
        assert serve(kind, "native", "triton") == ["reference"] * 2
    assert len(seen) == 1


def test_attention_without_its_kernel_warns_on_a_gpu_of_its_cost_and_names_why(monkeypatch):
    monkeypatch.setattr(_impl, "_warned", set())
    backends = {name: lambda reason: [reason] for name in ("native", "triton")}

    def attend(reason: str) -> str:
        return _impl.choose("locality_attention", "auto", torch.device("cuda", 1), backends, reason)

    with pytest.warns(UserWarning, match="the head size is 512") as seen:
        assert [attend("the head size is 512") for _ in range(3)] == ["reference"] * 3
    (message,) = [str(warning.message) for warning in seen]
    for part in ("on the GPU, since impl='triton'", "square of the number", "net.cpu()"):
        assert part in message
    assert 'impl="reference" says that this is meant' in message
    with pytest.warns(UserWarning, match="q is float64"):  # another reason is another matter
        attend("q is float64")


def test_a_fallback_that_was_asked_for_or_costs_little_does_not_warn(monkeypatch, recwarn):
    monkeypatch.setattr(_impl, "_warned", set())
    backends = {"reference": list, "triton": lambda: ["not here"]}
    device = torch.device("cuda")
    assert _impl.choose("locality_attention", "reference", device, backends) == "reference"
    assert _impl.choose("score_head", "auto", device, backends) == "reference"
    backends["triton"] = list
    assert _impl.choose("locality_attention", "auto", device, backends) == "triton"
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["cpu", "cuda", "meta"])
def test_devices_with_kernels_and_without_memory_get_no_warning(kind, monkeypatch, recwarn):
    monkeypatch.setattr(_impl, "_warned", set())
    serve(kind, "native", "triton")
    assert not recwarn.list


def test_rocm_warns_where_triton_serves_nothing(monkeypatch, recwarn):
    monkeypatch.setattr(_impl, "_warned", set())
    monkeypatch.setattr(torch.version, "hip", "7.0")
    serve("cuda", "cuda")  # an operator that Triton never serves
    assert not recwarn.list
    with pytest.warns(UserWarning, match="no kernels for ROCm devices"):
        serve("cuda", "triton")


@pytest.mark.parametrize("name", ["native", "triton", "cuda"])
def test_a_named_implementation_refuses_other_devices_by_their_names(name, monkeypatch):
    from ladnet_fast.ops.ddl_loss import schema

    scores, features = torch.empty(2, 3, device="meta"), torch.empty(2, 3, 4, device="meta")
    backends = {known: module.why_not for known, module in schema.BACKENDS.items()}
    with pytest.raises(ladnet_fast.ImplUnavailableError) as refused:
        _impl.choose("ddl_loss", name, scores.device, backends, scores, features)
    assert name == "triton" or "scores is on meta" in str(refused.value)


def test_shapes_can_be_asked_on_the_meta_device():
    net = ladnet_fast.LANet(6, 8, mlp_dims=(7, 4)).to("meta")
    x, lengths = (
        torch.empty(2, 9, 6, device="meta"),
        torch.empty(2, dtype=torch.long, device="meta"),
    )
    scores, features = net(x, lengths)
    assert (scores.device.type, scores.shape, features.shape) == ("meta", (2, 9), (2, 9, 4))
    labels = torch.empty(2, device="meta")
    LF.ddl_loss(scores, features, labels, lengths=lengths).total.backward()
    assert net.attention.q.weight.grad.device.type == "meta"
