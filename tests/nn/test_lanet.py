"""LA-Net: the equations, padding, options, state dict, and how it lives with torch."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.testing import CompileCounterWithBackend

from ladnet_fast import DDLLoss, LANet, LANetOutput
from ladnet_fast.nn.prior import LARGEST_SIGMA, SMALLEST_SIGMA

SMALL = {"feature_dim": 24, "hidden_dim": 16, "mlp_dims": (20, 12), "kernel_size": 3}


def small(**options):
    return LANet(**SMALL | options)


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_the_network_is_its_equations(prior, heads):
    net = small(num_heads=heads, prior=prior, sigma=2.0).double().eval()
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    p = {name: value.detach() for name, value in net.state_dict().items()}
    q, k, v = (x @ p[f"attention.{n}.weight"].T + p[f"attention.{n}.bias"] for n in "qkv")
    d = 16 // heads
    position = torch.arange(7, dtype=torch.float64)
    G = torch.exp(-((position[:, None] - position) ** 2) / (2 * 2.0))
    parts = []
    for h in range(heads):
        qh, kh, vh = (a[..., h * d : (h + 1) * d] for a in (q, k, v))
        R = qh @ kh.mT / math.sqrt(d)
        A = {
            "additive": R.softmax(-1) + G,
            "logit": (R + G).softmax(-1),
            "none": R.softmax(-1),
        }[prior]
        parts.append(A @ vh)
    hidden = torch.cat(parts, -1) @ p["attention.o.weight"].T + p["attention.o.bias"]
    y = F.layer_norm(hidden + x, (24,), p["norm.weight"], p["norm.bias"])
    y = F.gelu(y @ p["mlp.0.weight"].T + p["mlp.0.bias"])
    features = y @ p["mlp.3.weight"].T + p["mlp.3.bias"]
    kernel = p["classifier.weight"][0]  # [C, K]
    scores = torch.zeros(2, 7, dtype=torch.float64)
    for t in range(7):
        for i in range(3):
            if t - 2 + i >= 0:
                scores[:, t] += features[:, t - 2 + i] @ kernel[:, i]
    scores = torch.sigmoid(scores + p["classifier.bias"])
    out = net(x)
    assert isinstance(out, LANetOutput)
    torch.testing.assert_close(out.features, features, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(out.scores, scores, rtol=1e-6, atol=1e-7)


def test_defaults_are_the_papers_sizes():
    net = LANet()
    assert sum(p.numel() for p in net.parameters()) == 1_119_106
    scores, features = net(torch.randn(1, 5, 1024))
    assert scores.shape == (1, 5)
    assert features.shape == (1, 5, 128)
    assert ((scores >= 0) & (scores <= 1)).all()
    w, b = net.attention.prior()
    torch.testing.assert_close(w, torch.tensor([1 / 16.0]))
    assert b == 0


def test_scores_are_causal_in_the_features():
    net = small().eval()
    features = torch.randn(1, 9, 12)
    before = net._score(features)
    features[:, 5] += 1
    changed = (net._score(features) != before)[0]
    assert changed.tolist() == [False] * 5 + [True] * 3 + [False]


@pytest.mark.parametrize("query_dim", [None, 8])
def test_a_padded_bag_equals_itself_alone_and_padding_is_never_read(query_dim):
    net = small(query_dim=query_dim, num_heads=2).eval()
    lengths = [6, 1, 0, 4]
    x = torch.randn(4, 6, 24)
    query = None if query_dim is None else torch.randn(4, 6, query_dim)
    for n, length in enumerate(lengths):
        x[n, length:] = torch.nan
        if query is not None:
            query[n, length:] = torch.nan
    x.requires_grad_()
    scores, features = net(x, torch.tensor(lengths), query)
    (scores.sum() + features.square().sum()).backward()
    for n, length in enumerate(lengths):
        assert (scores[n, length:] == 0).all()
        assert (features[n, length:] == 0).all()
        assert (x.grad[n, length:] == 0).all()
        alone = net(
            x[n : n + 1, :length], query=None if query is None else query[n : n + 1, :length]
        )
        torch.testing.assert_close(scores[n, :length], alone.scores[0])
        torch.testing.assert_close(features[n, :length], alone.features[0])
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("shape", [(0, 4, 24), (2, 0, 24)])
def test_nothing_in_gives_nothing_out(shape):
    scores, features = small()(torch.zeros(shape))
    assert scores.shape == shape[:2]
    assert features.shape == (*shape[:2], 12)


@pytest.mark.parametrize("form", ["gaussian", "exp_abs"])
@pytest.mark.parametrize("learn", [True, False])
def test_a_prior_that_is_not_learned_keeps_its_state_dict_keys(form, learn):
    net = small(prior_form=form, learn_prior=learn, num_heads=2)
    keys = {"gaussian": {"raw_sigma"}, "exp_abs": {"w", "b"}}[form]
    prior = {name for name in net.state_dict() if ".prior." in name}
    assert prior == {f"attention.prior.{key}" for key in keys}
    assert {n for n, _ in net.named_parameters() if ".prior." in n} == (prior if learn else set())
    net(torch.randn(1, 5, 24)).scores.sum().backward()
    if learn:
        assert all(p.grad.abs().sum() > 0 for p in net.attention.prior.parameters())


def test_both_forms_start_at_the_same_prior():
    (w1, b1), (w2, b2) = (
        small(prior_form=form, sigma=3.0).attention.prior() for form in ("gaussian", "exp_abs")
    )
    torch.testing.assert_close(w1, w2)
    torch.testing.assert_close(b1, b2)


@pytest.mark.parametrize("sigma", [1e-3, 8.0, 1e4])
def test_sigma_starts_where_it_was_asked_to(sigma):
    w, _ = small(sigma=sigma).double().attention.prior()
    torch.testing.assert_close(1 / (2 * w), torch.tensor([sigma]).double(), rtol=1e-4, atol=0)


def test_state_dict_keys_are_the_documented_ones():
    assert set(LANet().state_dict()) == {
        *(f"attention.{n}.{kind}" for n in "qkvo" for kind in ("weight", "bias")),
        "attention.prior.raw_sigma",
        *(f"{n}.{kind}" for n in ("norm", "mlp.0", "mlp.3") for kind in ("weight", "bias")),
        "classifier.weight",
        "classifier.bias",
    }


def test_state_dict_and_deepcopy_round_trip():
    net = small(num_heads=2).eval()
    x = torch.randn(2, 6, 24)
    other = small(num_heads=2).eval()
    assert not torch.equal(other(x).scores, net(x).scores)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x).scores, net(x).scores)
    assert torch.equal(copy.deepcopy(net)(x).scores, net(x).scores)


def test_weights_are_xavier_uniform_and_reproducible():
    torch.manual_seed(3)
    net = LANet()
    torch.manual_seed(3)
    assert all(
        torch.equal(a, b) for a, b in zip(net.parameters(), LANet().parameters(), strict=True)
    )
    for module in (net.attention.q, net.mlp[0], net.classifier):
        fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(module.weight)
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert module.weight.abs().max() <= bound
        assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_half_models_train(dtype):
    x, lengths, labels = torch.randn(2, 6, 24), torch.tensor([6, 4]), torch.tensor([1, 0])
    net = small().eval()
    want = net(x, lengths).scores
    with torch.autocast("cpu", dtype):
        out = net(x, lengths)
        total = DDLLoss()(*out, labels, lengths).total
    assert total.dtype == torch.float32
    total.backward()
    torch.testing.assert_close(out.scores.float(), want, rtol=0.03, atol=0.03)
    half = small().to(dtype).eval()
    half.load_state_dict(net.state_dict())
    scores = half(x.to(dtype), lengths).scores
    assert scores.dtype == dtype
    torch.testing.assert_close(scores.float(), want, rtol=0.05, atol=0.05)


def test_training_step_compiles_to_one_graph_and_again_for_no_third_length():
    net, criterion = small(dropout=0.0), DDLLoss()
    counter = CompileCounterWithBackend("aot_eager")

    def step(x, lengths, labels):
        return criterion(*net(x, lengths), labels, lengths).total

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=counter)
    labels, counts = torch.tensor([1, 0, 1]), []
    for T in (9, 14, 31):
        x, lengths = torch.randn(3, T, 24), torch.tensor([T, 1, T // 2])
        net.zero_grad()
        got = compiled(x, lengths, labels)
        got.backward()
        grads = [p.grad.clone() for p in net.parameters()]
        net.zero_grad()
        want = step(x, lengths, labels)
        want.backward()
        torch.testing.assert_close(got, want)
        for grad, p in zip(grads, net.parameters(), strict=True):
            torch.testing.assert_close(grad, p.grad, rtol=1e-4, atol=1e-6)
        counts.append(counter.frame_count)
    assert counts[2] == counts[1]


def test_it_exports_with_a_dynamic_length():
    net = small().eval()
    x, lengths = torch.randn(2, 8, 24), torch.tensor([8, 5])
    T = torch.export.Dim("T", min=2, max=10_000)
    program = torch.export.export(net, (x, lengths), dynamic_shapes=({1: T}, {}))
    x, lengths = torch.randn(2, 21, 24), torch.tensor([3, 21])
    torch.testing.assert_close(program.module()(x, lengths), net(x, lengths))


BAD_OPTIONS = {
    "feature_dim": 0,
    "hidden_dim": 1.5,
    "num_heads": 3,
    "mlp_dims": (),
    "kernel_size": 0,
    "dropout": 1.0,
    "prior": "gauss",
    "prior_form": "exp",
    "sigma": 0.0,
    "query_dim": -1,
    "impl": "gpu",
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_named(name):
    with pytest.raises(ValueError, match=name):
        LANet(**{name: BAD_OPTIONS[name]})


X = torch.randn(2, 5, 24)
BAD_INPUTS = {
    "rank": ((X[0],), ValueError, r"x must have shape \(B, T, 24\); got \(5, 24\)"),
    "width": ((X[..., :20],), ValueError, r"x must have 24 features.*feature_dim = 24; got 20"),
    "integers": ((X.long(),), TypeError, r"x must be float32.*int64"),
    "numpy": ((X.numpy(),), TypeError, r"x must be a torch.Tensor"),
    "lengths size": ((X, torch.tensor([5])), ValueError, "one entry per bag, 2"),
    "lengths value": ((X, torch.tensor([5, 9])), ValueError, r"lengths\[1\] .*T = 5; got 9"),
    "lengths dtype": ((X, torch.tensor([5.0, 5.0])), TypeError, "lengths must be"),
    "query unasked": ((X, None, X), ValueError, "made without query_dim"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_named(case):
    arguments, error, message = BAD_INPUTS[case]
    with pytest.raises(error, match=message):
        small()(*arguments)


def test_a_missing_or_misfitting_query_is_named():
    net = small(query_dim=8)
    with pytest.raises(ValueError, match=r"query must be .*query_dim = 8; got None"):
        net(X)
    with pytest.raises(ValueError, match=r"query must have 8 features per snippet.*got 24"):
        net(X, query=X)
    with pytest.raises(ValueError, match=r"query must have.*\(2, 5\).*got \(2, 4\)"):
        net(X, query=torch.randn(2, 4, 8))


@pytest.mark.parametrize("given", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("where", ["x", "query"])
def test_input_in_another_dtype_than_the_weights_is_named_with_a_remedy(given, weights, where):
    if given == weights:
        return
    net = small(query_dim=8).to(weights)
    x, query = X.to(weights), torch.randn(2, 5, 8).to(weights)
    inputs = {"x": x, "query": query} | {where: {"x": x, "query": query}[where].to(given)}
    with pytest.raises(TypeError, match=rf"{where} must be {weights}.*got {given}") as caught:
        net(**inputs)
    remedy = rf"{where}.to(net.norm.weight.dtype), or the network with net.to({given})"
    assert remedy in str(caught.value)
    net(**inputs | {where: inputs[where].to(net.norm.weight.dtype)})
    net.to(given)(x=x.to(given), query=query.to(given))


def test_every_dtype_of_x_alone_is_named():
    with pytest.raises(TypeError, match=r"x must be torch.float32.*got torch.bfloat16"):
        small()(X.bfloat16())
    with pytest.raises(TypeError, match=r"x must be float32.*float8"):
        small()(X.to(torch.float8_e4m3fn))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_takes_every_dtype_it_casts_and_names_float64(dtype):
    net, double = small(query_dim=8), small(query_dim=8).double()
    with torch.autocast("cpu", dtype):
        for given in (torch.float32, torch.bfloat16, torch.float16):
            assert net(X.to(given), query=torch.randn(2, 5, 8)).scores.isfinite().all()
        with pytest.raises(TypeError, match=r"got torch.float64 .autocast leaves float64 as it"):
            net(X.double(), query=torch.randn(2, 5, 8))
        assert double(X.double(), query=torch.randn(2, 5, 8).double()).scores.dtype == torch.float64


def test_layers_of_others_decide_themselves_what_they_take():
    class Casting(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.to(self.weight.dtype))

    net, hooked = small(), small()
    for name in "qkv":
        setattr(net.attention, name, Casting(24, 16))
        layer = getattr(hooked.attention, name)
        layer.register_forward_pre_hook(lambda _, given: (given[0].float(),))
    assert net(X.bfloat16()).scores.dtype == torch.float32
    assert hooked(X.bfloat16()).scores.dtype == torch.float32


def test_on_the_meta_device_it_answers_with_shapes_and_dtypes():
    with torch.device("meta"):
        net = small(query_dim=8, num_heads=2)
        x, query, lengths = torch.randn(2, 5, 24), torch.randn(2, 5, 8), torch.tensor([5, 3])
    scores, features = net(x, lengths, query)
    assert (scores.shape, features.shape) == ((2, 5), (2, 5, 12))
    assert scores.device.type == features.device.type == "meta"
    DDLLoss()(scores, features, torch.ones(2, device="meta"), lengths).total.backward()
    assert net.attention.q.weight.grad.shape == (16, 8)
    half = small().bfloat16().to("meta")(X.bfloat16().to("meta"))
    assert half.scores.dtype == torch.bfloat16


def test_meta_on_one_side_alone_is_named_with_a_way_out():
    net = small()
    with pytest.raises(ValueError, match=r"x must be on cpu.*weights.*got meta.*net\.to\('meta'\)"):
        net(X.to("meta"))
    state = net.state_dict()
    with torch.device("meta"):
        empty = small()
    with pytest.raises(ValueError, match=r"x must be on meta.*got cpu.*to_empty\(device='cpu'\)"):
        empty(X)
    empty.to_empty(device="cpu").load_state_dict(state)
    assert torch.equal(empty.eval()(X).scores, net.eval()(X).scores)


HUGE = 10**12


@pytest.mark.parametrize("name", ["feature_dim", "hidden_dim", "kernel_size", "query_dim"])
@pytest.mark.parametrize("size", [HUGE, 10**18, 2**63 - 1, 10**30])
def test_a_size_that_no_memory_holds_is_named_before_anything_is_allocated(name, size):
    limits = rf"(smaller: .*; got {size}|at most {2**63 - 1}; got {size}|an int)"
    with pytest.raises(ValueError, match=rf"^{name} must be {limits}"):
        LANet(**{name: size})
    with pytest.raises(ValueError, match=rf"^mlp_dims\[1\] must be {limits}"):
        LANet(mlp_dims=(4, size))


def test_on_the_meta_device_a_large_network_costs_nothing():
    with torch.device("meta"):
        assert LANet(hidden_dim=10**9).attention.q.weight.shape == (10**9, 1024)
        with pytest.raises(ValueError, match=r"hidden_dim must be smaller"):
            LANet(hidden_dim=10**17)


@pytest.mark.parametrize("form", ["gaussian", "exp_abs"])
@pytest.mark.parametrize("sigma", [SMALLEST_SIGMA, LARGEST_SIGMA])
def test_the_least_and_the_largest_sigma_give_a_finite_prior(form, sigma):
    net = small(prior_form=form, sigma=sigma)
    assert all(entry.isfinite().all() for entry in net.state_dict().values())
    assert net(X).scores.isfinite().all()


@pytest.mark.parametrize("sigma", ["8", None, True, 1e300, 1e39, 1e-46, -1, math.nan, [8.0]])
def test_any_other_sigma_is_named(sigma):
    with pytest.raises(ValueError, match="sigma must be a finite number greater than 0"):
        small(sigma=sigma)


@pytest.mark.parametrize(
    "options",
    [
        {"mlp_dims": 12}, {"mlp_dims": "12"}, {"mlp_dims": {20, 12}}, {"mlp_dims": None},
        {"dropout": "0.1"}, {"dropout": None}, {"dropout": math.nan}, {"dropout": True},
        {"learn_prior": "no"}, {"learn_prior": None}, {"prior": None}, {"prior_form": ["gaussian"]},
        {"impl": None}, {"feature_dim": 24.0}, {"query_dim": "8"}, {"kernel_size": True},
    ],
)  # fmt: skip
def test_options_of_another_type_are_named_with_their_value(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=name) as caught:
        small(**options)
    assert repr(value) in str(caught.value)
