"""Enumerations reach the compiled modules as strings, the same that Python's functions take."""

from __future__ import annotations

import pytest

from ladnet_fast import _native
from ladnet_fast.ops.ddl_loss import _compiled
from ladnet_fast.ops.ddl_loss.api import CHOICES
from ladnet_fast.ops.locality_attention.api import PRIORS

DTYPES = tuple(_compiled.DTYPES.values())

pytestmark = pytest.mark.skipif(_native.cpu is None, reason="needs the compiled module _cpu")


def make_batch(dtype="float32"):
    return _native.cpu.DdlBatch(
        bags=0, T=0, width=1, scores=0, features=0, dtype=dtype, batch_stride=0, row_stride=0,
        lengths=0, cu_seqlens=0,
    )  # fmt: skip


def make_problem(**words):
    return _native.cpu.AttentionProblem(
        **({"dtype": "float32", "prior": "none"} | words), scale=1.0, shape=(0, 1, 0, 1),
        lengths=0, cu_seqlens=0, offsets=0, w=0, b=0, threads=1,
    )  # fmt: skip


def ddl_forward(**words):
    """Read the options; the argument that comes next is missing, so nothing is computed."""
    options = {name: values[0] for name, values in CHOICES.items()} | words
    return _native.cpu.ddl_forward(
        make_batch(), labels=0, margin=0.1, eps=1e-6, topk_divisor=16, **options
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_known_by_its_name(dtype):
    make_batch(dtype)
    make_problem(dtype=dtype)


@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior_is_known_by_its_name(prior):
    make_problem(prior=prior)


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in CHOICES.items() for v in values]
)
def test_every_option_of_the_losses_is_known_by_its_name(name, value):
    with pytest.raises(TypeError, match="the argument threads is missing"):
        ddl_forward(**{name: value})


@pytest.mark.parametrize("given", ["", "Float32", "none ", "0"])
def test_an_unknown_name_is_refused_with_all_that_are_allowed(given):
    calls = {"dtype": (make_problem, DTYPES), "prior": (make_problem, PRIORS)}
    calls |= {name: (ddl_forward, values) for name, values in CHOICES.items()}
    for name, (call, allowed) in calls.items():
        with pytest.raises(
            ValueError, match=f"^{name} must be one of .*; got '{given}'$"
        ) as caught:
            call(**{name: given})
        assert all(value in str(caught.value) for value in allowed)


def test_a_number_is_no_name():
    with pytest.raises(TypeError):
        make_batch(0)
