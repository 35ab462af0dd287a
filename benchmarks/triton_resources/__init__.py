"""What the Triton kernels cost on each architecture, read from machine code: no GPU needed.

``python -m benchmarks.triton_resources`` compiles every shipped configuration ahead of time and
writes ``docs/triton-resources.json`` and ``.md``; the tests hold the table against the kernels.
"""
