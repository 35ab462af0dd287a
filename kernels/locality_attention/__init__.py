"""Locality attention on GPUs: forward and backward passes in Triton.

Importing this package imports nothing; :mod:`.launch` and the kernels import Triton.
"""
