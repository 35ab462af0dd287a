"""``python -m ladnet_fast``: what works on this machine; needs the core only."""

from .doctor import report

print(report())
