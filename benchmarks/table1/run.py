"""The steps from data to record; each leaves its result where the next run finds it."""

import json
import logging
import os
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from baselines.cost import SHOWN_SIZE_HW
from baselines.method import Method
from benchmarks.minutes import started_clock
from benchmarks.table1.plan import PROTOCOLS, Table1Config, keyed
from benchmarks.table1.record import write_record
from benchmarks.table1.report import Report
from benchmarks.table1.training import (
    Ready,
    Work,
    check_budgets,
    made_ready,
    train_method,
    training_of,
)
from benchmarks.train.run import OnProgress
from gopro_tools.content import dataset_facts
from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, iterate_pairs
from gopro_tools.detect import DetectConfig, detect
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, evaluate
from gopro_tools.files import sha256_of_file, sha256_of_path, write_atomic, written_whole
from gopro_tools.images import read_rgb
from gopro_tools.machine import machine_facts
from gopro_tools.plugins import source_sha256
from gopro_tools.records import RUN_FILE, jsonable
from gopro_tools.rendered import RENDERED, RENDERED_NAME, is_rendered, render_dataset
from gopro_tools.restoring import RestoreConfig, restore
from gopro_tools.sources import Sources, restored_folders

log = logging.getLogger(__name__)

_N_TIMED = 3
_LONGEST_TIMING_S = 60.0
_IS_SHARED = os.environ.get("WORLD_SIZE", "1") != "1"
"""Whether torchrun started several processes."""


def run_table1(
    config: Table1Config,
    *,
    on_progress: OnProgress = lambda task, done, total: None,
) -> Report | None:
    """Train what is not trained yet, restore, score, detect, time, and write the comparison.

    Under torchrun each process calls this with the same arguments. They share the training of the
    networks; the first one does all that comes after, the others return None. The record says why
    a method is missing from the tables (``failures``), or a part of them (``absent``).

    Raises:
        InputError: The data cannot be used, or no method could be trained.
        KeyboardInterrupt: Ctrl-C came, or SIGTERM while a method was trained.
        OutOfTimeError: The minutes are over.
    """
    work = Work(
        config=config,
        data=config.data or config.out / "data",
        on_progress=on_progress,
        time_is_over=started_clock(config.minutes),
    )
    if config.data is None:
        if _IS_SHARED:
            raise InputError(
                "Under torchrun the data must be there: `python -m gopro_tools.rendered --scale "
                f"{config.scale} --out DATA` first, then --data DATA."
            )
        rendered = replace(RENDERED[config.scale], seed=config.seed)
        for reason in render_dataset(rendered, work.data, on_progress=on_progress):
            log.info("left out: %s", reason)
    check_budgets(work)
    if os.environ.get("RANK", "0") != "0":
        for method in config.compared:
            # No training ends without this process: all agree on what is left.
            training = training_of(work, method)
            if training is not None and not (training[1] / RUN_FILE).is_file():
                train_method(work, method, *training)
        return None
    ready = [result for method in config.compared if (result := _try_ready(work, method))]
    if not ready:
        raise InputError("No method is ready: " + "; ".join(work.failures.values()))
    title = RENDERED_NAME if is_rendered(work.data) else ""
    test = Sources(dataset_name=title, dataset=work.data, split="test", blur_kind=config.blur_kind)
    test = _restored(work, ready, "test", test)
    runs: dict[str, Path | None] = {"scores": _scored(work, "test", test)}
    if (real := _real_pairs(work)) is not None:
        runs["real"] = _scored(work, "real", _restored(work, ready, "real", real))
    runs["detection"] = _detected(work, test)
    record = write_record(
        work,
        ready,
        restored=restored_folders(test.restored),
        seconds_per_image={result.name: _seconds_per_image(work, result) for result in ready},
        runs=runs,
    )
    report = Report(record)
    report.write(config.out / "report")
    return report


def _try_ready(work: Work, method: Method) -> Ready | None:
    work.check_budget(f"training {method.name}")
    try:
        return made_ready(work, method)
    except InputError as error:
        if _IS_SHARED:
            raise  # the other processes may be waiting for this one in the same training
        work.note_failure(method.name, error)
        return None


# --- restore, score, detect ---


def _restored(work: Work, ready: list[Ready], name: str, images: Sources) -> Sources:
    """Restore what is not restored yet, and return the images with the results.

    A method that cannot restore is named and taken out of ``ready``.
    """
    assert images.dataset is not None
    assert images.blur_kind is not None
    facts = dataset_facts(images.dataset, "test", images.blur_kind)
    folders = []
    for result in list(ready):
        decisive = {**result.decisive, "data": {**facts, "name": None}}
        folder = work.config.out / "restored" / name / keyed(result.name, decisive)
        try:
            if not (folder / RUN_FILE).is_file():
                _restore(work, result, images, folder)
        except InputError as error:
            work.note_failure(result.name, error)
            ready.remove(result)
        else:
            folders.append(f"{result.name}={folder}")
    if not folders:
        raise InputError("Nothing was restored: " + "; ".join(work.failures.values()))
    return replace(images, restored=tuple(folders))


def _restore(work: Work, result: Ready, images: Sources, folder: Path) -> None:
    def show(done: int, total: int) -> None:
        work.on_progress(f"restoring {folder.parent.name} with {result.name}", done, total)
        work.check_budget(f"restoring with {result.name}")

    assert images.dataset is not None
    config = RestoreConfig(
        method=result.name,
        restorer=result.open(),
        weights=result.weights,
        options=jsonable(result.options),
        code_sha256=result.method.code_sha256,
        scale=result.facts.get("scale"),
        published_name=result.facts["published_name"] or "",
        blur_kind=images.blur_kind or "gamma",
        resume=True,
        seed=work.config.seed,
    )
    summary = restore(images.dataset, config, out=folder, on_progress=show).summary
    if summary.failures:
        raise InputError(f"{result.name}: {summary.failures[0]}")


def _decisive(restored: Sources, *code: str, **more: Any) -> dict[str, Any]:
    """What decides a comparison of restored images."""
    folders = restored_folders(restored.restored).values()
    hashes = [source_sha256(f"gopro_tools.{name}") for name in code]
    return {"restored": [folder.name for folder in folders], **more, "code": hashes}


def _scored(work: Work, name: str, restored: Sources) -> Path:
    decisive = _decisive(restored, "metrics", "evaluate", protocols=PROTOCOLS)
    out = work.config.out / "scores" / keyed(name, decisive)
    if not (out / RUN_FILE).is_file():
        evaluate(
            restored,
            EvaluateConfig(protocol=PROTOCOLS, seed=work.config.seed),
            out=out,
            on_progress=partial(work.on_progress, f"scoring {name}"),
        )
    return out


def _detected(work: Work, restored: Sources) -> Path | None:
    config = work.config
    if config.detector is None:
        work.absent["detection"] = "no detector was named (--detector)"
        return None
    detector = Path(config.detector)
    identity = sha256_of_path(detector) if detector.exists() else config.detector
    decisive = _decisive(restored, "detection", "detect", detector=identity)
    out = config.out / keyed("detection", decisive)
    try:
        if not (out / RUN_FILE).is_file():
            work.check_budget("detecting")
            detect(
                restored,
                DetectConfig(detector=config.detector, seed=config.seed),
                out=out,
                on_progress=partial(work.on_progress, "detecting"),
            )
    except InputError as error:
        work.note_failure("detection", error)
        return None
    return out


def _real_pairs(work: Work) -> Sources | None:
    """The real pairs in the GOPRO layout, so that every step treats them like the others."""
    source, blur_kind = work.config.real_pairs, work.config.real_blur_kind
    if source is None:
        work.absent["real pairs"] = "none were named (--real-pairs)"
        return None
    files = {
        f"test/{blurred.stem.removesuffix('_blurred')}/{kind}/000001.png": path
        for blurred in sorted(source.glob("*_blurred.png"))
        if (sharp := blurred.with_name(blurred.name.replace("_blurred", "_sharp"))).is_file()
        for kind, path in ((BLUR_FOLDERS[blur_kind], blurred), (SHARP_FOLDER, sharp))
    }
    if not files:
        raise InputError(f"{source}: no NAME_blurred.png with a NAME_sharp.png there.")
    hashes = {name: sha256_of_file(path) for name, path in files.items()}
    folder = work.config.out / keyed("real_pairs", hashes)
    if not folder.is_dir():
        with written_whole(folder) as unfinished:
            for name, path in files.items():
                write_atomic(unfinished / name, path.read_bytes())
    return Sources(dataset_name="real pairs", dataset=folder, split="test", blur_kind=blur_kind)


# --- time ---


def _seconds_per_image(work: Work, result: Ready) -> float:
    """Median seconds for 1280x720, from 8-bit RGB in memory to the same, after a warm-up.

    The result is back in the computer's memory when the clock stops, so a GPU has finished.
    """
    decisive = {**result.decisive, "machine": machine_facts()}
    path = work.config.out / "times" / f"{keyed(result.name, decisive)}.json"
    if not path.is_file():
        work.on_progress(f"timing {result.name}", 0, 1)
        pair = next(iterate_pairs(work.data, "test", work.config.blur_kind))
        blurred = read_rgb(pair.path(BLUR_FOLDERS[work.config.blur_kind]))
        height, width = SHOWN_SIZE_HW
        image = np.asarray(cv2.resize(blurred, (width, height)), np.uint8)
        restorer = result.open()
        restorer.restore(image[:64, :64])  # loads and allocates what only the first call needs
        seconds: list[float] = []
        while len(seconds) < _N_TIMED and sum(seconds) < _LONGEST_TIMING_S:
            begin = time.perf_counter()
            restorer.restore(image)
            seconds.append(time.perf_counter() - begin)
        # The first image of a size still sets buffers up; it counts only where it is the only one.
        kept = seconds[1:] or seconds
        write_atomic(path, json.dumps({"seconds": statistics.median(kept), "n": len(kept)}) + "\n")
        work.on_progress(f"timing {result.name}", 1, 1)
    return float(json.loads(path.read_text())["seconds"])
