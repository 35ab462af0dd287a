"""The attention kernels that are shipped: which there are, and how each is compiled.

Launches are planned by the kernels' own host code, on tensors without memory, so what is measured
is what runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from ladnet_fast.kernels.launch import Launch
from ladnet_fast.kernels.locality_attention import configs
from ladnet_fast.kernels.locality_attention.configs import TWO_LAUNCHES, Config
from ladnet_fast.kernels.locality_attention.plan import plan_backward, plan_forward
from ladnet_fast.ops.locality_attention.layout import empty_lse, empty_output

from .triton_build import Build

ARCHITECTURES = tuple(configs.SHARED_BYTES)
#: Which variants of each kernel are compiled. "inference" is the additive forward pass that does
#: not store the softmax's share; "-split": with split keys, whose parts "combine" joins. Kernels
#: named "backward" and "short_backward" are compiled once for a prior, but have a row for the loops
#: of dK and dV, and one for those of dQ: "-queries".
MODES = {
    "forward": (
        "none", "additive", "inference", "logit", "none-split", "additive-split", "logit-split",
    ),
    **dict.fromkeys(configs.SHORT, ("none", "additive", "inference", "logit")),
    "combine": ("none", "additive", "inference"),
    "preprocess": ("none", "additive"),
    **dict.fromkeys(
        (configs.SHORT_BACKWARD, "backward"),
        ("none", "additive", "logit", "none-queries", "additive-queries", "logit-queries"),
    ),
    "backward_keys": ("none", "additive", "logit"),
    "backward_queries": ("none", "logit"),
}  # fmt: skip
_PRIORS = {
    "inference": "additive",
    "none-split": "none",
    "additive-split": "additive",
    "logit-split": "logit",
    "none-queries": "none",
    "additive-queries": "additive",
    "logit-queries": "logit",
}
_DTYPES = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "tf32": torch.float32,
    "fp32": torch.float32,
}
#: How bags may lie: of one length; padded, with lengths; end to end. Their rows are found by
#: different code, which takes registers of its own.
LAYOUTS = ("dense", "padded", "packed")
# A training batch; nothing of it but alignment reaches the compiler.
_B, _H, _T = 4, 2, 1000
#: For the kernels of a plan that are not looked at.
_OTHER = Config(64, 64, 64, 4, 2)


@dataclass(frozen=True)
class Variant:
    """One kernel in one configuration; it is compiled for each of `LAYOUTS`.

    Parameters
    ----------
    kernel, mode
        A key of `MODES` and one of its values: "additive", "logit" and "none" are priors;
        "inference" is the additive forward pass that does not keep the softmax's share; "-split"
        behind a prior: with split keys; "-queries": the loops of dQ where one launch also computes
        dK and dV.
    architecture
        80, 86, 90, 100, 110 or 120.
    precision
        "fp32" is IEEE, "tf32" float32 rounded for tensor cores.
    """

    kernel: str
    mode: str
    architecture: int
    precision: str
    head_size: int
    config: Config

    @property
    def prior(self) -> str:
        """The prior that it is compiled for."""
        return _PRIORS.get(self.mode, self.mode)

    @property
    def split(self) -> bool:
        """Whether it computes or joins parts of split keys."""
        return self.kernel == "combine" or self.mode.endswith("-split")

    @property
    def name(self) -> str:
        """The key of its row, such as ``sm_90 bf16 forward additive d128 128x64/64w8s3``."""
        return (
            f"sm_{self.architecture} {self.precision} {self.kernel} {self.mode} "
            f"d{self.head_size} {self.config}"
        )

    @property
    def far_loops(self) -> int:
        """How many loops go over tiles far from the diagonal: logit may have one on either side."""
        if self.kernel in ("combine", "preprocess", *configs.SHORT):
            return 0
        if self.kernel == configs.SHORT_BACKWARD:  # its one loop, where near tiles are a branch
            return 1
        return 2 if self.prior == "logit" and not self.config.one_far_loop else 1

    @property
    def loops_before(self) -> int:
        """How many loops with products come before the far ones: those of dK and dV."""
        if not self.mode.endswith("-queries"):
            return 0
        if self.kernel == configs.SHORT_BACKWARD:
            return 1
        # The far loops are as many as its own; then near tiles, and the band.
        return self.far_loops + (2 if self.prior == "additive" else 1)

    @property
    def products(self) -> bool:
        """Whether it multiplies matrices at all."""
        return self.kernel != "combine" and (self.kernel, self.prior) != ("preprocess", "none")

    def without_prior(self) -> Variant:
        """Return the same kernel and configuration for ``prior="none"``."""
        config = replace(self.config, block_band=0, one_far_loop=False)
        half = "-queries" if self.mode.endswith("-queries") else ""
        mode = "none-split" if self.split else f"none{half}"
        return replace(self, mode=mode, config=config)

    def build(self, layout: str) -> Build:
        """Return it ready to be compiled for one of `LAYOUTS`."""
        launch = self._launch(layout)
        return Build(
            launch.kernel,
            {**launch.arguments, **launch.constexprs},
            architecture=self.architecture,
            options={"num_warps": launch.num_warps, "num_stages": launch.num_stages},
        )

    def _choose(self, kernel: str, prior: str) -> Config:
        if kernel == self.kernel:
            return self.config
        return TWO_LAUNCHES if kernel == "backward" else _OTHER

    def _launch(self, layout: str) -> Launch:
        batch, dtype = 1 if layout == "packed" else _B, _DTYPES[self.precision]
        T = sum(configs.SHORT.get(self.kernel, (_T,)))
        x = torch.empty(batch, _H, T, self.head_size, dtype=dtype, device="meta")
        heads = torch.empty(_H, dtype=torch.float32, device="meta")
        prior = "additive" if self.kernel == "preprocess" and self.mode != "none" else self.prior
        w, b = (None, None) if prior == "none" else (heads, heads)
        bounds = torch.empty(_B, dtype=torch.int64, device="meta")
        lengths = bounds if layout == "padded" else None
        cu_seqlens = bounds if layout == "packed" else None
        options: dict[str, Any] = {
            "prior": prior,
            "scale": self.head_size**-0.5,
            "precision": "tf32" if self.precision == "tf32" else "ieee",
            "choose": self._choose,
        }
        bags, out, lse = (lengths, cu_seqlens), empty_output(x), empty_lse(x)
        if self.kernel in ("forward", "combine", *configs.SHORT):
            kept = out if self.mode == "additive" else None
            return plan_forward(
                x, x, x, w, b, *bags, out, lse, kept, **options,
                multiprocessors=1, splits=2 if self.split else 1,
                kernel=self.kernel if self.kernel in configs.SHORT else "forward",
            )[self.kernel]  # fmt: skip
        backward = plan_backward(
            x, x, x, x, w, b, out, lse, *bags, out, out, out, need_prior_grad=True,
            kernel=self.kernel if self.kernel == configs.SHORT_BACKWARD else "backward", **options,
        )  # fmt: skip
        return backward.launches[self.kernel]


def shipped(
    architectures: tuple[int, ...] = ARCHITECTURES,
    precisions: tuple[str, ...] = configs.PRECISIONS,
    head_sizes: tuple[int, ...] = configs.HEAD_SIZES,
) -> Iterator[Variant]:
    """Yield every variant that users may meet, candidates for autotuning included."""
    for architecture in architectures:
        for precision in precisions:
            for kernel, modes in MODES.items():
                for size in head_sizes:
                    for mode in modes:
                        for config in configs.candidates(
                            kernel,
                            prior=_PRIORS.get(mode, mode),
                            architecture=architecture,
                            precision=precision,
                            head_size=size,
                        ):
                            if config == TWO_LAUNCHES:
                                continue
                            if config.whole_keys and mode.endswith("-split"):
                                continue
                            yield Variant(kernel, mode, architecture, precision, size, config)
