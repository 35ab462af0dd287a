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


def test_an_unknown_name_in_the_environment_is_refused_at_import():
    done = subprocess.run(
        [sys.executable, "-c", "import ladnet_fast"],
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
