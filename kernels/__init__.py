"""Triton kernels, one folder per operator; installed as ``ladnet_fast.kernels``."""
