"""A network that returns its loss beside its scores, as training frameworks expect."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import LANet
from .ddl import DDLLoss


class WithLoss(nn.Module):
    """LANet whose output holds the loss when labels are given.

    transformers' ``Trainer`` and others call a model with a batch's entries as keyword arguments
    and take ``output["loss"]``.

    Parameters
    ----------
    net : LANet
        The network; its weights are this module's under the prefix ``net.``.
    criterion : DDLLoss, optional
        ``DDLLoss()`` if not given.

    Examples
    --------
    >>> output = WithLoss(LANet(feature_dim=1024))(x=x, lengths=lengths, labels=labels)
    >>> output["loss"].backward()
    """

    def __init__(self, net: LANet, criterion: DDLLoss | None = None) -> None:
        super().__init__()
        self.net = net
        self.criterion = DDLLoss() if criterion is None else criterion

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        query: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return ``scores`` (B, T) and ``features`` (B, T, C), with ``labels`` (B,) ``loss`` first.

        Arguments otherwise as `ladnet_fast.LANet.forward` takes them; ``loss`` is
        `ladnet_fast.DDLTerms.total`.
        """
        scores, features = self.net(x, lengths, query)
        output = {"scores": scores, "features": features}
        if labels is None:
            return output
        return {"loss": self.criterion(scores, features, labels, lengths).total, **output}
