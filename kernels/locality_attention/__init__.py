"""Locality attention on GPUs: forward and backward passes in Triton.

Importing this package does not import Triton; importing ``plan`` or a kernel does.
"""
