"""Losses as modules."""

from .ddl import DDLLoss

__all__ = ["DDLLoss"]
