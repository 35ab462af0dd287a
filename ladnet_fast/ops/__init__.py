"""Operators: one folder each, holding its door (``api``), schema, reference and backends."""
