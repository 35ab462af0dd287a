"""Scores for people: a page to look through, and intervals to work with."""

from .intervals import Interval, as_csv, as_json, as_srt, intervals
from .page import PICTURE_BYTES, ReportVideo, page_text, write_page
from .pictures import peaks, pictures_of

__all__ = [
    "PICTURE_BYTES",
    "Interval",
    "ReportVideo",
    "as_csv",
    "as_json",
    "as_srt",
    "intervals",
    "page_text",
    "peaks",
    "pictures_of",
    "write_page",
]
