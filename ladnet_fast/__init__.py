"""LA-Net with Discriminative Dynamics Learning, accelerated.

Weakly supervised video anomaly detection: a video is a bag of snippet features with one label, and
the network scores every snippet. The parts most users need:

>>> from ladnet_fast import LANet, DDLLoss
>>> net, criterion = LANet(), DDLLoss()
>>> scores, features = net(x, lengths)
>>> criterion(scores, features, labels, lengths).total.backward()

Y. Pu and X. Wu, "Locality-aware Attention Network with Discriminative Dynamics Learning for Weakly
Supervised Anomaly Detection", IEEE ICME 2022, arXiv 2208.05636.
"""

from typing import TYPE_CHECKING

from ._lazy import attach
from ._version import __version__

if TYPE_CHECKING:
    from . import data as data
    from . import engine as engine
    from . import functional
    from . import losses as losses
    from . import metrics as metrics
    from . import nn as nn
    from . import ops as ops
    from . import video as video
    from .functional import DDLTerms
    from .losses import DDLLoss
    from .nn import LANet, LANetOutput
    from .ops._impl import ImplUnavailableError, use_impl
else:  # the command line asks for torch only where it computes
    __getattr__, __dir__ = attach(
        __name__,
        {
            "DDLLoss": "losses",
            "DDLTerms": "functional",
            "ImplUnavailableError": "ops._impl",
            "LANet": "nn",
            "LANetOutput": "nn",
            "use_impl": "ops._impl",
        },
        ["data", "engine", "functional", "losses", "metrics", "nn", "ops", "video"],
    )

__all__ = [
    "DDLLoss",
    "DDLTerms",
    "ImplUnavailableError",
    "LANet",
    "LANetOutput",
    "__version__",
    "functional",
    "use_impl",
]
