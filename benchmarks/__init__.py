"""Measurements, never asserted: each file prints what it measured; docs/benchmarks.md keeps the figures."""
