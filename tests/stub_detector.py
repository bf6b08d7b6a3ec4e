"""A detector that workers elsewhere can load by name: ``stub_detector:make``."""

from collections.abc import Sequence

import numpy as np

from gopro_tools.detection import Detections, DetectorIdentity
from gopro_tools.images import Rgb


class Brightest:
    """One box around the rows and columns that are brighter than the image's mean."""

    name = "brightest"
    identity = DetectorIdentity(weights_sha256="b" * 64, input_size_px=0, runtime="numpy")
    class_names = ("light",)

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        return [self._in_one(image) for image in images]

    def _in_one(self, image: Rgb) -> Detections:
        luma = image.mean(axis=2)
        rows, columns = (np.flatnonzero(luma.mean(axis=axis) >= luma.mean()) for axis in (1, 0))
        box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        score = float(luma.max() / 255)
        return Detections(
            box_xyxy=np.array([box], np.float32),
            score=np.array([score], np.float32),
            class_id=np.zeros(1, np.int64),
        )


def make() -> Brightest:
    return Brightest()
