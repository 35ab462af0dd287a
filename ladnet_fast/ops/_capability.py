"""Which of NVIDIA's GPUs the kernels can run on, and what is left to older ones."""

from __future__ import annotations

import torch

#: Ampere: tensor cores for bf16 and tf32, and copies to shared memory that nothing waits for.
LEAST = (8, 0)


def why_not(index: int) -> str | None:
    """Return why no kernel can run on the GPU of that index, and what can; None if they can."""
    capability = torch.cuda.get_device_capability(index)
    if capability >= LEAST:
        return None
    return (
        f"the kernels need a GPU from sm_80 on, not sm_{capability[0]}{capability[1]}: there "
        'impl="reference" computes every operator in float32, float64 and float16 (bfloat16 if '
        "torch does), attention with memory that grows with the square of the length; the CPU's "
        "kernels do not need that: net.cpu()"
    )
