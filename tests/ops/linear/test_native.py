"""The native linear layers: accuracy, strides, padding, threads, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from ladnet_fast import _native
from ladnet_fast.ops.linear import definition, native, schema

from .cases import LENGTHS, SIZES, assert_within_budget, random_layers, reference_results


def run(layers, grad, lengths):
    """Return output and gradients of the operator."""
    leaves = [x.detach().requires_grad_() for x in layers.leaves]
    own = layers.like(leaves)
    out, _ = schema.residual_mlp(own.call(lengths), True)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


def names_of(layers):
    n = range(len(layers.weights))
    return [
        "out", "x", "residual", "norm_weight", "norm_bias",
        *(f"weights[{i}]" for i in n), *(f"biases[{i}]" for i in n),
    ]  # fmt: skip


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_residual_mlp_and_its_gradients_are_within_the_error_budget(size, dropout, ragged):
    B, T, width, dims = SIZES[size]
    lengths = torch.tensor(LENGTHS.get(size, [T - T // 3] * B)) if ragged else None
    layers = random_layers(B, T, width, dims, dropout)
    grad = torch.randn(B, T, dims[-1])
    got = run(layers, grad, lengths)
    exact = reference_results(layers, grad, lengths, torch.float64)
    plain = reference_results(layers, grad, lengths, torch.float32)
    assert_within_budget(got, plain, exact, names_of(layers))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_projections_and_their_gradients_are_within_the_error_budget(size, count):
    B, T, width, dims = SIZES[size]
    leaves = [torch.randn(B, T, width)]
    leaves += [torch.randn(dims[0] + i, width) / width**0.5 for i in range(count)]
    leaves += [torch.randn(dims[0] + i) for i in range(count)]
    grads = [torch.randn(B, T, dims[0] + i) for i in range(count)]
    lengths = torch.tensor(LENGTHS[size]) if size in LENGTHS else None

    def results(function, dtype):
        own = [x.to(dtype).requires_grad_() for x in leaves]
        outs = function(own[0], own[1 : 1 + count], own[1 + count :], lengths)
        given = torch.autograd.grad(outs, own, [g.to(dtype) for g in grads])
        return [out.detach() for out in outs] + list(given)

    def projections(*arguments):
        return schema.projections(schema.Projections(*arguments))

    names = [f"out {i}" for i in range(count)] + [f"gradient {i}" for i in range(len(leaves))]
    assert_within_budget(
        results(projections, torch.float32),
        results(definition.projections, torch.float32),
        results(definition.projections, torch.float64),
        names,
    )


@pytest.mark.parametrize("x", [0.0, -0.0, 1e-30, 0.5, -0.5, 3.0, -3.0, -7.0, 30.0, -30.0, 1e30])
def test_gelu_is_exact_at_all_magnitudes_and_so_is_its_slope(x):
    # x W_0^T + b_0 vanishes, LayerNorm gives its bias: GELU's argument is set by b_1 alone.
    layers = random_layers(1, 1, 2, (1, 1), False)
    for w in layers.weights[:-1]:
        w.zero_()
    layers.weights[2].fill_(1.0)
    layers.biases[1].fill_(x)
    layers.biases[2].zero_()
    out, *grads = run(layers, torch.ones(1, 1, 1), None)
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    want = torch.nn.functional.gelu(point)
    (slope,) = torch.autograd.grad(want, point)
    assert float(out.detach()) == pytest.approx(float(want.detach()), rel=3e-6, abs=1e-12)
    assert float(grads[4 + 3 + 1]) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)


def strided(x, how):
    if how == "padded rows":
        return torch.nn.functional.pad(x, (3, 5))[..., 3:-5]
    if how == "transposed":
        return x.mT.contiguous().mT
    if how == "batch inside":
        return x.transpose(0, -2).contiguous().transpose(0, -2)
    return x[:1].expand_as(x)


@pytest.mark.parametrize("how", ["padded rows", "transposed", "batch inside", "expanded"])
def test_any_strides_give_the_same_bits(how):
    B, T, width, dims = SIZES["odd"]
    layers = random_layers(B, T, width, dims, True)
    leaves = [strided(x, how) if x.dim() > 1 else x for x in layers.leaves]
    grad = strided(torch.randn(B, T, dims[-1]), how)
    views = layers.like(leaves)
    dense = layers.like([x.contiguous() for x in leaves])
    for a, b in zip(run(views, grad, None), run(dense, grad.contiguous(), None), strict=True):
        assert torch.equal(a, b)


def test_results_have_the_same_bits_for_every_thread_count():
    layers = random_layers(3, 500, 40, (24, 8), True)
    grad, lengths = torch.randn(3, 500, 8), torch.tensor([500, 111, 499])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        want = run(layers, grad, lengths)
        for n in (2, 3, 7):
            torch.set_num_threads(n)
            for a, b in zip(run(layers, grad, lengths), want, strict=True):
                assert torch.equal(a, b)
    finally:
        torch.set_num_threads(threads)


def test_a_row_does_not_depend_on_the_size_of_its_batch():
    layers = random_layers(1, 5000, 40, (24, 8), False)
    whole = run(layers, torch.ones(1, 5000, 8), None)[0]
    layers.x, layers.residual = layers.x[:, 4000:4100], layers.residual[:, 4000:4100]
    assert torch.equal(run(layers, torch.ones(1, 100, 8), None)[0], whole[:, 4000:4100])


def test_padding_is_never_read_and_is_zero_in_every_result():
    layers = random_layers(3, 50, 20, (12, 4), True)
    grad, lengths = torch.randn(3, 50, 4), torch.tensor([50, 0, 13])
    want = run(layers, grad, lengths)
    for n, length in enumerate(lengths):
        for x in (layers.x, layers.residual, grad):
            x[n, length:] = torch.nan
    for a, b in zip(run(layers, grad, lengths), want, strict=True):
        assert torch.equal(a, b)
    for x in want[:3]:
        assert (x[1] == 0).all()
        assert (x[2, 13:] == 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_number_stays_in_its_row(bad):
    layers = random_layers(2, 30, 20, (12, 4), False)
    layers.x[1, 7, 3] = bad
    out, dx, dresidual, *parameters = run(layers, torch.randn(2, 30, 4), None)
    for x in (out, dx, dresidual):
        finite = x.isfinite().all(-1)
        assert not finite[1, 7]
        assert int(finite.sum()) == 2 * 30 - 1
    assert all(not x.isfinite().all() for x in parameters[:1])


def test_results_are_written_whole_and_nothing_beside_them(monkeypatch):
    frames = []

    def empty(like, width):
        frame = torch.full((like.shape[0] * like.shape[1] * width + 64,), torch.nan)
        frame[:32], frame[-32:] = 7.0, 7.0
        frames.append(frame)
        return frame[32:-32].view(like.shape[0], like.shape[1], width)

    monkeypatch.setattr(native, "empty_rows", empty)
    layers = random_layers(2, 65, 35, (33, 5), True)
    pre = run(layers, torch.randn(2, 65, 5), None)
    assert all(x.isfinite().all() for x in pre)
    assert len(frames) == 4  # GELU's argument, features, two gradients
    for frame in frames:
        assert (frame[:32] == 7).all()
        assert (frame[-32:] == 7).all()


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)])
def test_an_empty_batch_has_zero_gradients(shape):
    layers = random_layers(*shape, 6, (5, 3), False)
    out, dx, dresidual, *parameters = run(layers, torch.randn(*shape, 3), None)
    assert out.shape == (*shape, 3)
    assert dx.numel() == dresidual.numel() == 0
    assert all((x == 0).all() for x in parameters)


def test_frozen_parameters_and_inputs_cost_no_gradient():
    layers = random_layers(1, 9, 8, (5, 3), False)
    pres = [torch.randn(1, 9, 5)]
    grads = native.residual_mlp_backward(
        torch.randn(1, 9, 3),
        layers.call(),
        pres,
        need_input=True,
        need_residual=False,
        need_parameters=False,
    )
    assert grads[0].shape == layers.x.shape
    assert all(x.numel() == 0 for x in (*grads[1:4], *grads[4], *grads[5]))


# ---- Refusals ------------------------------------------------------------------------------------

X, W, B = torch.randn(2, 5, 8), torch.randn(3, 8), torch.randn(3)
BAD_PROJECTIONS = {
    "rank": ((X[0], [W], [B], None), ValueError, r"x must have shape \(B, T, inputs\)"),
    "dtype": ((X.double(), [W], [B], None), TypeError, "x must be torch.float32"),
    "device": ((X.to("meta"), [W], [B], None), ValueError, "x must be a dense CPU tensor"),
    "layout": ((X.to_sparse(), [W], [B], None), ValueError, "dense CPU tensor"),
    "width": ((X, [W[:, :7]], [B], None), ValueError, r"shape \(outputs, 8\).*\(3, 7\)"),
    "no outputs": ((X, [W[:0]], [B[:0]], None), ValueError, "without zeros"),
    "weight dtype": ((X, [W.half()], [B], None), TypeError, "a weight must be torch.float32"),
    "bias": ((X, [W], [B[:2]], None), ValueError, r"a bias must have shape \(3,\)"),
    "count": ((X, [W, W], [B], None), ValueError, "equally many"),
    "none": ((X, [], [], None), ValueError, "at least one"),
    "lengths size": ((X, [W], [B], torch.tensor([5])), ValueError, "one entry per bag, 2"),
    "lengths value": ((X, [W], [B], torch.tensor([5, 6])), ValueError, r"from 0 to T = 5"),
    "lengths sign": ((X, [W], [B], torch.tensor([-1, 5])), ValueError, r"from 0 to T = 5"),
    "lengths dtype": ((X, [W], [B], torch.tensor([5.0, 5.0])), TypeError, "lengths must be"),
}


@pytest.mark.parametrize("case", BAD_PROJECTIONS)
def test_pointers_never_leave_unchecked(case):
    arguments, error, message = BAD_PROJECTIONS[case]
    with pytest.raises(error, match=message):
        native.projections_forward(schema.Projections.checked(*arguments))


BAD_LAYERS = {
    "residual": ("residual", torch.randn(2, 5, 7), ValueError, "residual must have shape"),
    "norm_weight": ("norm_weight", torch.randn(7), ValueError, "norm_weight must have shape"),
    "norm_bias": ("norm_bias", torch.randn(8).double(), TypeError, "norm_bias must be"),
    "keep shape": ("keeps", [torch.ones(2, 5, 4) > 0] * 2, ValueError, "keep must have shape"),
    "keep dtype": ("keeps", [torch.ones(2, 5, 6)] * 2, TypeError, "keep must be torch.bool"),
    "keep count": ("keeps", [torch.ones(2, 5, 6) > 0], ValueError, "keeps must be empty or hold"),
    "one weight": ("weights", [torch.randn(8, 5)], ValueError, "weights must hold"),
    "biases": ("biases", [torch.randn(8)], ValueError, "biases must match"),
    "too deep": ("weights", [torch.randn(8, 5)] * 17, ValueError, "from 1 to 15 layers"),
}


@pytest.mark.parametrize("case", BAD_LAYERS)
def test_layers_that_do_not_fit_are_named(case):
    name, value, error, message = BAD_LAYERS[case]
    layers = random_layers(2, 5, 8, (6, 3), False)
    setattr(layers, name, value)
    with pytest.raises(error, match=message):
        native.residual_mlp_forward(layers.call(), training=True)


def test_a_gradient_of_another_shape_is_refused():
    call = schema.Projections(X, [W], [B], None)
    with pytest.raises(ValueError, match="grad must have shape"):
        native.projections_backward([torch.randn(2, 5, 2)], call, True, True)


def test_without_the_compiled_module_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(_native, "cpu", None)
    monkeypatch.setattr(_native, "cpu_problem", "it was not built")
    assert "it was not built" in native.why_not(X)
    assert not native.pays()
    with pytest.raises(RuntimeError, match="it was not built"):
        native.projections_forward(schema.Projections(X, [W], [B], None))
