"""Train any method that learns: ``python -m benchmarks.train``, alone or under torchrun.

`run` is the loop, `steps` one step of it, `folder` and `journal` what it writes.
What a method does in one step is its own file's in `baselines`, how the machine does it
`baselines.machine`'s.
"""
