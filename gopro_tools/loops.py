"""Compile the loops ahead of their first use: ``python -m gopro_tools.loops``.

Every command compiles what it needs where it is not there yet, once per machine; see
`gopro_tools.machine_code`. Here it is done beside other work, as ``make demo`` does.
"""

from gopro_tools import averaging, flow, png_encoder
from gopro_tools.metrics import kernels


def main() -> None:
    """Load, and so compile, what is used most: averaging, PNG files, optical flow, SSIM."""
    averaging.load_loops()
    png_encoder.load_loops()
    flow.load_loops()
    kernels.load_loops()


if __name__ == "__main__":
    main()
