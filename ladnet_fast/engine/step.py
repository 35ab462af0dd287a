"""What a training step computes on the device: forward, losses, backward, optimiser.

Nothing here waits for the device: no value comes back to the host, and no shape depends on one.
What the host wants to know of a step, it finds in `Evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch
from ..data.batch_reader import PackedBatch
from ..losses import DDLLoss
from ..nn import LANet
from ..ops.ddl_loss import DDLTerms


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is left of a step, on the device.

    Attributes
    ----------
    terms : DDLTerms
        The losses of this process, detached.
    values : Tensor, (4,)
        Their means over all processes: not finite if those of any process are not.
    peaks : Tensor or None, (number of parameters,)
        The largest magnitude in every parameter that was there before the optimiser's step, not
        finite where the parameter is not; None if it was not asked for.
    scores : Tensor
        (B, T), or (1, total) of packed bags.
    cu_seqlens : Tensor or None
        Where packed bags begin and end.
    """

    terms: DDLTerms
    values: Tensor
    peaks: Tensor | None
    scores: Tensor
    cu_seqlens: Tensor | None

    def bags(self) -> list[Tensor]:
        """Return the scores of each bag; waits for the device where bags are packed."""
        if self.cu_seqlens is not None:
            return list(self.scores[0].split(self.cu_seqlens.diff().tolist()))
        return list(self.scores)

    def kept(self) -> Evidence:
        """Return a copy that stays as it is when the step's own tensors are written again."""
        values = self.values.clone()
        return Evidence(
            DDLTerms(*values.unbind()),
            values,
            None if self.peaks is None else self.peaks.clone(),
            self.scores.clone(),
            self.cu_seqlens,
        )


class TrainingStep:
    """Forward, losses, backward and optimiser of a part of a batch.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        Processes, precision and accumulation.
    model : nn.Module
        The network as the accelerator has prepared it.
    net : LANet
        The network itself.
    criterion : DDLLoss
        The losses.
    optimizer : accelerate.optimizer.AcceleratedOptimizer
        Of the network's parameters.
    accumulate : int
        Parts that a whole batch has.
    clip_norm : float or None
        Largest norm of the gradient.
    look_at_weights : bool
        Whether `Evidence` has ``peaks``: needed where it is read after the weights have changed.
    """

    def __init__(
        self,
        accelerator: Any,
        model: nn.Module,
        net: LANet,
        criterion: DDLLoss,
        optimizer: Any,
        *,
        accumulate: int,
        clip_norm: float | None,
        look_at_weights: bool,
    ) -> None:
        self._accelerator, self._model, self._criterion = accelerator, model, criterion
        self._optimizer, self._accumulate, self._clip_norm = optimizer, accumulate, clip_norm
        self._parameters: Mapping[str, Tensor] = dict(net.named_parameters())
        self._look_at_weights = look_at_weights

    def losses(self, batch: Batch | PackedBatch) -> tuple[Tensor, Evidence]:
        """Return the total loss, to differentiate, and the evidence."""
        offsets = None
        if isinstance(batch, PackedBatch):
            offsets = batch.cu_seqlens
            out = self._model(batch.features, query=batch.query, cu_seqlens=offsets)
            terms = self._criterion(*(o[0] for o in out), batch.labels, cu_seqlens=offsets)
        else:
            lengths = batch.lengths
            out = self._model(batch.features, lengths=lengths, query=batch.query)
            terms = self._criterion(out.scores, out.features, batch.labels, lengths=lengths)
        own = DDLTerms(*(term.detach() for term in terms))
        # The mean over processes: a NaN in one stops all.
        values = self._accelerator.reduce(torch.stack(own), "mean")
        peaks = None
        if self._look_at_weights:
            with torch.no_grad():  # one launch for all
                weights = list(self._parameters.values())
                peaks = torch.stack(torch._foreach_norm(weights, torch.inf))
        return terms.total, Evidence(own, values, peaks, out.scores.detach(), offsets)

    def descend(self, total: Tensor, parts: int) -> None:
        """Go back from the loss of one of ``parts``; with the last of them the weights change."""
        accelerator = self._accelerator
        # Accelerate divides by the number of parts that a whole batch has.
        accelerator.backward(total * (self._accumulate / parts))
        if self._clip_norm is not None and accelerator.sync_gradients:
            accelerator.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def broken(self, peaks: list[float]) -> list[str]:
        """Name the parameters whose peak is not finite."""
        finite = torch.tensor(peaks, dtype=torch.float64).isfinite().tolist()
        return [name for name, sound in zip(self._parameters, finite, strict=True) if not sound]
