"""A call is checked once, however many operators it passes; what was checked stays so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

import ladnet_fast.functional as LF
from ladnet_fast import LANet, _native
from ladnet_fast.ops import _checks
from ladnet_fast.ops._bags import Bags
from ladnet_fast.ops.linear import api as linear
from ladnet_fast.ops.locality_attention import api, attend, native, schema
from ladnet_fast.ops.score_head import api as head_api
from ladnet_fast.ops.score_head import schema as head_schema
from ladnet_fast.ops.score_head import score_head

pytestmark = pytest.mark.skipif(_native.cpu is None, reason=str(_native.cpu_problem))

Q = torch.randn(2, 3, 7, 4)
W = torch.rand(3)
LENGTHS = torch.tensor([7, 2])
OFFSETS = torch.tensor([0, 2, 2, 7])
#: Functions of a tensor that hand a value of it to Python.
_READS = ("__int__", "__bool__", "__float__", "__index__", "item", "tolist")


class Reads(TorchFunctionMode):
    """Counts how often Python asks a tensor for its values."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += getattr(func, "__name__", "") in _READS
        return func(*args, **(kwargs or {}))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the calls of everything that checks."""
    counted: Counter[str] = Counter()

    def count(module: Any, name: str, as_name: str) -> None:
        original: Callable[..., Any] = getattr(module, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            counted[as_name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, counting)

    count(_checks, "_values_wanted", "values")
    if _native.reads_tensors:  # C++ finds them right
        count(_native.cpu, "attention_fit", "attention")
        count(_native.cpu, "attention_backward_of_tensors", "attention's saved tensors")
    else:
        for door in (api, schema):
            count(door, "check_tensors", "attention")
        count(native, "check_saved", "attention's saved tensors")
    for door in (head_api, head_schema):
        count(door, "check_tensors", "head")
    count(head_schema, "check_saved", "head's saved tensors")
    return counted


LAYOUTS = {
    "dense": {},
    "lengths": {"lengths": LENGTHS},
    "narrow lengths": {"lengths": LENGTHS.int()},
    "packed": {"cu_seqlens": OFFSETS},
}


#: The least and the largest length; the first and the last offset, and whether any step falls.
READS = {"dense": 0, "lengths": 2, "narrow lengths": 2, "packed": 3}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_call_of_attention_is_checked_once_and_its_gradient_once(checks, layout) -> None:
    bags = LAYOUTS[layout]
    q = (Q[:1] if layout == "packed" else Q).clone().requires_grad_()
    with Reads() as reads:
        out = LF.locality_attention(q, q, q, W, W, impl="native", **bags)
    expected = {"attention": 1} | ({"values": 1} if bags else {})
    assert dict(checks) == expected
    assert reads.count == READS[layout]
    checks.clear()
    with Reads() as reads:
        out.sum().backward()
    assert dict(checks) == {"attention's saved tensors": 1}
    assert reads.count == 0


@pytest.mark.parametrize("choice", ["native", "reference"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_checks_its_bags_once(checks, monkeypatch, layout, choice) -> None:
    monkeypatch.setattr(linear, "_choice", choice)
    net = LANet(6, 8, mlp_dims=(7, 5), kernel_size=3)
    x = torch.randn(1 if layout == "packed" else 2, 7, 6, requires_grad=True)
    with Reads() as reads:
        out = net(x, **LAYOUTS[layout])
    heads = {"head": 1} if choice == "native" else {}
    values = {"values": 1} if LAYOUTS[layout] else {}
    assert dict(checks) == {"attention": 1} | heads | values
    assert reads.count == READS[layout]
    checks.clear()
    with Reads() as reads:
        (out.scores.sum() + out.features.sum()).backward()
    again = {"attention's saved tensors": 1}
    assert dict(checks) == again | ({"head's saved tensors": 1} if heads else {})
    assert reads.count == 0


def test_attention_inside_of_the_network_is_given_the_bags_themselves(monkeypatch) -> None:
    seen = []
    net = LANet(6, 8, mlp_dims=(7, 5), kernel_size=3, impl="reference")
    net.attention.register_forward_pre_hook(lambda module, given: seen.append(given[2:]))
    x = torch.randn(2, 7, 6)
    net(x, LENGTHS)
    ((bags,),) = seen
    assert isinstance(bags, Bags)
    plain = net.attention(x, x, LENGTHS)  # by itself it takes what LANet takes
    assert torch.equal(plain, net.attention(x, x, bags))
    assert torch.equal(net.attention(x[:1], x[:1], None, OFFSETS), net.attention(
        x[:1], x[:1], Bags.checked("x", x[:1], 7, cu_seqlens=OFFSETS)))  # fmt: skip


def test_attention_that_somebody_has_replaced_is_given_tensors() -> None:
    class Mine(torch.nn.Module):
        def forward(self, x, query, lengths, cu_seqlens):  # type: ignore[no-untyped-def]
            assert lengths.dtype == torch.int64
            assert cu_seqlens is None
            return x * (torch.arange(x.shape[1]) < lengths[:, None])[..., None]

    net = LANet(6, 8, mlp_dims=(7, 5), kernel_size=3)
    mine = Mine()
    mine.impl = net.attention.impl
    mine.k = net.attention.k
    net.attention = mine
    assert net(torch.randn(2, 7, 6), LENGTHS).scores.shape == (2, 7)


# ---- what was checked stays so -------------------------------------------------------------------


def test_lengths_that_change_after_the_call_change_nothing() -> None:
    lengths, q = LENGTHS.clone(), Q.clone().requires_grad_()
    out = LF.locality_attention(q, q, q, W, W, lengths=lengths, impl="native")
    lengths.fill_(1000)
    (grad,) = torch.autograd.grad(out.sum(), q)
    again = LF.locality_attention(q, q, q, W, W, lengths=LENGTHS, impl="native")
    assert torch.equal(grad, torch.autograd.grad(again.sum(), q)[0])


@pytest.mark.parametrize("change", ["shape", "dtype"])
@pytest.mark.parametrize("which", range(9))
def test_saved_tensors_that_a_hook_has_changed_are_refused(which: int, change: str) -> None:
    q, k, v = (Q.clone().requires_grad_() for _ in range(3))
    packed = []

    def spoil(number: int) -> torch.Tensor:
        x = packed[number]
        if number != which:
            return x
        return x[..., :-1] if change == "shape" else x.half()

    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: packed.append(x.detach()) or len(packed) - 1, spoil
    ):
        out = LF.locality_attention(q, k, v, W, W, lengths=LENGTHS, impl="native")
    assert len(packed) == 9  # q, k, v, w, b, lengths, out, lse, softmax_out
    backward = lambda: torch.autograd.grad(out.sum(), (q, k, v))  # noqa: E731
    if which == 6:  # with the additive prior nothing reads `out`
        backward()
    else:
        with pytest.raises((TypeError, ValueError), match="must"):
            backward()


def test_bags_of_another_batch_are_refused() -> None:
    bags = Bags.checked("x", torch.empty(2, 9, 3), 9, LENGTHS)
    with pytest.raises(ValueError, match=r"q must have B = 2 and T = 9.*got B = 2 and T = 7"):
        attend(Q, Q, Q, W, W, bags, prior="additive", impl="native")
    x = torch.randn(2, 7, 4)
    with pytest.raises(ValueError, match="features must have B = 2 and T = 9"):
        score_head(x, torch.randn(1, 4, 3), torch.randn(1), lengths=bags)
    with pytest.raises(ValueError, match="x must have B = 2 and T = 9"):
        linear.projections(x, [torch.randn(3, 4)], [torch.randn(3)], bags)


@pytest.mark.parametrize("bad", [torch.tensor([8, 2]), torch.tensor([-1, 2])])
def test_operators_that_a_graph_calls_check_anew(bad) -> None:
    operators = torch.ops.ladnet_fast
    x, weight, bias = torch.randn(2, 7, 4), torch.randn(1, 4, 3), torch.randn(1)
    with pytest.raises(ValueError, match=r"lengths\[0\] must be from 0 to T = 7"):
        operators.locality_attention(Q, Q, Q, W, W, bad, None, "additive", 1.0, False, "native")
    with pytest.raises(ValueError, match=r"lengths\[0\] must be from 0 to T = 7"):
        operators.score_head(x, weight, bias, bad, False, "native")
    with pytest.raises(ValueError, match=r"lengths\[0\] must be from 0 to T = 7"):
        operators.linear_projections(x, [weight[0].mT], [bias], bad)


def test_packed_snippets_without_bags_are_refused_where_values_are_not_read(monkeypatch) -> None:
    monkeypatch.setattr(_checks, "_values_wanted", lambda tensor: False)
    with pytest.raises(ValueError, match="N >= 1 bags for 7 snippets"):
        Bags.checked("q", Q[:1], 7, cu_seqlens=torch.tensor([0]))


def test_a_prior_that_negates_on_access_is_read_by_its_meaning() -> None:
    negated = torch.complex(torch.zeros(3), -W).conj().imag
    assert negated.is_neg()
    got = LF.locality_attention(Q, Q, Q, negated, negated, impl="native")
    assert torch.equal(got, LF.locality_attention(Q, Q, Q, W, W, impl="native"))
