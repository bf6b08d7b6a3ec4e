"""The verb `gopro_tools.detect`: find, score, and write what was found."""

import tempfile
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from gopro_tools.detect.config import DetectConfig
from gopro_tools.detect.run import Detection, score_detections
from gopro_tools.detect.writing import write_detection
from gopro_tools.detection import Detector
from gopro_tools.errors import InputError
from gopro_tools.files import refuse_inside
from gopro_tools.records import jsonable, refuse_other_record
from gopro_tools.shape import config_from, path_from
from gopro_tools.shards import WHOLE, Shard, divided, shard_from
from gopro_tools.sources import Sources
from gopro_tools.threads import Progress


def detect(
    sources: Sources,
    config: DetectConfig,
    *,
    out: Path | str | None = None,
    detector: Detector | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
    shard: Shard = WHOLE,
) -> Detection:
    """Detect objects in sharp, blurred and restored images, and score what each method shows.

    Boxes found before, by this detector on the same pixels, are taken from ``out``; an interrupted
    run resumes.

    Args:
        sources: The images to compare.
        config: The detector, and how boxes are compared.
        out: Folder for the tables, the plot, the overlays and the boxes that were found; None
            writes nothing.
        detector: Instead of `DetectConfig.detector`.
        on_progress: Called with the number of images done and in total, counted once per method.
        executor: Reads and detects instead of this process; its workers must see the same files
            and load the detector of ``config`` themselves.
        shard: Detect in this share of the images only. The share that finds all others done makes
            the result, the same as that of one run.

    Raises:
        OtherShardsLeftError: This share is done, and others are not.
        InputError: Images do not pair up or cannot be read, or the detector, the labels or a class
            cannot be used. All other images are detected first, so nothing is lost.
    """
    sources, config = config_from(Sources, sources).copied(), config_from(DetectConfig, config)
    shard = shard_from(shard)
    if detector is not None and not hasattr(detector, "detect"):
        raise InputError(
            f"detector is {detector!r}; an object with detect(images) was expected. Weight files "
            "and package.module:factory are named in DetectConfig."
        )
    if out is None:
        if not shard.is_all:
            raise InputError("A shard leaves its part in the output folder: give `out`.")
        with tempfile.TemporaryDirectory() as folder:
            return score_detections(
                sources,
                config,
                Path(folder),
                detector=detector,
                on_progress=on_progress,
                executor=executor,
            )
    out = path_from(out, "out")
    asked_for = jsonable({"config": replace(config, jobs=0), "labels": sources.labels})
    refuse_inside(out, *sources.folders)  # overlays there would be images of it
    refuse_other_record(out, "detect")
    with divided(out, shard, asked_for, "detections", "overlays") as parts:
        result = score_detections(
            sources,
            config,
            out / "detections",
            detector=detector,
            on_progress=on_progress,
            executor=executor,
            parts=parts,
        )
        write_detection(result, sources, config, out)
    return result
