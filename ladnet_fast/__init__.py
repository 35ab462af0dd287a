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

from . import functional
from ._version import __version__
from .functional import DDLTerms
from .losses import DDLLoss
from .nn import LANet, LANetOutput
from .ops._impl import ImplUnavailableError, use_impl

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
