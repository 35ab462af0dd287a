"""LA-Net on packed bags gives each bag what it gives the bag alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from ladnet_fast import LANet

LENGTHS = (5, 1, 0, 9, 2, 0)


def offsets(lengths: tuple[int, ...]) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)])


def network(dtype: torch.dtype = torch.float64, **options: object) -> LANet:
    torch.manual_seed(0)
    given = {"feature_dim": 6, "hidden_dim": 8, "mlp_dims": (10, 5), "kernel_size": 4, "sigma": 2.0}
    return LANet(**{**given, **options}).to(dtype).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("query_dim", [None, 3])
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("impl", ["reference", "auto"])
def test_packed_bags_are_scored_as_if_each_were_alone(
    impl: str, prior: str, query_dim: int | None
) -> None:
    net = network(impl=impl, prior=prior, num_heads=2, query_dim=query_dim)
    cu = offsets(LENGTHS)
    x = torch.randn(1, sum(LENGTHS), 6, dtype=torch.float64)
    query = None if query_dim is None else torch.randn(1, sum(LENGTHS), 3, dtype=torch.float64)
    scores, features = net(x, query=query, cu_seqlens=cu)
    assert scores.shape == x.shape[:2]
    for start, stop in itertools.pairwise(cu.tolist()):
        alone = net(x[:, start:stop], query=None if query is None else query[:, start:stop])
        torch.testing.assert_close(scores[:, start:stop], alone.scores)
        torch.testing.assert_close(features[:, start:stop], alone.features)


def test_gradients_are_those_of_padded_bags() -> None:
    net = network()
    cu = offsets(LENGTHS)
    x = torch.randn(1, sum(LENGTHS), 6, dtype=torch.float64)
    padded = x.new_zeros(len(LENGTHS), max(LENGTHS), 6)
    for bag, (start, stop) in enumerate(itertools.pairwise(cu.tolist())):
        padded[bag, : stop - start] = x[0, start:stop]
    gradients = []
    for arguments in ({"x": x, "cu_seqlens": cu}, {"x": padded, "lengths": cu.diff()}):
        net.zero_grad()
        scores, features = net(**arguments)
        (scores.square().sum() + features.sin().sum()).backward()
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_a_bag_with_nan_spoils_no_other() -> None:
    net = network(torch.float32)
    cu = offsets(LENGTHS)
    x = torch.randn(1, sum(LENGTHS), 6)
    x[0, :5] = float("nan")
    scores, features = net(x, cu_seqlens=cu)
    assert scores[0, :5].isnan().all()
    assert scores[0, 5:].isfinite().all()
    assert features[0, 5:].isfinite().all()


def test_native_layers_serve_packed_bags(monkeypatch: pytest.MonkeyPatch) -> None:
    from ladnet_fast.ops import linear

    net = network(torch.float32)
    x, cu = torch.randn(1, sum(LENGTHS), 6), offsets(LENGTHS)
    expected = net(x, cu_seqlens=cu)
    asked = []

    def serves(impl: str, *tensors: Tensor) -> bool:
        asked.append(impl)
        return not linear.native.why_not(*tensors)

    monkeypatch.setattr(linear, "serves", serves)
    got = net(x, cu_seqlens=cu)
    assert asked
    torch.testing.assert_close(got.scores, expected.scores)
    torch.testing.assert_close(got.features, expected.features)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"lengths": torch.tensor([4])}, ValueError, "exclude each other"),
        ({"x": torch.randn(2, 4, 6)}, ValueError, "x must have B = 1"),
        ({"cu_seqlens": torch.tensor([0, 3])}, ValueError, "end at the number of packed snippets"),
        ({"cu_seqlens": torch.tensor([0, 3, 2, 4])}, ValueError, "never decrease"),
        ({"cu_seqlens": torch.tensor([0.0, 4.0])}, TypeError, "cu_seqlens"),
    ],
    ids=["lengths too", "several rows", "short", "falling", "not whole"],
)
def test_offsets_that_do_not_fit_are_refused(
    changed: dict[str, Tensor], error: type[Exception], message: str
) -> None:
    given = {"x": torch.randn(1, 4, 6), "cu_seqlens": torch.tensor([0, 4]), **changed}
    with pytest.raises(error, match=message):
        network(torch.float32)(**given)


def test_nothing_packed_gives_nothing() -> None:
    scores, features = network()(
        torch.empty(1, 0, 6, dtype=torch.float64), cu_seqlens=torch.tensor([0, 0])
    )
    assert scores.shape == (1, 0)
    assert features.shape == (1, 0, 5)


def test_packed_bags_compile_whole_and_for_any_number() -> None:
    net = network(torch.float32)
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend="aot_eager")
    for lengths in ((5, 3, 9), (4, 2, 6, 3), (7, 11)):
        x = torch.randn(1, sum(lengths), 6)
        got = compiled(x, cu_seqlens=offsets(lengths))
        expected = net(x, cu_seqlens=offsets(lengths))
        torch.testing.assert_close(got.scores, expected.scores)
        got.scores.sum().backward()
