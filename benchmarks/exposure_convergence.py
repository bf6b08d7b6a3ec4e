"""``python -m benchmarks.exposure_convergence``: the mean of frames beside a real exposure."""

from benchmarks.keeping import run_study

if __name__ == "__main__":
    run_study("exposure_convergence")
