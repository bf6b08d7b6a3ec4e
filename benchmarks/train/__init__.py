"""Train any method that learns: ``python -m benchmarks.train``, alone or under torchrun.

`run` is the loop, `journal` what is written for people to watch. What a method does in one step is
its own file's in `baselines`, how the machine does it `baselines.machine`'s.
"""

from baselines.machine import RunOptions
from benchmarks.train.run import Progress, TrainResult, train

__all__ = ["Progress", "RunOptions", "TrainResult", "train"]
