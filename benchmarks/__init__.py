"""Measurements, each run as `python -m benchmarks.<name> [--quick]`; the last line is JSON."""
