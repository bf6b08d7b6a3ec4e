"""Restore images with a trained network or any method: ``python -m benchmarks.restore``."""
