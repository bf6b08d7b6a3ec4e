"""Datasets of many images: whether time grows with their number, and memory hardly.

The commands run as users type them, each in a process of its own, on a dataset of tiny images that
grows. Of an image this small, reading and scoring take next to nothing: what shows is the rest.
"""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.speed.timing import Contender, Timing, race, run_watched
from gopro_tools.detection import Detections, DetectorIdentity
from gopro_tools.images import Rgb, encode_png

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


def measure(sizes: Sequence[int] = SIZES) -> list[Timing]:
    """Run verify, evaluate and detect on growing numbers of pairs."""
    timings: list[Timing] = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dataset = folder / "many"
        sources = ("--dataset", dataset, "--blur-kind", "gamma", "-o")
        one_box = ("--detector", f"{__name__}:OneBox", "--overlays", 0)
        commands: dict[str, tuple[object, ...]] = {
            "verify": ("gopro_tools.verify", dataset, "-o", folder / "findings.csv"),
            # Without VMAF, which starts a program per image.
            "evaluate": ("gopro_tools.evaluate", *sources, folder / "scores",
                         "--protocol", "nah2017"),
            "detect": ("gopro_tools.detect", *sources, folder / "boxes", *one_box),
        }  # fmt: skip
        for n_there, n_pairs in pairwise((0, *sizes)):
            for number in range(n_there, n_pairs):
                _write_pair(dataset, number)
            contenders = [
                Contender(name, n_pairs, partial(run_watched, sys.executable, "-m", *command))
                for name, command in commands.items()
            ]
            timings += race(contenders, 1, "pairs")
    return timings


def _write_pair(dataset: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    sharp = rng.integers(0, 256, (*SIZE_HW, 3)).astype(np.uint8)
    folder = dataset / "test" / f"clip{number // _PER_SEQUENCE:04d}_11_00"
    for kind, image in (("sharp", sharp), ("blur_gamma", cv2.blur(sharp, (5, 1)))):
        path = folder / kind / f"{number % _PER_SEQUENCE + 1:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(image.astype(np.uint8)))
