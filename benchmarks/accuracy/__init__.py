"""Accuracy: configurations of LA-Net and DDL, and baselines, compared on any labelled manifest.

``python -m benchmarks accuracy MANIFEST ...`` trains every configuration of a grid with every seed,
keeps each run's scores, and writes tables with intervals. Needs the extra "tools".
"""
