"""Plain calls reach an operator's function directly; whoever wants to see the operator, does."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss, LANet
from ladnet_fast.ops._operator import operator

PATHS = []


@operator("ladnet_fast_tests::scaled")
def scaled(x: Tensor, weights: list[Tensor], factor: float) -> tuple[Tensor, list[Tensor]]:
    PATHS.append("called")
    return x * factor, [w * x.sum() for w in weights]


@scaled.register_fake
def _(x: Tensor, weights: list[Tensor], factor: float) -> tuple[Tensor, list[Tensor]]:
    return torch.empty_like(x), [torch.empty_like(w) for w in weights]


def _setup(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, weights, ctx.factor = inputs
    ctx.count = len(weights)
    ctx.save_for_backward(x, *weights)
    ctx.set_materialize_grads(False)


def _differentiate(ctx, grad, grads):  # type: ignore[no-untyped-def]
    x, *weights = ctx.saved_tensors
    dx = torch.zeros_like(x) if grad is None else grad * ctx.factor
    for w, g in zip(weights, grads, strict=True):
        if g is not None:
            dx = dx + (g * w).sum()
    need = ctx.needs_input_grad
    assert len(need[1]) == ctx.count
    dw = [
        g * x.sum() if wanted and g is not None else None
        for g, wanted in zip(grads, need[1], strict=True)
    ]
    return dx if need[0] else None, dw, None


scaled.register_autograd(_differentiate, setup_context=_setup)


class Pair(NamedTuple):
    """Two tensors of one shape."""

    a: Tensor
    b: Tensor | None
    factor: float

    @classmethod
    def checked(cls, a: Tensor, b: Tensor | None, factor: float) -> Pair:
        PATHS.append("checked")
        if b is not None and a.shape != b.shape:
            raise ValueError(f"b must have shape {tuple(a.shape)}; got {tuple(b.shape)}")
        return cls(a, b, factor)


@operator("ladnet_fast_tests::mixed")
def mixed(pair: Pair, shift: float) -> Tensor:
    PATHS.append(pair)
    return pair.a * (1.0 if pair.b is None else pair.b) * pair.factor + shift


@mixed.register_fake
def _(pair: Pair, shift: float) -> Tensor:
    return torch.empty_like(pair.a)


def _setup_mixed(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    a, b, ctx.factor, _ = inputs
    ctx.save_for_backward(a, b)


def _differentiate_mixed(ctx, grad):  # type: ignore[no-untyped-def]
    a, b = ctx.saved_tensors
    need = ctx.needs_input_grad
    assert need[2:4] == (False, False)
    return (
        grad * (1.0 if b is None else b) * ctx.factor if need[0] else None,
        grad * a * ctx.factor if need[1] else None,
        None,
        None,
    )


mixed.register_autograd(_differentiate_mixed, setup_context=_setup_mixed)


class Seen(TorchDispatchMode):
    """Remembers the names of what is dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the calls that go through torch.library."""
    calls: list[int] = []
    overload = scaled._overload

    def counted(*arguments):  # type: ignore[no-untyped-def]
        calls.append(1)
        return overload(*arguments)

    monkeypatch.setattr(scaled, "_overload", counted)
    return calls


def leaves(grad: bool = True) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4, generator=generator, dtype=torch.float64).requires_grad_(grad)
    weights = [torch.randn(n, generator=generator, dtype=torch.float64) for n in (2, 3)]
    return x, [w.requires_grad_(grad) for w in weights]


def test_a_plain_call_does_not_go_through_the_library(library: list[int]) -> None:
    x, weights = leaves()
    y, zs = scaled(x, weights, 2.0)
    (y.sum() + sum(z.sum() for z in zs)).backward()
    with torch.no_grad():
        scaled(x, weights, 2.0)
    assert library == []


@pytest.mark.parametrize("needed", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("used", ["both", "first", "last of list"])
def test_gradients_are_those_of_the_registered_operator(
    needed: tuple[bool, bool], used: str
) -> None:
    def gradients(call):  # type: ignore[no-untyped-def]
        x, weights = leaves(grad=False)
        x.requires_grad_(needed[0])
        for w in weights:
            w.requires_grad_(needed[1])
        y, zs = call(x, weights, 2.0)
        assert len(zs) == 2
        parts = {"both": [y, *zs], "first": [y], "last of list": [zs[-1]]}[used]
        parts = [part for part in parts if part.requires_grad]
        if parts:
            sum(part.square().sum() for part in parts).backward()
        return [x.grad, *(w.grad for w in weights)]

    for got, expected in zip(gradients(scaled), gradients(scaled._overload), strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            assert torch.equal(got, expected)


def test_gradients_are_right() -> None:
    x, weights = leaves()
    assert torch.autograd.gradcheck(
        lambda x, *w: (lambda y, zs: (y, *zs))(*scaled(x, list(w), 2.0)), (x, *weights)
    )


def test_a_plain_call_hands_checked_arguments_over_as_they_are() -> None:
    pair = Pair(torch.ones(3), None, 2.0)
    for grad in (False, True):
        PATHS.clear()
        mixed(Pair(pair.a.clone().requires_grad_(grad), None, 2.0), 1.0)
        assert [type(step) for step in PATHS] == [Pair]
    PATHS.clear()
    mixed(pair, 1.0)
    assert PATHS[0] is pair


def test_from_the_library_its_fields_come_one_by_one_and_are_checked() -> None:
    operators = torch.ops.ladnet_fast_tests
    assert "(Tensor a, Tensor? b, float factor, float shift) -> Tensor" in str(
        operators.mixed.default._schema
    )
    a = torch.ones(3)
    PATHS.clear()
    assert torch.equal(operators.mixed(a, a * 2, 3.0, 1.0), torch.full((3,), 7.0))
    assert PATHS[0] == "checked"
    with pytest.raises(ValueError, match=r"b must have shape \(3,\)"):
        operators.mixed(a, torch.ones(2), 3.0, 1.0)
    with pytest.raises(ValueError, match=r"b must have shape \(3,\)"), Seen():
        mixed(Pair(a, torch.ones(2), 3.0), 1.0)


@pytest.mark.parametrize("needed", [(True, True), (True, False), (False, True)])
def test_gradients_of_fields_are_those_of_the_registered_operator(needed) -> None:
    def gradients(call):  # type: ignore[no-untyped-def]
        generator = torch.Generator().manual_seed(5)
        given = [torch.randn(4, generator=generator).requires_grad_(need) for need in needed]
        call(Pair(*given, 3.0), 1.0).square().sum().backward()
        return [x.grad for x in given]

    want = gradients(lambda pair, shift: mixed._overload(*pair, shift))
    for got, expected in zip(gradients(mixed), want, strict=True):
        assert (got is None) == (expected is None)
        assert got is None or torch.equal(got, expected)


def test_fields_pass_opcheck_and_compile() -> None:
    a, b = (torch.randn(4).requires_grad_() for _ in range(2))
    torch.library.opcheck(torch.ops.ladnet_fast_tests.mixed.default, (a, b, 3.0, 1.0))
    compiled = torch.compile(
        lambda a: mixed(Pair(a, None, 3.0), 1.0), fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(a), a * 3 + 1)


def test_nothing_stays_alive_when_a_graph_is_dropped() -> None:
    gc.collect()
    gc.disable()  # reference counts alone must do
    try:
        x, weights = leaves()
        y, zs = scaled(x, weights, 2.0)
        watched = weakref.ref(zs[0])
        del y, zs
        assert watched() is None
        q = torch.randn(1, 1, 5, 4, requires_grad=True)
        out = LF.locality_attention(q, q, q, prior="none")
        node = weakref.ref(out)
        out.sum().backward()
        del out
        assert node() is None
    finally:
        gc.enable()


def test_a_dispatch_mode_sees_the_operator() -> None:
    q = torch.randn(1, 1, 5, 4)
    with Seen() as seen:
        LF.locality_attention(q, q, q, prior="none", impl="native")
    assert any("ladnet_fast.locality_attention" in name for name in seen.names)


def test_fake_and_meta_tensors_get_the_operators_fake() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.empty(1, 2, 7, 4)
        assert LF.locality_attention(fake, fake, fake, prior="none").shape == (1, 2, 7, 4)
    meta = torch.empty(1, 2, 7, 4, device="meta")
    assert LF.locality_attention(meta, meta, meta, prior="none").device.type == "meta"


def test_subclasses_transforms_and_duals_go_through_the_library(library: list[int]) -> None:
    class Mine(Tensor):
        pass

    x, weights = leaves(grad=False)
    scaled(x.as_subclass(Mine), weights, 2.0)
    assert len(library) == 1
    torch.func.functionalize(lambda x: scaled(x, weights, 2.0)[0])(x)
    assert len(library) == 2
    with forward_ad.dual_level():
        scaled(x, weights, 2.0)
    assert len(library) == 3
    torch.jit.trace(lambda x: scaled(x, weights, 2.0)[0], (x,), check_trace=False)
    assert len(library) == 4


def test_a_compiled_graph_has_the_operator() -> None:
    seen: list[str] = []

    def backend(graph, inputs):  # type: ignore[no-untyped-def]
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    x, weights = leaves(grad=False)
    compiled = torch.compile(lambda x: scaled(x, weights, 2.0)[0], backend=backend, fullgraph=True)
    assert torch.equal(compiled(x), scaled(x, weights, 2.0)[0])
    assert any("ladnet_fast_tests.scaled" in name for name in seen)


def test_saved_tensors_pass_the_hooks_that_offload_them() -> None:
    packed = []

    def pack(x: Tensor) -> Tensor:
        packed.append(x.shape)
        return x.clone()

    x, weights = leaves()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        y, _ = scaled(x, weights, 2.0)
    y.sum().backward()
    assert x.shape in packed
    assert torch.equal(x.grad, torch.full_like(x, 2.0))


def test_a_second_derivative_is_refused() -> None:
    q = torch.randn(1, 1, 5, 4, dtype=torch.float64, requires_grad=True)
    out = LF.locality_attention(q, q, q, prior="none", impl="native")
    (grad,) = torch.autograd.grad(out.sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


def test_training_and_scoring_import_no_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from ladnet_fast import DDLLoss, LANet\n"
        "net = LANet(16, 8, 2, (8, 4))\n"
        "out = net(torch.randn(2, 9, 16), torch.tensor([9, 4]))\n"
        "DDLLoss()(*out, torch.tensor([0, 1]), torch.tensor([9, 4])).total.backward()\n"
        "net.eval(); net(torch.randn(1, 9, 16))\n"
        "print(*(name for name in ('torch._dynamo', 'torch._inductor') if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_network_trains_the_same_with_and_without_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ladnet_fast.ops import _operator

    def gradients() -> list[Tensor]:
        torch.manual_seed(0)
        net = LANet(16, 8, 2, (8, 4), impl="native")
        lengths = torch.tensor([9, 4])
        out = net(torch.randn(2, 9, 16), lengths)
        DDLLoss()(*out, torch.tensor([0, 1]), lengths).total.backward()
        return [parameter.grad for parameter in net.parameters()]

    direct = gradients()
    monkeypatch.setattr(_operator, "is_observed", lambda: True)
    for got, expected in zip(direct, gradients(), strict=True):
        assert torch.equal(got, expected)
