"""The learnable location prior."""

from __future__ import annotations

import math
import numbers

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORMS = ("gaussian", "exp_abs")
#: Between these, w = 1 / (2 sigma) and its gradient are numbers of float32.
SMALLEST_SIGMA, LARGEST_SIGMA = 1e-12, 1e30


def check_sigma(sigma: float) -> float:
    """Return sigma as a float; ``ValueError`` if it is not a number in the allowed range."""
    number = isinstance(sigma, numbers.Real) and not isinstance(sigma, bool)
    if not (number and SMALLEST_SIGMA <= sigma <= LARGEST_SIGMA):  # NaN is in no range
        raise ValueError(
            f"sigma must be a finite number greater than 0, from {SMALLEST_SIGMA:g} to "
            f"{LARGEST_SIGMA:g}; got {sigma!r:.100}"
        )
    return float(sigma)


class LocationPrior(nn.Module):
    r"""Hold the parameters of :math:`G_{ij} = \exp(-|w (i - j)^2 + b|)`, one pair per head.

    ``form="gaussian"`` is LA-Net's prior :math:`\exp(-(i - j)^2 / (2 \sigma))`, sigma not squared
    (slide 8 of the authors' ICME 2022 presentation): one state-dict entry ``raw_sigma`` (H,) with
    sigma = softplus(raw_sigma), so sigma stays positive. ``form="exp_abs"`` has the entries ``w``
    and ``b`` (H,), of any sign, as in the authors' released code; it starts at the same Gaussian.
    The paper's sources do not say whether sigma is learned, nor its value.

    Parameters
    ----------
    num_heads : int
        H.
    form : {"gaussian", "exp_abs"}
        Which parameters.
    sigma : float
        Initial width, from 1e-12 to 1e30, in squared snippets: w = 1 / (2 sigma), b = 0.
    learn : bool
        If False the entries are buffers: in the state dict, but not trained.
    """

    def __init__(
        self, num_heads: int, form: str = "gaussian", sigma: float = 8.0, learn: bool = True
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"prior_form must be one of {', '.join(FORMS)}; got {form!r}")
        self.form = form
        self.sigma = check_sigma(sigma)
        self.learn = learn
        for name, value in self._initial().items():
            entry = torch.full((num_heads,), value)
            if learn:
                self.register_parameter(name, nn.Parameter(entry))
            else:
                self.register_buffer(name, entry)

    def _initial(self) -> dict[str, float]:
        if self.form == "gaussian":
            # The inverse of softplus, log(e^sigma - 1), in a form that does not overflow.
            return {"raw_sigma": self.sigma + math.log(-math.expm1(-self.sigma))}
        return {"w": 1 / (2 * self.sigma), "b": 0.0}

    def reset_parameters(self) -> None:
        """Set the prior back to its initial width."""
        with torch.no_grad():
            for name, value in self._initial().items():
                getattr(self, name).fill_(value)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return ``(w, b)``, each (H,): float32, or float64 in a float64 model."""
        if self.form == "gaussian":
            raw = self._entry("raw_sigma")
            w = 1 / (2 * F.softplus(raw))
            return w, torch.zeros_like(w)
        return self._entry("w"), self._entry("b")

    def _entry(self, name: str) -> Tensor:
        # Few numbers, so they stay exact in a model that was cast to half precision.
        entry: Tensor = getattr(self, name)
        return entry if entry.dtype == torch.float64 else entry.float()

    def extra_repr(self) -> str:
        """Return the options, for ``print(module)``."""
        return f"form={self.form!r}, sigma={self.sigma}, learn={self.learn}"
