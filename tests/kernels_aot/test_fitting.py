"""GPUs with less shared memory than the table was made for: the next configuration serves."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from triton.runtime.errors import OutOfResources

from ladnet_fast.kernels import fitting
from ladnet_fast.kernels.launch import Launch
from ladnet_fast.kernels.locality_attention import configs
from ladnet_fast.kernels.locality_attention.plan import KERNELS
from ladnet_fast.ops import _triton
from ladnet_fast.ops.locality_attention import schema, triton
from ladnet_fast.ops.score_head import schema as head_schema
from ladnet_fast.ops.score_head import triton as head

from .test_configs import every_question

KIB = 1024
#: Kernel -> the tiles of a block that take shared memory, in rows; the looped ones once a stage.
ROWS = {
    "forward": lambda c: c.block_m + 2 * c.num_stages * c.block_n,
    "preprocess": lambda c: c.block_m + c.block_band,
    "backward": lambda c: 2 * c.block_n + 2 * c.num_stages * max(c.block_m, c.queries_n),
    "backward_keys": lambda c: 2 * c.block_n + 2 * c.num_stages * c.block_m,
    "backward_queries": lambda c: 2 * c.block_m + 2 * c.num_stages * c.block_n,
}


class Device:
    """A GPU that is not there: it launches what fits its shared memory, and notes what."""

    def __init__(self, architecture: int, shared_bytes: int, monkeypatch: pytest.MonkeyPatch):
        self.limit, self.ran = shared_bytes, []
        self.reported = shared_bytes
        monkeypatch.setattr(fitting, "_too_large", {})
        monkeypatch.setattr(triton, "_architecture", lambda device: architecture)
        monkeypatch.setattr(triton, "_multiprocessors", lambda device: 1)
        monkeypatch.setattr(_triton, "shared_bytes", lambda device: self.reported)
        monkeypatch.setattr(Launch, "run", lambda launch: self.launch(launch))

    def launch(self, launch: Launch) -> None:
        (name,) = (name for name, kernel in KERNELS.items() if kernel is launch.kernel)
        blocks = (launch.constexprs.get(f"BLOCK_{x}", 0) for x in ("M", "N", "BAND"))
        config = configs.Config(
            *blocks, launch.num_warps, launch.num_stages,
            queries_n=launch.constexprs.get("QUERIES_N", 0),
        )  # fmt: skip
        width = launch.constexprs["BLOCK_D"] * launch.arguments.get("v").element_size()
        needed = ROWS[name](config) * width
        if needed > self.limit:
            raise OutOfResources(needed, self.limit, "shared memory")
        self.ran.append((name, config))


def both_passes(prior: str, dtype: torch.dtype = torch.bfloat16, d: int = 128) -> None:
    q = torch.zeros(1, 2, 300, d, dtype=dtype)
    w = torch.ones(2)
    call = schema.Call(q, q, q, w, w, None, None, prior, 1.0, True, "triton")
    out, lse, _ = triton.forward(call)
    triton.backward(out, call, out, lse, True)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_what_is_refused_at_the_launch_is_replaced_by_the_next_and_logged_once(
    prior, monkeypatch, caplog
):
    device = Device(90, 64 * KIB, monkeypatch)
    device.reported = 227 * KIB  # as where a release of Triton wants more than the table says
    both_passes(prior)
    # A pass begins anew after each refusal: its workspaces are planned for the configurations.
    first, device.ran = device.ran, []
    names = [name for name, _ in first]
    assert names[0] == "forward"
    assert names[-3:] == ["preprocess", "backward_keys", "backward_queries"]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(set(said)) > 0
    assert all(f"of which this GPU gives a block {64 * KIB}" in line for line in said)
    caplog.clear()
    both_passes(prior)
    assert device.ran == [first[0], *first[-3:]]
    assert not caplog.records


def test_a_gpu_that_is_known_to_have_less_gets_what_is_made_for_others_at_once(monkeypatch, caplog):
    device = Device(90, 99 * KIB, monkeypatch)
    both_passes("additive")
    assert [name for name, _ in device.ran] == ["forward", "preprocess", "backward"]
    where = {"prior": "additive", "architecture": 86, "precision": "bf16", "head_size": 128}
    for name in ("forward", "backward"):
        assert dict(device.ran)[name] == configs.lookup(name, **where)
    assert not caplog.records


def test_a_gpu_on_which_nothing_fits_is_an_error_with_the_alternative(monkeypatch):
    Device(90, 2 * KIB, monkeypatch)
    with pytest.raises(RuntimeError, match=r"forward additive fits.*impl=\"reference\" computes"):
        both_passes("additive")


def test_the_score_head_takes_fewer_channels_at_a_time(monkeypatch, caplog):
    read: list[int] = []

    def launch(self: Launch) -> None:
        channels = self.constexprs["BLOCK_C"]
        if channels > 16:
            raise OutOfResources(channels * KIB, 16 * KIB, "shared memory")
        read.append(channels)

    monkeypatch.setattr(fitting, "_too_large", {})
    monkeypatch.setattr(Launch, "run", launch)
    x, weight = torch.zeros(2, 40, 64), torch.zeros(1, 64, 7)
    call = head_schema.Call(x, weight, torch.zeros(1), None, True, "triton")
    for _ in range(2):
        scores, slopes = head.forward(call)
        head.backward(scores, call, slopes, True, True)
    assert read == [16] * 4
    assert len(caplog.records) == 4  # 64 and 32 channels, once in each pass


def test_what_is_offered_begins_with_the_table_and_shrinks_to_the_smallest_tiles():
    for question in every_question():
        offered = configs.offered(**question)
        # Descriptors are for autotuning alone.
        plain = tuple(c for c in configs.candidates(**question) if not c.descriptors)
        assert offered[: len(plain)] == plain
        assert len(set(offered)) == len(offered)
        last = offered[-1]
        assert max(last.block_m, last.block_n, last.block_band) == 16
        architecture = question["architecture"]
        if isinstance(architecture, int):
            enough = configs.SHARED_BYTES[configs.architecture_row(architecture)]
            assert configs.offered(**question, shared_bytes=enough) == offered
            (least,) = configs.offered(**question, shared_bytes=KIB)
            assert least in offered
            assert max(least.block_m, least.block_n, least.block_band) == 16
