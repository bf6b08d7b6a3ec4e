"""``python -m benchmarks.interpolation``: blur from interpolated frames beside a real exposure."""

from benchmarks.keeping import run_study

if __name__ == "__main__":
    run_study("interpolation")
