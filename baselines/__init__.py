"""The deblurring methods the benchmarks compare, true to their papers (they need torch)."""
