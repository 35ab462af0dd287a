"""The examples run as they are, on the little data that they make."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from ladnet_fast import LANet

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("bags", None)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "package"),
    [("lightning_module", "lightning"), ("transformers_trainer", "transformers")],
)
def test_a_framework_trains_saves_and_loads(name, package, tmp_path, monkeypatch):
    pytest.importorskip(package, reason="in the extra [dev]")
    torch.manual_seed(0)
    auc = load(name, monkeypatch).main(str(tmp_path), epochs=2)
    assert 0 < auc <= 1
    net = LANet.from_pretrained(tmp_path / "net")
    assert net(torch.zeros(1, 5, 16)).scores.shape == (1, 5)


def test_their_bags_hide_nothing_in_the_padding(monkeypatch):
    bags = load("bags", monkeypatch).Bags(6, seed=0)
    assert len(bags) == 6
    for i in range(6):
        bag = bags[i]
        assert bag["truth"].any() == bool(bag["labels"])
        assert not bag["truth"][bag["lengths"] :].any()
