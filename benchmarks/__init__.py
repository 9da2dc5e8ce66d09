"""Measures, never tests: `make bench` (docs/benchmarks.md)."""
