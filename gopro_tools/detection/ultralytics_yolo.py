"""Any network of the ultralytics package (AGPL-3.0, an optional extra), kept offline."""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gopro_tools.detection.boxes import MAX_DETECTIONS, Detections, DetectorIdentity
from gopro_tools.detection.weights import INSTALL, WEIGHTS_FROM
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb


class UltralyticsDetector:
    """Any network the ultralytics package loads, without network traffic, settings or installs.

    Args:
        path: Weight file.
        identity: Its hash, and how to run it.
    """

    def __init__(self, path: Path, identity: DetectorIdentity):
        self.name = path.name
        self.identity = identity
        self._path = path
        self._model: Any = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, from the weight file."""
        names = self._loaded().names
        return tuple(names[i] for i in range(len(names)))

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        """Find the objects in each image, see `Detector.detect`."""
        model = self._loaded()
        results: list[Detections] = [Detections.none()] * len(images)
        for members in self._batches(images):
            # ultralytics takes arrays as OpenCV reads them: BGR
            batch = [np.ascontiguousarray(images[i][..., ::-1]) for i in members]
            found = self._run(
                model.predict,
                batch,
                imgsz=self.identity.input_size_px,
                conf=self.identity.min_score,
                iou=self.identity.nms_iou,
                max_det=MAX_DETECTIONS,
                save=False,
                verbose=False,
            )
            for i, result in zip(members, found, strict=True):
                if result.boxes is None:
                    raise InputError(f"{self._path}: no detector, its task is {model.task!r}.")
                results[i] = Detections(
                    box_xyxy=result.boxes.xyxy.cpu().numpy(),
                    score=result.boxes.conf.cpu().numpy(),
                    class_id=result.boxes.cls.cpu().numpy(),
                )
        used = max(model.predictor.imgsz) if model.predictor else self.identity.input_size_px
        if used != self.identity.input_size_px:
            raise InputError(
                f"{self._path}: made for images of {used} px, not {self.identity.input_size_px}; "
                f"say --input-size {used}."
            )
        return results

    def _batches(self, images: Sequence[Rgb]) -> Iterator[list[int]]:
        """Indices of images to run together.

        ultralytics pads a batch differently where its sizes differ, so boxes would depend on the
        neighbours; exported networks mostly take one image at a time.
        """
        if self._path.suffix.lower() != ".pt":
            yield from ([i] for i in range(len(images)))
            return
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(i)
        yield from by_shape.values()

    def _loaded(self) -> Any:
        if self._model is None:
            yolo = _import_ultralytics().YOLO
            self._model = self._run(yolo, str(self._path), task="detect")
        return self._model

    def _run(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except InputError:
            raise
        except ImportError as error:
            raise InputError(
                f"{self._path}: ultralytics needs one more package for it ({error}); {INSTALL}."
            ) from error
        except Exception as error:  # it raises anything at all on a damaged file
            raise InputError(
                f"{self._path}: ultralytics cannot run it ({type(error).__name__}: {error}). "
                f"Is the file whole, and a detector? {WEIGHTS_FROM}"
            ) from error


def _import_ultralytics() -> Any:
    """Import ultralytics so that it writes, sends, installs and downloads nothing.

    It reads these variables once, when it is first imported.
    """
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="gopro_tools-yolo-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder
    try:
        import ultralytics
        from ultralytics.utils import SETTINGS, checks, events
    except (ImportError, OSError, RuntimeError) as error:
        # A torchvision that does not fit its torch raises RuntimeError.
        raise InputError(f"ultralytics cannot be imported ({error}); {INSTALL}.") from error
    # For a process that had imported it before; in memory only, the settings file stays as it is.
    dict.__setitem__(SETTINGS, "sync", False)
    events.events.enabled = False
    checks.AUTOINSTALL = checks.ONLINE = False
    logging.getLogger("ultralytics").setLevel(logging.ERROR)  # it would write to stdout
    return ultralytics
