"""Fixtures and helpers that every test folder may use."""

from __future__ import annotations

import os

import pytest
import torch

# More threads than cores make the many small tests slower, and results must not depend on it.
torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
