"""Networks in folders that move, and their way to the Hub and back."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ladnet_fast import LANet
from ladnet_fast._extras import MissingExtraError
from ladnet_fast.engine import ModelConfig, load_model
from ladnet_fast.engine.weights import save_model
from ladnet_fast.nn.hub import CARD, CONFIG, WEIGHTS, options_of

OPTIONS = [
    {},
    {"prior": "logit", "prior_form": "exp_abs", "num_heads": 4, "query_dim": 5},
    {"prior": "none", "kernel_size": 1, "dropout": 0.0, "mlp_dims": (3,)},
    {"sigma": 0.5, "learn_prior": False, "mlp_dims": (9, 7, 5)},
]


def network(**options) -> LANet:
    return LANet(**{"feature_dim": 6, "hidden_dim": 8, "mlp_dims": (7, 4), **options}).eval()


def scores(net: LANet) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 11, 6, generator=generator)
    query = None if net.query_dim is None else torch.randn(2, 11, 5, generator=generator)
    with torch.no_grad():
        return net(x, query=query).scores


@pytest.mark.parametrize("options", OPTIONS)
def test_a_network_comes_back_from_its_folder_to_the_bit(tmp_path, options):
    net = network(**options)
    net.save_pretrained(tmp_path / "there")
    again = LANet.from_pretrained(tmp_path / "there")
    assert torch.equal(scores(net), scores(again))
    assert options_of(again) == options_of(net)
    assert not again.training
    assert {p.name for p in (tmp_path / "there").iterdir()} >= {WEIGHTS, CONFIG, CARD}


def test_options_of_a_network_make_it_again():
    for options in OPTIONS:
        net = network(**options)
        assert options_of(LANet(**options_of(net))) == options_of(net)


def test_a_training_runs_weights_load_without_a_config(tmp_path):
    config = ModelConfig(feature_dim=6, hidden_dim=8, mlp_dims=(7, 4), impl="native")
    net = config.build().eval()
    save_model(tmp_path / WEIGHTS, net, config)
    assert torch.equal(scores(LANet.from_pretrained(tmp_path)), scores(net))
    assert LANet.from_pretrained(tmp_path).attention.impl == "auto"  # the other machine's choice


def test_the_commands_read_the_folder_too(tmp_path):
    net = network()
    net.save_pretrained(tmp_path)
    assert torch.equal(scores(load_model(tmp_path)), scores(net))


def test_the_caller_may_choose_who_computes_and_where(tmp_path):
    network().save_pretrained(tmp_path)
    net = LANet.from_pretrained(tmp_path, impl="reference", dropout=0.5, device="cpu")
    assert net.attention.impl == "reference"
    assert options_of(net)["dropout"] == 0.5


def test_random_numbers_of_the_caller_stay_where_they_are(tmp_path):
    network().save_pretrained(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    LANet.from_pretrained(tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_the_card_says_what_it_was_told(tmp_path):
    card = {
        "data": "Twelve videos of one corridor.",
        "figures": {"frame AUC": 0.8123},
        "extractor": "I3D, Kinetics-400, every 16 frames.",
        "license": "mit",
        "notes": "Not for other corridors.",
    }
    network().save_pretrained(tmp_path, card=card)
    text = (tmp_path / CARD).read_text(encoding="utf-8")
    for part in (
        "Twelve videos",
        "| frame AUC | 0.8123 |",
        "I3D, Kin",
        'license: "mit"',
        "Not for",
    ):
        assert part in text
    with pytest.raises(ValueError, match=r"card must have no entries but data.*; got metrics"):
        network().save_pretrained(tmp_path, card={"metrics": {}})


def test_a_card_that_somebody_wrote_stays_unless_another_is_given(tmp_path):
    (tmp_path / CARD).write_text("mine")
    network().save_pretrained(tmp_path)
    assert (tmp_path / CARD).read_text() == "mine"
    network().save_pretrained(tmp_path, card={"data": "ours"})
    assert "ours" in (tmp_path / CARD).read_text()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"feature_dim": 6, "depth": 3}', "gives depth, which this version of LANet does not"),
        ("{", "no JSON"),
        ("[]", "must be an object; got list"),
        ('{"feature_dim": 7}', "the weights don't fit the options"),
    ],
)
def test_a_config_that_does_not_fit_is_named(tmp_path, config, message):
    network().save_pretrained(tmp_path)
    (tmp_path / CONFIG).write_text(config)
    with pytest.raises(ValueError, match=message):
        LANet.from_pretrained(tmp_path)


def test_weights_without_options_are_an_error(tmp_path):
    save_file(network().state_dict(), tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=r"does not say which options .* config\.json"):
        LANet.from_pretrained(tmp_path)


def test_an_empty_folder_and_a_cut_file_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors"):
        LANet.from_pretrained(tmp_path)
    network().save_pretrained(tmp_path)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        LANet.from_pretrained(tmp_path)


# ---- The Hub -------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A package in huggingface_hub's place whose Hub is a folder."""
    shelf = tmp_path / "shelf"
    calls = SimpleNamespace(shelf=shelf, options={})

    class HfApi:
        def __init__(self, token=None):
            calls.options["token"] = token

        def create_repo(self, repo_id, private, exist_ok):
            (shelf / repo_id).mkdir(parents=True, exist_ok=exist_ok)
            return SimpleNamespace(repo_id=repo_id)

        def create_branch(self, repo_id, branch, exist_ok):
            calls.options["branch"] = branch

        def upload_folder(self, repo_id, folder_path, allow_patterns, **options):
            calls.options |= options
            for name in allow_patterns:
                shutil.copy(Path(folder_path) / name, shelf / repo_id / name)
            return f"https://hub/{repo_id}/commit/1"

    def snapshot_download(repo_id, allow_patterns, **options):
        calls.options |= options
        if not (shelf / repo_id).is_dir():
            raise OSError(f"404 for {repo_id}\nand more")
        return str(shelf / repo_id)

    module = ModuleType("huggingface_hub")
    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setenv("LADNET_CACHE", str(tmp_path / "cache"))
    return calls


def test_a_network_goes_to_the_hub_and_back(hub, tmp_path):
    net = network()
    address = net.push_to_hub("us/net", card={"data": "ours"}, token="secret", private=True)
    assert address == "https://hub/us/net/commit/1"
    assert "ours" in (hub.shelf / "us/net" / CARD).read_text()
    assert not list((tmp_path / "cache").iterdir())  # nothing is left behind
    again = LANet.from_pretrained("us/net", revision="main", local_files_only=True)
    assert torch.equal(scores(again), scores(net))
    assert hub.options["local_files_only"] is True
    assert hub.options["revision"] == "main"


def test_saving_can_push_too(hub, tmp_path):
    address = network().save_pretrained(tmp_path / "mine", push_to_hub=True, branch="trial")
    assert address == "https://hub/mine/commit/1"
    assert hub.options["branch"] == "trial"


def test_a_name_that_is_neither_folder_nor_repository_says_so(hub):
    with pytest.raises(FileNotFoundError, match=r"us/none is no folder here.*\(OSError: 404 for"):
        LANet.from_pretrained("us/none")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ladnet-fast\[hub\]'"):
        LANet.from_pretrained("us/net")
    with pytest.raises(MissingExtraError, match=r"ladnet-fast\[hub\]"):
        network().push_to_hub("us/net")


def test_the_hubs_own_mixin_reads_the_folder(tmp_path):
    hub_package = pytest.importorskip("huggingface_hub", reason="in the extra [hub]")

    class Reader(torch.nn.Module, hub_package.PyTorchModelHubMixin):
        def __init__(self, feature_dim: int, hidden_dim: int, mlp_dims: list[int]) -> None:
            super().__init__()
            self.net = LANet(feature_dim, hidden_dim, mlp_dims=mlp_dims)

        def load_state_dict(self, state, strict=True):
            return self.net.load_state_dict(state)

        def state_dict(self, *args, **kwargs):
            return self.net.state_dict(*args, **kwargs)

    net = network()
    net.save_pretrained(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["feature_dim"] == 6
    read = Reader.from_pretrained(str(tmp_path))
    assert torch.equal(scores(read.net.eval()), scores(net))
    assert load_file(tmp_path / WEIGHTS).keys() == net.state_dict().keys()
