"""These tests compile kernels; under Triton's interpreter there is nothing to compile."""

from __future__ import annotations

import os

collect_ignore_glob = ["test_*.py"] if os.environ.get("TRITON_INTERPRET") == "1" else []
