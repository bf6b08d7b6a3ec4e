"""The record of a comparison: everything that its tables and figures are made from."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.devices import chosen_device
from benchmarks.rendered import RENDERED_FILE, RENDERED_NAME, blur_lengths
from benchmarks.table1.figures import CROP_PERCENTILES, CROPS_FILE, draw_crops
from benchmarks.table1.plan import PROTOCOLS, Method, Table1Config
from benchmarks.train.journal import read_log
from gopro_tools.dataset import BLUR_FOLDERS, iterate_pairs
from gopro_tools.files import write_atomic, written_whole
from gopro_tools.images import read_rgb
from gopro_tools.records import RunRecord, copy_run, dataset_facts, seal


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A method with its weights, and what they cost."""

    method: Method
    weights: Path
    weights_sha256: str
    n_parameters: int
    n_patches: int
    """Patches it learned from."""
    training_s: float
    config: Mapping[str, Any]
    """Its effective config, for the record."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the steps left, by method."""

    restored: Mapping[str, Path]
    """Folders of restored test images."""
    scores: Path
    """Folder of the evaluation of the test images."""
    real_scores: Path | None
    """The same of the real pairs."""
    detection: Path | None
    """Folder of the detection metric."""
    times_s: Mapping[str, float]
    """Seconds for an image of 1280x720."""
    failures: Mapping[str, str]
    """What is missing because it failed, with the reason."""
    absent: Mapping[str, str]
    """What was not asked for."""


def write_record(
    config: Table1Config, data: Path, trained: Sequence[Trained], outcome: Outcome
) -> Path:
    """Everything that the report is made from, in one folder."""
    facts = dataset_facts(data, "test", config.blur_kind)
    rendered = data / RENDERED_FILE
    if rendered.is_file():
        made = json.loads(rendered.read_text())
        facts["name"] = RENDERED_NAME
        facts["photographs"] = {
            split: sorted(
                Path(photograph["source"]).name
                for photograph in made["photographs"]
                if photograph["split"] == split
            )
            for split in ("train", "test")
        }
        facts["rendered"] = {
            key: made["config"][key]
            for key in ("n_train", "n_test", "size_hw", "speed_px_s", "seed")
        }
    device = chosen_device(config.device)
    record = RunRecord(
        suite="table1",
        method=config.scale,
        scale=config.scale,
        config={
            "methods": list(config.methods),
            "blur_kind": config.blur_kind,
            "device": device.type,
            "recipes": {result.method: result.config for result in trained},
        },
        results={
            "methods": {
                result.method: {
                    "n_parameters": result.n_parameters,
                    "n_patches": result.n_patches,
                    "training_s": result.training_s,
                    "seconds_an_image": outcome.times_s[result.method],
                    "weights_sha256": result.weights_sha256,
                }
                for result in trained
            },
            "failures": outcome.failures,
            "absent": outcome.absent,
        },
        dataset=facts,
        protocols=PROTOCOLS,
        seed=config.seed,
    )
    folder = config.out / "record"
    shutil.rmtree(folder, ignore_errors=True)
    with written_whole(folder) as partial:
        copy_run(outcome.scores, partial / "scores")
        if outcome.real_scores is not None:
            copy_run(outcome.real_scores, partial / "real")
        if outcome.detection is not None:
            copy_run(outcome.detection, partial / "detection")
        write_atomic(partial / "blur_lengths.csv", _blur_lengths_csv(data))
        write_atomic(partial / "validation.csv", _validation_csv(config.out, trained))
        _draw_crops(config, data, outcome.restored, partial)
        seal(partial, record)
    return folder


def _draw_crops(
    config: Table1Config, data: Path, restored: Mapping[str, Path], partial: Path
) -> None:
    """Four test images, from little to much blur, as every method leaves them."""
    pairs = list(iterate_pairs(data, "test", config.blur_kind))
    lengths = blur_lengths(data)
    if lengths is not None:
        pairs.sort(key=lambda pair: lengths[pair.sequence, pair.name])
    shown = []
    for share in CROP_PERCENTILES:
        pair = pairs[min(len(pairs) - 1, round(share / 100 * (len(pairs) - 1)))]
        images = {"blurred": read_rgb(pair.path(BLUR_FOLDERS[config.blur_kind]))}
        for method, folder in restored.items():
            images[method] = read_rgb(folder / pair.sequence / pair.name)
        images["sharp"] = read_rgb(pair.path("sharp"))
        length = None if lengths is None else lengths[pair.sequence, pair.name]
        shown.append((images, length))
    draw_crops(shown, partial / CROPS_FILE)


def _blur_lengths_csv(data: Path) -> str:
    lengths = blur_lengths(data) or {}
    rows = (
        [
            f"{pair.sequence},{pair.name},{lengths[pair.sequence, pair.name]:.4f}\n"
            for pair in iterate_pairs(data, "test", "gamma")
            if (pair.sequence, pair.name) in lengths
        ]
        if lengths
        else []
    )
    return "sequence,name,blur_px\n" + "".join(rows)


def _validation_csv(out: Path, trained: Sequence[Trained]) -> str:
    """The networks' validation PSNR on the way, by patches seen."""
    lines = ["method,n_patches,psnr_rgb_db,blurred_psnr_rgb_db\n"]
    for result in trained:
        if result.method == "sun2015":
            continue
        recipe = result.config
        batch = (
            recipe["patches"]["batch"] if "patches" in recipe else recipe["options"]["batch_size"]
        )
        for entry in read_log(result.weights.parent):
            if "validation_psnr_rgb_db" in entry:
                restored, blurred = (
                    entry[f"validation_{name}psnr_rgb_db"] for name in ("", "blurred_")
                )
                n_patches = int(entry["step"]) * batch
                lines.append(f"{result.method},{n_patches},{restored:.4f},{blurred:.4f}\n")
    return "".join(lines)
