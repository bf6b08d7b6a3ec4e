"""Speed against rivals, each measured in the same run: ``python -m benchmarks.speed <what>``."""
