"""The deblurring methods the benchmarks compare, true to their papers (they need torch)."""

import gopro_tools  # noqa: F401 - first, as it makes Ctrl-C quiet while the rest loads
