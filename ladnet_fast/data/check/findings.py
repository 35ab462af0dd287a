"""The findings of a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..._wording import first_few

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem.

    Attributes
    ----------
    severity : "error" or "warning"
        With an error, training or evaluation fails or gives a wrong result; a warning may be fine.
    kind : str
        One of a fixed set of short names, such as ``"missing"``, for programs.
    videos : tuple of str
        Names of the videos that it is about; empty for the whole set.
    text : str
        What is wrong and what to do, in a sentence or two.
    """

    severity: Severity
    kind: str
    videos: tuple[str, ...]
    text: str


@dataclass(slots=True)
class Report:
    """All findings, and what was counted.

    Attributes
    ----------
    findings : list of Finding
        Errors first, otherwise in the order of the list.
    counts : dict
        Figures of the set by name, of JSON types.
    """

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)

    def add(self, severity: Severity, kind: str, videos: Sequence[str] | str, text: str) -> None:
        """Append a finding."""
        names = (videos,) if isinstance(videos, str) else tuple(videos)
        self.findings.append(Finding(severity, kind, names, text))

    def sort(self) -> None:
        """Bring errors to the front, and keep each kind together, otherwise as they were found."""
        first = {kind: at for at, kind in reversed(list(enumerate(f.kind for f in self.findings)))}
        self.findings.sort(key=lambda f: (f.severity == "warning", first[f.kind]))

    @property
    def errors(self) -> list[Finding]:
        """The findings that are errors."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that are warnings."""
        return [finding for finding in self.findings if finding.severity == "warning"]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "counts": self.counts,
            "findings": [
                {"severity": f.severity, "kind": f.kind, "videos": list(f.videos), "text": f.text}
                for f in self.findings
            ],
        }


def some(names: Sequence[str]) -> str:
    """Name the first few of many, and count the others."""
    return first_few(map(repr, names))
