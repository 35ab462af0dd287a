"""Losses as modules."""

from .ddl import DDLLoss
from .with_loss import WithLoss

__all__ = ["DDLLoss", "WithLoss"]
