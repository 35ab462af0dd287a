"""Benchmarks of ladnet_fast: one registry of operators, shapes and peers; runners; a report.

``python -m benchmarks --help`` says what can be run. Nothing here is installed with the package.
"""
