"""The DDL losses as a module that holds their options."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from .. import _values
from ..ops import _impl
from ..ops.ddl_loss import DDLTerms, ddl_loss
from ..ops.ddl_loss.api import ALIGNMENT_FORMS, check_options

#: Named sets of options. "paper" holds every term of the paper in its own form, with this project's
#: values for what the paper leaves open; "mil" is the multiple-instance loss alone. They stay
#: as they are when the defaults change.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "ranking_weight": 0.1,
                "alignment_weight": 1.0,
                "margin": 0.1,
                "topk_divisor": 16,
                "eps": 1e-6,
                "pairing": "batch_mean",
                "select": "topk",
                "detach": "none",
                "alignment_form": "product",
            }
        ),
        "mil": MappingProxyType({"ranking_weight": 0.0, "alignment_weight": 0.0}),
    }
)


def preset_options(name: str) -> dict[str, Any]:
    """Return the options of a preset; ValueError lists the names if it is none."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}")
    return dict(PRESETS[name])


class DDLLoss(nn.Module):
    """Compute the losses of Discriminative Dynamics Learning: MIL, ranking and alignment.

    The options are those of `ladnet_fast.functional.ddl_loss`, where the equations stand. The
    module has no parameters and no state.

    Its defaults are not the function's, which are the paper's form: no ranking, and an alignment
    whose gradient goes into the features alone. docs/accuracy.md has the reason: the paper's form
    cost accuracy where it made a difference. ``DDLLoss.from_preset("paper")`` has it.

    Examples
    --------
    >>> criterion = DDLLoss()
    >>> scores, features = net(x, lengths)
    >>> terms = criterion(scores, features, labels, lengths=lengths)
    >>> terms.total.backward()
    """

    def __init__(
        self,
        ranking_weight: float = 0.0,
        alignment_weight: float = 5.0,
        margin: float = 0.1,
        topk_divisor: int = 16,
        eps: float = 1e-6,
        pairing: str = "batch_mean",
        select: str = "topk",
        detach: str = "score",
        impl: str = "auto",
        alignment_form: str = "product",
    ) -> None:
        super().__init__()
        self.ranking_weight, self.alignment_weight, options = check_options(
            ranking_weight, alignment_weight, margin, topk_divisor, eps, pairing, select, detach
        )
        self.margin = options.margin
        self.topk_divisor = options.topk_divisor
        self.eps = options.eps
        self.pairing = options.pairing
        self.select = options.select
        self.detach = options.detach
        self.impl = _values.choice("impl", impl, _impl.IMPLS)
        self.alignment_form = _values.choice("alignment_form", alignment_form, ALIGNMENT_FORMS)

    @classmethod
    def from_preset(cls, name: str, **options: Any) -> DDLLoss:
        """Make the criterion from a preset; ``options`` win over it.

        Parameters
        ----------
        name : {"paper", "mil"}
            "paper": all terms in the paper's own form (weights, margin and eps, which the paper
            doesn't give, are this project's). "mil": the multiple-instance loss alone.
        **options
            Any of the constructor.

        Raises
        ------
        ValueError
            If there is no such preset, or an option is not allowed.

        Examples
        --------
        >>> DDLLoss.from_preset("paper", margin=0.2)
        """
        return cls(**{**preset_options(name), **options})

    def forward(
        self,
        scores: Tensor,
        features: Tensor,
        labels: Tensor,
        lengths: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> DDLTerms:
        """Return the losses of a batch; see `ladnet_fast.functional.ddl_loss`."""
        return ddl_loss(
            scores,
            features,
            labels,
            lengths=lengths,
            cu_seqlens=cu_seqlens,
            ranking_weight=self.ranking_weight,
            alignment_weight=self.alignment_weight,
            margin=self.margin,
            topk_divisor=self.topk_divisor,
            eps=self.eps,
            pairing=self.pairing,
            select=self.select,
            detach=self.detach,
            impl=self.impl,
            alignment_form=self.alignment_form,
        )

    def extra_repr(self) -> str:
        """Return the options, for ``print(module)``."""
        return (
            f"ranking_weight={self.ranking_weight}, alignment_weight={self.alignment_weight}, "
            f"margin={self.margin}, topk_divisor={self.topk_divisor}, eps={self.eps}, "
            f"pairing={self.pairing!r}, select={self.select!r}, detach={self.detach!r}, "
            f"impl={self.impl!r}, alignment_form={self.alignment_form!r}"
        )
