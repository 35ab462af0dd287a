"""What the CUDA kernels cost on each architecture: registers, occupancy, loads, spills.

``python -m benchmarks.cuda_resources`` builds ``ladnet_fast._cuda``, reads its machine code and
writes ``docs/cuda-resources.json`` and ``.md``; the tests hold the table against the kernels. Needs
nvcc, and cuobjdump and nvdisasm of the CUDA toolkit or of triton; no GPU.
"""
