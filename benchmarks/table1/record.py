"""The record of a comparison: everything that its tables and figures are made from."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines.devices import chosen_device
from benchmarks.table1.figures import CROPS_FILE, crops
from benchmarks.table1.plan import PROTOCOLS
from benchmarks.table1.training import Ready, Work
from benchmarks.train.journal import BLURRED_DB, VALIDATION_DB, read_log
from gopro_tools.content import dataset_facts
from gopro_tools.dataset import BLUR_FOLDERS, iterate_pairs
from gopro_tools.files import write_atomic, written_whole
from gopro_tools.images import encode_png
from gopro_tools.records import RunRecord, copy_run, seal
from gopro_tools.rendered import RENDERED_FILE, RENDERED_NAME, blur_lengths
from gopro_tools.text import csv_text


def write_record(
    work: Work,
    ready: Sequence[Ready],
    *,
    restored: Mapping[str, Path],
    seconds_per_image: Mapping[str, float],
    runs: Mapping[str, Path | None],
) -> Path:
    """Everything that the report is made from, in one folder.

    Args:
        work: The comparison.
        ready: Methods in the order of the tables.
        restored: Folders of restored test images, by method.
        seconds_per_image: For 1280x720, by method.
        runs: By the name they get in the record: ``scores, real, detection``.
    """
    config, data = work.config, work.data
    record = RunRecord(
        suite="table1",
        method=config.scale,
        scale=config.scale,
        methods={
            result.name: {
                **result.facts,
                "weights_sha256": result.weights_sha256,
                "code_sha256": result.method.code_sha256,
                "seconds_per_image": seconds_per_image[result.name],
            }
            for result in ready
        },
        config={
            "methods": [method.name for method in config.compared],
            "blur_kind": config.blur_kind,
            "device": chosen_device(config.device).type,
        },
        results={"failures": work.failures, "absent": work.absent},
        dataset={**dataset_facts(data, "test", config.blur_kind), **_rendered_facts(data)},
        protocols=PROTOCOLS,
        seed=config.seed,
    )
    lengths = blur_lengths(data) or {}
    pairs = list(iterate_pairs(data, "test", config.blur_kind))
    folder = config.out / "record"
    shutil.rmtree(folder, ignore_errors=True)
    with written_whole(folder) as partial:
        for name, run in runs.items():
            if run is not None:
                copy_run(run, partial / name)
        images = [(pair.sequence, pair.name) for pair in pairs]
        rows = [(*image, f"{lengths[image]:.4f}") for image in images if lengths]
        write_atomic(partial / "blur_lengths.csv", csv_text(["sequence", "name", "blur_px"], rows))
        write_atomic(partial / "validation.csv", _validation_csv(ready))
        picture = crops(pairs, BLUR_FOLDERS[config.blur_kind], lengths, restored)
        write_atomic(partial / CROPS_FILE, encode_png(picture))
        seal(partial, record)
    return folder


def _rendered_facts(data: Path) -> dict[str, Any]:
    """What a rendered dataset shows; empty for another."""
    path = data / RENDERED_FILE
    if not path.is_file():
        return {}
    made = json.loads(path.read_text())
    photographs: dict[str, list[str]] = {"train": [], "test": []}
    for photograph in made["photographs"]:
        photographs[photograph["split"]].append(Path(photograph["source"]).name)
    names = ("n_train", "n_test", "size_hw", "speed_px_s", "seed")
    return {
        "name": RENDERED_NAME,
        "photographs": {split: sorted(sources) for split, sources in photographs.items()},
        "rendered": {name: made["config"][name] for name in names},
    }


def _validation_csv(ready: Sequence[Ready]) -> str:
    """The methods' validation PSNR on the way, by patches seen."""
    rows = [
        (
            result.name,
            int(entry["step"]) * result.facts["recipe"]["patches"]["batch"],
            f"{entry[VALIDATION_DB]:.4f}",
            f"{entry[BLURRED_DB]:.4f}",
        )
        for result in ready
        if result.weights is not None
        for entry in read_log(result.weights.parent)
        if VALIDATION_DB in entry
    ]
    return csv_text(["method", "n_patches", "psnr_rgb_db", "blurred_psnr_rgb_db"], rows)
