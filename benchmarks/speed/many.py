"""Datasets of many images: whether time grows with their number, and memory hardly.

The commands run as users type them, each in a process of its own, on a dataset of tiny images that
grows. Of an image this small, reading and scoring take next to nothing: what shows is the rest.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.speed.timing import Timing
from gopro_tools.detection import Detections, DetectorIdentity
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png
from gopro_tools.text import markdown_table

SIZES = (1_000, 10_000, 50_000)
"""Pairs."""
SIZE_HW = (24, 32)
_PER_SEQUENCE = 1_000


class OneBox:
    """A detector that costs nothing: one box on each image, as sure as the image is bright."""

    name = "one-box"
    class_names = ("thing",)
    identity = DetectorIdentity(weights_sha256="none", input_size_px=0, runtime="numpy")

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        """One box each."""
        return [
            Detections(
                box_xyxy=np.array([[2, 2, 22, 20]], np.float32),
                score=np.array([0.3 + 0.5 * image.mean() / 255], np.float32),
                class_id=np.zeros(1, np.int64),
            )
            for image in images
        ]


def measure(most: int = SIZES[-1]) -> list[Timing]:
    """Run verify, evaluate and detect on growing numbers of pairs, the largest at most ``most``."""
    timings: list[Timing] = []
    with TemporaryDirectory() as folder:
        dataset = Path(folder) / "many"
        n_there = 0
        for n_pairs in [size for size in SIZES if size < most] + [most]:
            for number in range(n_there, n_pairs):
                _write_pair(dataset, number)
            n_there = n_pairs
            for name, arguments in _commands(dataset, Path(folder) / "out").items():
                seconds, peak_mib = _run(arguments)
                timings.append(
                    Timing(
                        name=name, seconds=seconds, n_units=n_pairs, unit="pairs", peak_mib=peak_mib
                    )
                )
    return timings


def tables(timings: Sequence[Timing]) -> list[str]:
    """One table: a command per row and size, with how its time per pair changed."""
    rows = []
    smallest: dict[str, Timing] = {}
    for timing in sorted(timings, key=lambda timing: timing.name):
        first = smallest.setdefault(timing.name, timing)
        further = timing.n_units - first.n_units
        grown_bytes = ((timing.peak_mib or 0) - (first.peak_mib or 0)) * 2**20
        rows.append(
            [
                timing.name,
                f"{timing.n_units:,.0f}",
                f"{timing.seconds:.1f}",
                timing.unit_time,
                f"{timing.peak_mib:.0f}",
                f"{grown_bytes / further:,.0f}" if further else "",
            ]
        )
    head = ["command", "pairs", "seconds", "time per pair", "peak MiB", "bytes per further pair"]
    height, width = SIZE_HW
    title = f"**Pairs of {width}x{height}: commands on datasets that grow**"
    return [f"{title}\n\n{markdown_table(head, rows)}"]


def _write_pair(dataset: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    sharp = rng.integers(0, 256, (*SIZE_HW, 3)).astype(np.uint8)
    folder = dataset / "test" / f"clip{number // _PER_SEQUENCE:04d}_11_00"
    for kind, image in (("sharp", sharp), ("blur_gamma", cv2.blur(sharp, (5, 1)))):
        path = folder / kind / f"{number % _PER_SEQUENCE + 1:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(image.astype(np.uint8)))


def _commands(dataset: Path, out: Path) -> dict[str, list[str]]:
    sources = ["--dataset", str(dataset), "--blur-kind", "gamma", "-o"]
    detector = ["--detector", f"{__name__}:OneBox", "--overlays", "0"]
    return {
        "verify": ["gopro_tools.verify", str(dataset), "-o", str(out / "findings.csv")],
        # Without VMAF, which starts a program per image.
        "evaluate": [
            "gopro_tools.evaluate",
            *sources,
            str(out / "scores"),
            "--protocol",
            "nah2017",
        ],
        "detect": ["gopro_tools.detect", *sources, str(out / "boxes"), *detector],
    }


def _run(arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds, and the largest resident memory in MiB, of ``python -m`` with these arguments."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        complaint = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"python -m {' '.join(arguments)} failed: {complaint[-2000:]}")
    return time.perf_counter() - begin, used.ru_maxrss / 2**10
