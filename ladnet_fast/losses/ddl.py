"""The DDL losses as a module that holds their options."""

from __future__ import annotations

from torch import Tensor, nn

from .. import _values
from ..ops import _impl
from ..ops.ddl_loss import DDLTerms, ddl_loss
from ..ops.ddl_loss.api import check_options


class DDLLoss(nn.Module):
    """Compute the losses of Discriminative Dynamics Learning: MIL, ranking and alignment.

    The options are those of :func:`ladnet_fast.functional.ddl_loss`, where the equations stand. The
    module has no parameters and no state.

    Examples
    --------
    >>> criterion = DDLLoss()
    >>> scores, features = net(x, lengths)
    >>> terms = criterion(scores, features, labels, lengths=lengths)
    >>> terms.total.backward()
    """

    def __init__(
        self,
        ranking_weight: float = 0.1,
        alignment_weight: float = 1.0,
        margin: float = 0.1,
        topk_divisor: int = 16,
        eps: float = 1e-6,
        pairing: str = "batch_mean",
        select: str = "topk",
        detach: str = "none",
        impl: str = "auto",
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

    def forward(
        self,
        scores: Tensor,
        features: Tensor,
        labels: Tensor,
        lengths: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> DDLTerms:
        """Return the losses of a batch; see :func:`ladnet_fast.functional.ddl_loss`."""
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
        )

    def extra_repr(self) -> str:
        """Return the options, for ``print(module)``."""
        return (
            f"ranking_weight={self.ranking_weight}, alignment_weight={self.alignment_weight}, "
            f"margin={self.margin}, topk_divisor={self.topk_divisor}, eps={self.eps}, "
            f"pairing={self.pairing!r}, select={self.select!r}, detach={self.detach!r}, "
            f"impl={self.impl!r}"
        )
