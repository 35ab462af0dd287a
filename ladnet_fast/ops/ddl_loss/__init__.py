"""The losses of Discriminative Dynamics Learning: MIL, dynamics ranking, dynamics alignment."""

from .api import DDLTerms, ddl_loss

__all__ = ["DDLTerms", "ddl_loss"]
