"""torch's global state during a training, and after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ladnet_fast.engine.process import private_random_state

CPU = torch.device("cpu")


def determinism() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    enabled, warn_only = determinism()
    yield
    torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


@pytest.mark.parametrize("before", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("asked", [False, True])
def test_determinism_is_as_asked_inside_and_as_before_outside(
    before: tuple[bool, bool], asked: bool
) -> None:
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    inside = []

    def fail() -> None:
        with private_random_state(CPU, asked):
            inside.append(determinism())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [(asked or before[0], False)]
    assert determinism() == before


def test_the_flag_is_left_alone_where_it_need_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        raise AssertionError("this imports torch's compiler")

    with monkeypatch.context() as patched:
        patched.setattr("torch.use_deterministic_algorithms", slow)
        with private_random_state(CPU, deterministic=False):
            torch.rand(1)


def test_random_numbers_go_on_as_if_nothing_had_drawn_any() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with private_random_state(CPU, deterministic=False):
        torch.manual_seed(9)
    assert torch.equal(torch.rand(2), expected)
