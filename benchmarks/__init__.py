"""Runners that train, restore, score and time: each is ``python -m benchmarks.<name>``."""

import gopro_tools  # noqa: F401 - first, as it makes Ctrl-C quiet while the rest loads
