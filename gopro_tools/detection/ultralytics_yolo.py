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
from gopro_tools.onnx_process import silence_onnxruntime

_EXPORT = (
    "A PyTorch file is loaded without running code in it; one that needs more is refused. Export "
    "it where you trust it (yolo export model=FILE.pt format=onnx) and name the .onnx "
    "file, or pass --trust-weights."
)


class UltralyticsDetector:
    """Any network the ultralytics package loads, without network traffic, settings or installs.

    A PyTorch file is a pickle, which can run any code when it is loaded. So it is loaded by the
    package's restricted loader, which builds known parts of networks and nothing else.

    Args:
        path: Weight file.
        identity: Its hash, and how to run it.
        trust_weights: Load a PyTorch file without that restriction: it may run any code.
    """

    def __init__(self, path: Path, identity: DetectorIdentity, *, trust_weights: bool = False):
        self._trusted = trust_weights
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
                    raise InputError(f"{self._path}: not a detector; its task is {model.task!r}.")
                try:
                    results[i] = Detections(
                        box_xyxy=result.boxes.xyxy.cpu().numpy(),
                        score=result.boxes.conf.cpu().numpy(),
                        class_id=result.boxes.cls.cpu().numpy(),
                    )
                except ValueError as error:
                    raise InputError(
                        f"{self._path}: ultralytics did not return boxes ({error}); does it know "
                        "this kind of network? Files of YOLOv5 run with --runtime onnxruntime."
                    ) from error
        used = max(model.predictor.imgsz) if model.predictor else self.identity.input_size_px
        if used != self.identity.input_size_px:
            raise InputError(
                f"{self._path}: made for images of {used} px, not {self.identity.input_size_px}; "
                f"pass --input-size {used}."
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
            if self._path.suffix.lower() == ".pt":
                self._restrict_loading()
            self._model = self._run(yolo, str(self._path), task="detect")
        return self._model

    def _restrict_loading(self) -> None:
        """Turn the package's restricted loader on, or off for files that are trusted."""
        from ultralytics.nn import tasks

        loader = getattr(tasks, "_SafeLoad", None)
        if not self._trusted and not getattr(loader, "SUPPORTED", False):
            raise InputError(
                f"{self._path}: a PyTorch file can run any code when it is loaded, and this "
                "version of ultralytics has no restricted loader (8.4 and later with torch 2.6 "
                f"have). {_EXPORT}"
            )
        tasks.SAFE_LOAD = not self._trusted

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
                f"{self._path}: ultralytics cannot run it ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}). Is the file complete, and a detector? "
                f"{_EXPORT if self._is_restricted else WEIGHTS_FROM}"
            ) from error

    @property
    def _is_restricted(self) -> bool:
        return self._path.suffix.lower() == ".pt" and not self._trusted


def _import_ultralytics() -> Any:
    """Import ultralytics so that it writes, sends, installs and downloads nothing.

    It reads these variables once, when it is first imported.
    """
    silence_onnxruntime()
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
