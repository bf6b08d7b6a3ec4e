"""Table 1 across K, DeblurGAN and Sun et al. beside it: ``python -m benchmarks.table1``.

    python -m benchmarks.table1 --scale smoke -o OUT
    python -m benchmarks.table1 --scale full --data GOPRO_Large -o OUT
    torchrun --nproc-per-node 2 -m benchmarks.table1 --scale full --data GOPRO_Large -o OUT

One sequence of steps: data, train, restore, score, detect, time, record, report. What a step makes
lies in a folder named after a hash of all that decides it (recipe, data, weights, code), so a
finished step is never repeated, a changed setting repeats exactly what depends on it, and a stopped
run resumes with the same command::

    OUT/data/                       rendered where no --data was given
    OUT/train/<method>-<hash>/      as benchmarks.train leaves it
    OUT/restored/<set>/<method>-<hash>/   images
    OUT/scores/<set>-<hash>/        as gopro_tools.evaluate leaves it
    OUT/detection-<hash>/           as gopro_tools.detect leaves it
    OUT/times/                      seconds per image
    OUT/record/                     everything that the report is made from
    OUT/report/                     tables and figures, a pure function of the record
"""
