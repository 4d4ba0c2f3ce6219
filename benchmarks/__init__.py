"""Every speed claim of the README, as one runnable comparison each: ``python -m benchmarks.<name>``."""
