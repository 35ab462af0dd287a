"""What the environment chooses: sizes and device."""

from __future__ import annotations

import pytest
import torch

from . import settings
from .sizes import FULL, QUICK, SMALL, TINY


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch):
    for name in (settings.SIZES, settings.DEVICE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("", QUICK), ("quick", QUICK), ("full", FULL), ("small", SMALL), ("tiny", TINY)],
)
def test_sizes_go_by_name_and_are_quick_by_default(name, sizes, monkeypatch):
    monkeypatch.setenv(settings.SIZES, name)
    assert settings.chosen_sizes() == sizes


def test_sizes_that_are_none_are_answered_with_those_that_are(monkeypatch):
    monkeypatch.setenv(settings.SIZES, "huge")
    with pytest.raises(pytest.UsageError, match="one of full, quick, small, tiny; got 'huge'"):
        settings.chosen_sizes()


@pytest.mark.parametrize(("name", "index"), [("", 1), ("cuda", 1), ("cuda:0", 0), ("cuda:1", 1)])
def test_without_an_index_the_current_device_stays(name, index, two_gpus, monkeypatch):
    two_gpus[:] = [1]
    monkeypatch.setenv(settings.DEVICE, name)
    assert settings.chosen_device() == torch.device("cuda", index)
    assert two_gpus == [index]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda:9", "one of cuda:0, cuda:1; got 'cuda:9'"),
        ("abacus", "must be a torch device; got 'abacus'"),
    ],
)
def test_a_device_that_is_not_there_is_an_error(name, message, two_gpus, monkeypatch):
    monkeypatch.setenv(settings.DEVICE, name)
    with pytest.raises(pytest.UsageError, match=message):
        settings.chosen_device()


def test_without_a_gpu_the_reason_is_told_and_the_cpu_can_be_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(pytest.skip.Exception, match="no GPU"):
        settings.chosen_device()
    monkeypatch.setenv(settings.DEVICE, "cpu")
    assert settings.chosen_device() == torch.device("cpu")
