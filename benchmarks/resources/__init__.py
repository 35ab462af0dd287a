"""What the GPU kernels cost, read from machine code: no GPU needed, and nothing here is a time.

``python -m benchmarks.resources triton`` compiles every shipped configuration of the attention
kernels ahead of time; ``... cuda`` builds the module ``ladnet_fast._cuda``. Both write their part
of ``docs/gpu-resources.json`` and the page ``docs/gpu-resources.md``, and the tests compare the
table with the kernels.
"""
