"""The operators as functions: ``import ladnet_fast.functional as LF``."""

from .ops.ddl_loss import DDLTerms, ddl_loss
from .ops.locality_attention import locality_attention

__all__ = ["DDLTerms", "ddl_loss", "locality_attention"]
