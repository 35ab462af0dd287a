"""Triton kernels, one folder an operator; installed as ``ladnet_fast.kernels``."""
