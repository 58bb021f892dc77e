"""What is measured, against whom: each module runs as `python -m benchmarks.<name> [--quick]`."""
