"""LANet as a folder: weights, options and a model card; upload to the Hub and download from it.

The files are those of huggingface_hub's ``PyTorchModelHubMixin``: ``model.safetensors``,
``config.json`` and ``README.md``. Folders need no package but the core's; only what goes to or
comes from the Hub needs the extra "hub". The mixin is not a base class because importing it takes
longer than importing this package.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from .. import _files
from .._extras import import_extra
from .._version import __version__

if TYPE_CHECKING:
    from .lanet import LANet

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"

#: Entry of the weights' metadata that holds the options; what a training run writes has it, too.
_OPTIONS = "ladnet_fast.model"
#: Entry of a state dict's metadata that holds them.
STATE_OPTIONS = "ladnet_fast.model"
_VERSION = "ladnet_fast"  # entry of config.json beside the options
_CARD_ENTRIES = ("data", "figures", "extractor", "license", "notes")

_Net = TypeVar("_Net", bound="HubMixin")


class HubMixin:
    """``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` of `LANet`."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        card: Mapping[str, Any] | None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **push_options: Any,
    ) -> str | None:
        """Write weights, options and a model card into a folder.

        Parameters
        ----------
        save_directory : path-like
            The folder; it is made where it is missing. Its ``model.safetensors`` and
            ``config.json`` are replaced, a ``README.md`` only where ``card`` is given.
        card : mapping, optional
            What users of the model should know, for the card: ``data`` (what it was trained on),
            ``figures`` (a mapping such as ``{"frame AUC": 0.84}``), ``extractor`` (what computed
            the features), ``license`` (an identifier of the Hub's) and ``notes``.
        repo_id, push_to_hub, push_options
            With ``push_to_hub=True`` the folder is also uploaded, by default to its own name;
            further options as for `push_to_hub`.

        Returns
        -------
        str or None
            The commit's address if it was uploaded.

        Raises
        ------
        ValueError
            If ``card`` has another entry.
        """
        from .._tensors import save_tensors  # here, so that a network needs no safetensors

        net = _as_lanet(self)
        folder = Path(save_directory)
        options = options_of(net)
        text = _card(options, card or {})
        folder.mkdir(parents=True, exist_ok=True)
        metadata = {"format": "pt", _OPTIONS: json.dumps(options)}
        save_tensors(folder / WEIGHTS, net.state_dict(), metadata)
        described = json.dumps({**options, _VERSION: __version__}, indent=2)
        _files.atomic_write_text(folder / CONFIG, described + "\n")
        if card is not None or not (folder / CARD).exists():
            _files.atomic_write_text(folder / CARD, text)
        if push_to_hub:
            return _upload(folder, repo_id or folder.resolve().name, **push_options)
        return None

    @classmethod
    def from_pretrained(
        cls: type[_Net],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        device: str | torch.device = "cpu",
        **options: Any,
    ) -> _Net:
        """Load a network that `save_pretrained` wrote or that a training run left.

        Parameters
        ----------
        pretrained_model_name_or_path : path-like or str
            A folder, of `save_pretrained` or of a finished training run; or the name of a
            repository on the Hub, ``owner/name``.
        revision, cache_dir, token, force_download, local_files_only
            As huggingface_hub takes them. Offline (``local_files_only=True`` or HF_HUB_OFFLINE=1)
            what was fetched before is read.
        device : str or torch.device
            Where to put it.
        **options
            Options of `LANet` instead of the saved ones, such as ``dropout``; and ``impl``,
            which is not saved.

        Returns
        -------
        LANet
            In evaluation mode.

        Raises
        ------
        FileNotFoundError
            If the folder holds no model.
        ValueError
            If a file is damaged, names an option that LANet does not have, or the weights do not
            fit the options.
        """
        source = Path(pretrained_model_name_or_path)
        if source.is_dir():
            weights, config = source / WEIGHTS, source / CONFIG
        else:
            weights, config = _download(
                str(pretrained_model_name_or_path),
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        if not weights.is_file():
            raise FileNotFoundError(
                f"{source} holds no {WEIGHTS}: it is neither a folder of save_pretrained nor that "
                "of a finished training run"
            )
        from .._tensors import load_tensors

        metadata, state = load_tensors(weights)
        saved = _saved_options(weights, config, metadata)
        # Drawing weights that are replaced at once must not move the caller's random state.
        with torch.random.fork_rng(devices=[]):
            net = cls(**{**saved, **_known(options, "the call")})
        try:
            _as_lanet(net).load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{weights}: the weights don't fit the options: {error}") from error
        _as_lanet(net).to(device).eval()
        return net

    def push_to_hub(
        self, repo_id: str, *, card: Mapping[str, Any] | None = None, **options: Any
    ) -> str:
        """Upload the network to a repository on the Hub, which is made where it is missing.

        Parameters
        ----------
        repo_id : str
            ``owner/name``, or ``name`` for one's own.
        card : mapping, optional
            See `save_pretrained`.
        **options
            ``private``, ``token``, ``branch``, ``commit_message`` and ``create_pr``, as
            huggingface_hub takes them.

        Returns
        -------
        str
            The commit's address.
        """
        _hub()  # raises where the package is missing, before the weights are written
        with _files.temporary_folder(_files.cache_folder()) as folder:
            self.save_pretrained(folder, card=card)
            return _upload(folder, repo_id, **options)


def options_of(net: LANet) -> dict[str, Any]:
    """Return the options that make a network like ``net``, without ``impl``."""
    attention = net.attention
    prior = attention.prior
    options: dict[str, Any] = {
        "feature_dim": net.feature_dim,
        "hidden_dim": attention.k.out_features,
        "num_heads": attention.num_heads,
        "mlp_dims": [layer.out_features for layer in net.mlp if isinstance(layer, nn.Linear)],
        "kernel_size": net.kernel_size,
        "dropout": next(float(layer.p) for layer in net.mlp if isinstance(layer, nn.Dropout)),
        "prior": attention.prior_kind,
        "query_dim": net.query_dim,
    }
    if prior is not None:
        options |= {"prior_form": prior.form, "sigma": prior.sigma, "learn_prior": prior.learn}
    return options


def describe_in_state_dict(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """Put the network's options into its state dict's metadata; a hook of LANet.

    Its entries stay what they are. ``torch.save`` keeps the metadata, also through
    ``torch.nn.DataParallel``.
    """
    metadata[STATE_OPTIONS] = options_of(_as_lanet(module))  # type: ignore[arg-type]


def options_in_state_dict(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the options in a state dict's metadata; None where there are none."""
    metadata = getattr(state, "_metadata", None)
    if not isinstance(metadata, Mapping):
        return None
    found = [
        entry[STATE_OPTIONS]
        for entry in metadata.values()
        if isinstance(entry, Mapping) and isinstance(entry.get(STATE_OPTIONS), dict)
    ]
    return dict(found[0]) if len(found) == 1 else None


def _as_lanet(net: HubMixin) -> LANet:
    from .lanet import LANet

    assert isinstance(net, LANet)
    return net


def _saved_options(weights: Path, config: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the options beside the weights, or in them."""
    place = config if config.is_file() else weights
    text = config.read_text(encoding="utf-8") if config.is_file() else metadata.get(_OPTIONS)
    if text is None:
        raise ValueError(
            f"{weights} does not say which options its network has, and there is no {CONFIG} "
            "beside it"
        )
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: the options are no JSON ({error})") from error
    if not isinstance(options, dict):
        raise ValueError(f"{place}: the options must be an object; got {type(options).__name__}")
    # impl was chosen for the machine that trained.
    return {name: value for name, value in _known(options, str(place)).items() if name != "impl"}


def _known(options: Mapping[str, Any], source: str) -> dict[str, Any]:
    from .lanet import LANet

    allowed = [name for name in inspect.signature(LANet.__init__).parameters if name != "self"]
    unknown = sorted(options.keys() - {*allowed, _VERSION})
    if unknown:
        raise ValueError(
            f"{source} gives {', '.join(unknown)}, which this version of LANet does not have; it "
            f"has {', '.join(allowed)}"
        )
    return {name: value for name, value in options.items() if name != _VERSION}


# ---- The Hub -------------------------------------------------------------------------------------


def _hub() -> Any:
    return import_extra("huggingface_hub", extra="hub", purpose="move models to and from the Hub")


def _download(repo_id: str, **options: Any) -> tuple[Path, Path]:
    hub = _hub()
    try:
        folder = Path(
            hub.snapshot_download(repo_id, allow_patterns=[WEIGHTS, CONFIG, CARD], **options)
        )
    except (ValueError, OSError) as error:
        # Also what the Hub's own errors are.
        raise FileNotFoundError(
            f"{repo_id} is no folder here, and huggingface_hub could not get it as a repository "
            f"({type(error).__name__}: {str(error).splitlines()[0]}); give a folder, or the name "
            "owner/name of a repository that you may read"
        ) from error
    return folder / WEIGHTS, folder / CONFIG


def _upload(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    commit_message: str = "LANet by ladnet_fast",
    create_pr: bool | None = None,
) -> str:
    api = _hub().HfApi(token=token)
    repo_id = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
    if branch is not None:
        api.create_branch(repo_id=repo_id, branch=branch, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        allow_patterns=[WEIGHTS, CONFIG, CARD],
        commit_message=commit_message,
        revision=branch,
        create_pr=create_pr,
    )
    return str(commit)


# ---- The card ------------------------------------------------------------------------------------


def _card(options: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    unknown = sorted(told.keys() - set(_CARD_ENTRIES))
    if unknown:
        raise ValueError(
            f"card must have no entries but {', '.join(_CARD_ENTRIES)}; got {', '.join(unknown)}"
        )
    unsaid = "Not stated."
    licence = [f"license: {json.dumps(str(told['license']))}"] if "license" in told else []
    figures = told.get("figures") or {}
    lines = [
        "---",
        *licence,
        "library_name: ladnet-fast",
        "pipeline_tag: video-classification",
        "tags:",
        "- video-anomaly-detection",
        "- weakly-supervised",
        "---",
        "",
        "# LA-Net",
        "",
        "Scores every snippet of a video for anomaly, trained with one label per video:",
        "[arXiv 2208.05636](https://arxiv.org/abs/2208.05636).",
        "",
        "```python",
        "from ladnet_fast import LANet",
        "",
        'net = LANet.from_pretrained("owner/name")  # or a folder',
        f"scores, features = net(x)  # x: (B, T, {options['feature_dim']})",
        "```",
        "",
        "## Features",
        "",
        f"{options['feature_dim']} numbers per snippet. {told.get('extractor', unsaid)}",
        "",
        "## Data",
        "",
        str(told.get("data", unsaid)),
        "",
        "## Figures",
        "",
    ]
    if figures:
        lines += ["| figure | value |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in figures.items()]
    else:
        lines.append(unsaid)
    if "notes" in told:
        lines += ["", "## Notes", "", str(told["notes"])]
    lines += ["", "## Options", "", "| option | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in options.items()]
    return "\n".join(lines) + f"\n\nWritten by ladnet_fast {__version__}.\n"
