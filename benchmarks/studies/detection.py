"""What share of objects a detector still finds as blur grows.

Street photographs are filmed by a shaking camera (`gopro_tools.scenes`) and averaged over exposures
of growing length, the way the datasets are made. `gopro_tools.detect` scores each length like a
method; references are the detector's own boxes on the middle frame, so this is protocol
``yolo-consistency-v1`` on blur of known length.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.detection import BlurConfig
from gopro_tools.averaging import average_exposure
from gopro_tools.console import progress_bar, stderr
from gopro_tools.detect.config import DetectConfig
from gopro_tools.detect.run import score_detections
from gopro_tools.detection import PROTOCOL, Detector, load_detector
from gopro_tools.detection.scoring import SCORES
from gopro_tools.errors import InputError
from gopro_tools.figures import new_figure
from gopro_tools.files import sha256_of_file, write_atomic
from gopro_tools.images import Rgb, encode_png
from gopro_tools.records import RunRecord, jsonable, seal, unseal
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig
from gopro_tools.scenes.textures import read_photograph
from gopro_tools.sources import BLURRED, SHARP, Sources
from gopro_tools.tables.model import QUANTITIES

_NAME = "detection_over_blur"
_SIDE_PX = 640
_SHAKE_PX_S = 300.0
_MIDDLE_S = 0.5
_LONGEST_S = 1.0
_STEP_S = 1 / 2000


def measure(
    config: BlurConfig,
    detector: Detector,
    on_progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> pd.DataFrame:
    """Film, blur, detect and score: one row per length of blur.

    Raises:
        InputError: A photograph cannot be used, or the detector finds nothing in the sharp frames.
    """
    lengths = sorted({0.0, *map(float, config.blur_px)})
    methods = [SHARP, *(f"{length:g}px" for length in lengths[1:-1]), BLURRED]
    shots = [(p, shake) for p in config.photographs for shake in range(config.shakes)]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number, (photograph, shake) in enumerate(shots):
            on_progress("filming", number, len(shots))
            exposures = film(photograph, config.seed * 1000 + shake, lengths)
            for method, image in zip(methods, exposures, strict=True):
                path = folder / method / f"{number:04d}_{photograph.stem}.png"
                write_atomic(path, encode_png(image), durable=False)
        sources = Sources(
            sharp=folder / SHARP,
            blurred=folder / BLURRED,
            restored=tuple(f"{method}={folder / method}" for method in methods[1:-1]),
        )
        rows = score_detections(
            sources,
            DetectConfig(
                detector=config.detector,
                bootstrap_over="image",
                n_resamples=config.resamples,
                seed=config.seed,
            ),
            folder / "boxes",
            detector=detector,
            on_progress=lambda done, total: on_progress("detecting", done, total),
        ).summary
    rows.insert(0, "blur_px", rows["method"].map(dict(zip(methods, lengths, strict=True))))
    ends = [f"{score}_{end}" for score in SCORES for end in ("low", "high")]
    columns = ["blur_px", *SCORES, "tp", "fp", "fn", "n_images", *ends]
    return rows.sort_values("blur_px")[columns].reset_index(drop=True)


def film(photograph: Path, seed: int, lengths_px: Sequence[float]) -> list[Rgb]:
    """Expose a photograph around one instant, for each length of blur; 0 is the middle frame.

    Frames are taken at most a pixel apart and averaged in linear light (response gamma2.2), as
    `gopro_tools.synthesize` makes ``blur_gamma``.
    """
    height, width = read_photograph(photograph).shape[:2]
    scale = _SIDE_PX / max(height, width)
    scene = Scene(
        SceneConfig(
            seed=seed,
            size_hw=(round(height * scale), round(width * scale)),
            photograph=photograph,
            n_objects=0,
            shake_px_s=_SHAKE_PX_S,
            highlights=False,
        )
    )
    response = Response.named(scene.config.response)
    exposures = []
    for length in lengths_px:
        n_frames = 2 * int(np.ceil(length / 2)) + 1
        half_s = half_exposure_s(scene, length) * (n_frames - 1) / n_frames
        times_s = _MIDDLE_S + np.linspace(-half_s, half_s, n_frames)
        frames = np.stack([scene.frame(time_s) for time_s in times_s])
        exposures.append(average_exposure(frames, response).blur_gamma)
    return exposures


def half_exposure_s(scene: Scene, length_px: float) -> float:
    """How long before and after the middle the shutter is open for a blur of this length.

    Raises:
        InputError: The camera does not move so far in the longest exposure.
    """
    if length_px == 0:
        return 0.0
    height, width = scene.config.size_hw
    y, x = (grid.ravel() for grid in np.mgrid[0 : height - 1 : 5j, 0 : width - 1 : 5j])
    times_s = _MIDDLE_S + np.arange(-_LONGEST_S / 2, _LONGEST_S / 2 + _STEP_S / 2, _STEP_S)
    on_plane = np.linalg.inv(scene.homographies(_MIDDLE_S)[0]) @ np.stack([x, y, np.ones_like(x)])
    seen = np.stack([scene.homographies(time_s)[0] @ on_plane for time_s in times_s])
    place = seen[:, :2] / seen[:, 2:]
    step_px = np.hypot(*np.moveaxis(np.diff(place, axis=0), 1, 0)).mean(axis=1)
    middle = len(step_px) // 2
    # Path within 1, 2, ... steps before and after the middle.
    path_px = np.cumsum(step_px[middle:] + step_px[:middle][::-1])
    if path_px[-1] < length_px:
        raise InputError(
            f"a blur of {length_px:g} px is longer than the shake of {_LONGEST_S:g} s; the longest "
            f"here is {path_px[-1]:.0f} px."
        )
    return float(np.interp(length_px, np.append(0, path_px), np.arange(middle + 1) * _STEP_S))


def plot(rows: pd.DataFrame, path: Path, title: str) -> None:
    """Recall and precision with their intervals over the length of blur.

    Raises:
        InputError: matplotlib is not installed.
    """
    figure = new_figure(7, 4.4)
    axes = figure.subplots()
    for name, style in {"recall": "o-", "precision": "s--", "map50_95": "^:"}.items():
        (line,) = axes.plot(rows["blur_px"], rows[name], style, label=QUANTITIES[name].label)
        ends, colour = (rows[f"{name}_low"], rows[f"{name}_high"]), line.get_color()
        axes.fill_between(rows["blur_px"], *ends, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="length of blur (px)", ylim=(0, 1.03), title=title)
    axes.grid(color="0.93")
    axes.legend(loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def study(config: BlurConfig) -> None:
    """Measure, and leave the table, the plot and the record in ``config.out``."""
    detector = load_detector(config.detector)
    with progress_bar("images") as bar:
        rows = measure(config, detector, bar.show_task)
    unseal(config.out)
    write_atomic(config.out / f"{_NAME}.csv", rows.to_csv(index=False, lineterminator="\n"))
    plot(rows, config.out / f"{_NAME}.png", f"{detector.name} on filmed street photographs")
    record = RunRecord(
        suite="detection-over-blur",
        method=detector.name,
        config={**jsonable(config), "detector": Path(config.detector).name, "out": None},
        results={"photographs": {p.name: sha256_of_file(p) for p in config.photographs}},
        detector={"name": detector.name, **asdict(detector.identity)},
        protocols=(PROTOCOL,),
        seed=config.seed,
    )
    seal(config.out, record, [f"{_NAME}.{suffix}" for suffix in ("csv", "png")])
    stderr.print(f"Look at {config.out / _NAME}.png.")
