"""Checking a data set before training: every file is read once, and every problem is listed."""

from .findings import Finding, Report
from .run import check_videos

__all__ = ["Finding", "Report", "check_videos"]
