"""Operators: one folder each, with its entry point ``api``, schema, definition and backends."""
