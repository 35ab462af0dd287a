"""What lies in the folders here runs under Triton's interpreter, in a process of its own.

``TRITON_INTERPRET=1`` counts only if it is set before Triton is first imported, and other tests
compile kernels for GPUs. So a plain ``pytest`` leaves these files to ``test_interpreted.py``, which
starts processes for them; ``TRITON_INTERPRET=1 python -m pytest tests/kernels`` runs them directly.
"""

from __future__ import annotations

import os

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

collect_ignore_glob = ["test_interpreted.py"] if INTERPRETED else ["*/test_*.py"]

if INTERPRETED:
    from .interpreter import speed_up

    speed_up()
