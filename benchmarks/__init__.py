"""Runners that train, restore, score and time: each is ``python -m benchmarks.<name>``."""
