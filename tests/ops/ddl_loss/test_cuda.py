"""Whom the CUDA backend serves, and why not others: what can be known without a GPU."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode

import ladnet_fast
import ladnet_fast.functional as LF
from ladnet_fast import _native, doctor
from ladnet_fast.ops.ddl_loss import cuda, reference, schema

OPTIONS = {"margin": 0.1, "topk_divisor": 16, "eps": 1e-6}


def compiled_module(problem: str | None = None, architectures: str = "80-real,120") -> ModuleType:
    """Return what Python asks of ``ladnet_fast._cuda`` before it calls it."""
    module = ModuleType("_cuda")
    vars(module).update(why_no_device=lambda: problem, architectures=architectures)
    return module


@pytest.fixture
def working_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "cuda", compiled_module())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 6))


def arguments(
    shape: tuple[int, ...] = (2, 5),
    C: int = 8,
    dtype: torch.dtype = torch.float32,
    score_dtype: torch.dtype = torch.float32,
    device: str = "cuda",
) -> tuple[Tensor, Tensor]:
    """Return scores and features without memory behind them."""
    with FakeTensorMode():
        scores = torch.empty(shape, dtype=score_dtype, device=device)
        return scores, torch.empty(*shape, C, dtype=dtype, device=device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("shape", "C"),
    [((2, 5), 8), ((5,), 8), ((1, 1), 1), ((4096, 3), 4096), ((1, 1_000_000), 2), ((10**8,), 64)],
)
def test_what_is_served(shape, C, dtype, working_gpu):
    assert cuda.why_not(*arguments(shape, C, dtype)) == []


@pytest.mark.parametrize(
    ("given", "reasons"),
    [
        (
            {"device": "cpu"},
            ["serves CUDA tensors, and scores is on cpu", "and features is on cpu"],
        ),
        ({"dtype": torch.float64}, ["in float32, bfloat16 or float16, not torch.float64"]),
        ({"score_dtype": torch.float64}, ["scores in float32, not torch.float64"]),
        ({"C": 4097}, ["1 to 4096 features, not 4097"]),
        ({"C": 0}, ["1 to 4096 features, not 0"]),
        ({"shape": (4097, 5)}, ["1 to 4096 bags, not 4097"]),
        ({"shape": (1, 1_000_001)}, ["1 to 1000000 snippets per bag, not 1000001"]),
        ({"shape": (4096 * 10**6 + 1,), "C": 1}, ["packed snippets, not 4096000001"]),
        (
            {"C": 4097, "dtype": torch.int8, "score_dtype": torch.float16},
            ["not 4097", "not torch.int8", "not torch.float16"],
        ),
    ],
)
def test_every_reason_is_given(given, reasons, working_gpu):
    found = cuda.why_not(*arguments(**given))
    assert len(found) == len(reasons)
    for reason in reasons:
        assert any(reason in text for text in found), found


def test_a_module_that_was_not_built_is_a_reason(monkeypatch):
    monkeypatch.setattr(_native, "cuda", None)
    monkeypatch.setattr(_native, "cuda_problem", "no nvcc when it was installed")
    assert cuda.why_not(*arguments()) == ["no nvcc when it was installed"]


@pytest.mark.parametrize("problem", ["no NVIDIA driver (CUDA error 35)", "no device (error 100)"])
def test_a_driver_or_device_that_is_missing_is_a_reason(problem, monkeypatch):
    monkeypatch.setattr(_native, "cuda", compiled_module(problem))
    assert cuda.why_not(*arguments()) == [problem]


@pytest.mark.parametrize(
    ("capability", "reason"),
    [((7, 5), "from sm_80 on, not sm_75"), ((9, 0), "built for 80-real,120, not for sm_90")],
)
def test_a_gpu_without_kernels_is_a_reason(capability, reason, monkeypatch):
    monkeypatch.setattr(_native, "cuda", compiled_module())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    (found,) = cuda.why_not(*arguments())
    assert reason in found


@pytest.mark.parametrize(
    ("capability", "architectures", "served"),
    [
        ((8, 0), "80-real,90-real,100-real,120", True),
        ((8, 9), "80-real,90-real,100-real,120", True),  # machine code of an earlier minor
        ((8, 0), "86-real", False),
        ((9, 0), "80-real,120", False),  # machine code of another major
        ((9, 0), "80-real;90", True),
        ((10, 3), "100-real", True),
        ((11, 0), "80-real,90-real,100-real,120", False),  # PTX for later ones only
        ((11, 0), "80-real,90-real,100,120", True),  # as the build chooses
        ((13, 0), "80-real,90-real,100-real,120", True),  # PTX
        ((13, 0), "80-real,120-real", False),
        ((12, 0), "120-virtual", True),
        ((9, 0), "90a-real", True),
        ((8, 0), "native", False),
        ((8, 0), "", False),
    ],
)
def test_machine_code_serves_its_major_and_ptx_everything_later(capability, architectures, served):
    assert cuda.has_kernels(capability, architectures) is served


def test_a_named_implementation_never_falls_back():
    scores, features = torch.rand(2, 5), torch.randn(2, 5, 8, dtype=torch.float64)
    with pytest.raises(ladnet_fast.ImplUnavailableError) as raised:
        LF.ddl_loss(scores, features, torch.tensor([0, 1]), impl="cuda")
    for reason in ("impl='cuda' cannot serve ddl_loss", "on cpu", "not torch.float64"):
        assert reason in str(raised.value)


def test_the_backend_itself_refuses_what_it_cannot_serve():
    scores, features, labels = torch.rand(2, 5), torch.randn(2, 5, 8), torch.tensor([True, False])
    choices = {"pairing": "batch_mean", "select": "topk", "detach": "none"}
    with pytest.raises(ValueError, match=r"cannot serve this call.*scores is on cpu"):
        cuda.forward(scores, features, labels, None, None, training=True, **OPTIONS, **choices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("impl", ["auto", "cuda"])
def test_fakes_give_shapes_dtypes_and_devices_of_the_results(impl, dtype, working_gpu):
    """Without autograd: torch's engine asks for a driver even where no tensor has memory."""
    with FakeTensorMode():
        scores = torch.rand(3, 7, device="cuda")
        features = torch.randn(3, 7, 16, device="cuda", dtype=dtype)
        labels = torch.ones(3, dtype=torch.bool, device="cuda")
        terms = LF.ddl_loss(scores, features, labels, impl=impl)
        grads = schema.ddl_backward(
            terms.total.expand(3), scores, features, None, None,
            scores.expand(3, 3, 7), scores, 1e-6, "none", "cuda",
        )  # fmt: skip
    assert terms.total.device.type == "cuda"
    assert terms.total.dtype == torch.float32
    for grad, leaf in zip(grads, (scores, features), strict=True):
        assert (grad.shape, grad.dtype, grad.device) == (leaf.shape, leaf.dtype, leaf.device)


def test_the_choice_is_traced_into_one_graph_for_all_lengths(monkeypatch):
    """With the reference's passes in place of the kernels, on CPU tensors."""
    monkeypatch.setattr(_native, "cuda", compiled_module())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 0))
    monkeypatch.setattr(cuda, "_DEVICE", "cpu")
    monkeypatch.setattr(cuda, "forward", reference.forward)
    monkeypatch.setattr(cuda, "backward", reference.backward)
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, dynamic=True, backend=counter)
    def loss(scores, features, labels):
        return LF.ddl_loss(scores, features, labels, impl="cuda").total

    counts = []
    for T in (7, 12, 31):
        scores = torch.rand(4, T, requires_grad=True)
        loss(scores, torch.randn(4, T, 5), torch.tensor([1, 0, 1, 0])).backward()
        counts.append(counter.frame_count)
    assert counts[2] == counts[1]


def test_the_report_gives_the_reasons():
    assert schema.BACKENDS["cuda"] is cuda
    assert "cuda: no: it serves CUDA tensors, and scores is on cpu" in doctor.report()
