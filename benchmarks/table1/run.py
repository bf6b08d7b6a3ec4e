"""The steps from data to record; each leaves its result where the next run finds it."""

import json
import logging
import os
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from baselines.checkpoints import load_restorer_network
from baselines.sun2015.training import PRESETS as SUN2015_PRESETS
from baselines.sun2015.training import n_parameters_of, train_sun2015
from benchmarks.devices import chosen_device, computes_bf16, use_quickest_threads
from benchmarks.rendered import RENDERED_NAME, is_rendered, render_dataset, training_photographs
from benchmarks.restore import RestoreOptions, open_restorer
from benchmarks.table1.plan import (
    PROTOCOLS,
    SCALE_SWEEP,
    Method,
    Table1Config,
    keyed,
    n_patches_of,
    recipe_of,
)
from benchmarks.table1.record import Outcome, Trained, write_record
from benchmarks.table1.report import write_report
from benchmarks.train import Progress, RunOptions, train
from benchmarks.train.machine import Budget
from benchmarks.train.run import WEIGHTS_FILE
from gopro_tools.dataset import BLUR_FOLDERS, BlurKind, iterate_pairs
from gopro_tools.detect import DetectConfig, detect
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.files import sha256_of_file, sha256_of_path, write_atomic, written_whole
from gopro_tools.images import read_rgb
from gopro_tools.records import (
    RESTORE_SUITE,
    RUN_FILE,
    RunRecord,
    dataset_facts,
    jsonable,
    read_record,
    seal,
)
from gopro_tools.restorers import find_images, restore_images
from gopro_tools.stopping import stop_signals

log = logging.getLogger(__name__)

SHOWN_SIZE_HW = (720, 1280)
_N_TIMED = 3
_LONGEST_TIMING_S = 60.0
_REAL = "real"
_TEST = "test"

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Table1Result:
    """What a run made."""

    record: Path
    """Folder of the record."""
    report: Path
    """Folder of the tables and figures."""
    failures: Mapping[str, str]
    """What went wrong with each method that is missing from the tables."""
    absent: Mapping[str, str]
    """Parts that were not asked for or cannot be made, with the reason."""


class StoppedError(Exception):
    """Told to stop, or out of time; what is done is stored, and the same command continues."""

    def __init__(self, doing: str, *, out_of_time: bool) -> None:
        super().__init__(doing)
        self.out_of_time = out_of_time


@dataclass
class _Work:
    """What the steps share."""

    config: Table1Config
    data: Path
    on_progress: OnProgress
    budget: Budget
    failures: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def check_budget(self, doing: str) -> None:
        """Stop before a part for which no time is left."""
        if self.budget.spent:
            raise StoppedError(doing, out_of_time=True)


def run_table1(
    config: Table1Config,
    *,
    on_progress: OnProgress = lambda task, done, total: None,
) -> Table1Result | None:
    """Train what is not trained yet, restore, score, detect, time, and write the comparison.

    Under torchrun each process calls this with the same arguments. They share the training of the
    networks; the first one does all that comes after.

    Args:
        config: What to compare.
        on_progress: Called with the task, parts done and all.

    Returns:
        What was made; None in the processes that only helped to train.

    Raises:
        InputError: The data cannot be used, or no method could be trained.
        StoppedError: Ctrl-C or SIGTERM came while a network was trained, or the minutes are spent.
    """
    budget = Budget(config.minutes)
    data = config.data or config.out / "data"
    if chosen_device(config.device).type == "cpu":
        use_quickest_threads()
    if _n_processes() > 1 and config.data is None:
        raise InputError(
            "Under torchrun the data must be there: `python -m benchmarks.rendered --scale "
            f"{config.scale} --out DATA` first, then --data DATA."
        )
    if config.data is None:
        for reason in render_dataset(config.rendered, data, on_progress=on_progress):
            log.info("left out: %s", reason)
    work = _Work(config=config, data=data, on_progress=on_progress, budget=budget)
    _check_budgets(work)
    if os.environ.get("RANK", "0") != "0":
        # Nothing that is waiting can be finished without this process: all agree on the list.
        for method in [m for m in _networks(config) if not _is_trained(work, m)]:
            _train_network(work, method)
        return None
    by_method = {method: _try_training(work, method) for method in _networks(config)}
    if "sun2015" in config.methods:  # last: it is trained by one process alone
        by_method["sun2015"] = _try_training(work, "sun2015")
    trained = [result for method in config.methods if (result := by_method[method])]
    if not trained:
        raise InputError("No method could be trained: " + "; ".join(work.failures.values()))
    scores = _scored(work, trained, _TEST, data, config.blur_kind)
    real = _real_dataset(work)
    real_scores = (
        None if real is None else _scored(work, trained, _REAL, real, config.real_blur_kind)
    )
    detection = _detected(work, trained)
    times_s: dict[str, float] = {
        result.method: _seconds_an_image(work, result) for result in trained
    }
    record = write_record(
        config,
        data,
        trained,
        Outcome(
            restored=_all_restored(work, trained),
            scores=scores,
            real_scores=real_scores,
            detection=detection,
            times_s=times_s,
            failures=work.failures,
            absent=work.absent,
        ),
    )
    report = config.out / "report"
    write_report(record, report)
    return Table1Result(record=record, report=report, failures=work.failures, absent=work.absent)


def _n_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _networks(config: Table1Config) -> list[Method]:
    return [method for method in config.methods if method != "sun2015"]


def _check_budgets(work: _Work) -> None:
    n_pairs = len(list(iterate_pairs(work.data, "train", work.config.blur_kind)))
    swept = [method for method in work.config.methods if method in SCALE_SWEEP]
    budgets = {method: n_patches_of(recipe_of(method, work.config), n_pairs) for method in swept}
    if len(set(budgets.values())) > 1:
        raise InputError(
            f"K = 1, 2, 3 would learn from unequal numbers of patches ({budgets}); that is no "
            "comparison. Choose --n-patches that all their batches divide."
        )


# --- train ---


def _try_training(work: _Work, method: Method) -> Trained | None:
    work.check_budget(f"training {method}")
    try:
        return _sun2015(work) if method == "sun2015" else _network(work, method)
    except InputError as error:
        if _n_processes() > 1:
            raise  # the other processes may be waiting for this one in the same training
        log.error("%s: %s", method, error)
        work.failures[method] = str(error)
        return None


def _training_folder(work: _Work, method: Method, recipe: Any) -> Path:
    elsewhere = _trained_elsewhere(work.config.trained, method, recipe)
    if elsewhere is not None:
        return elsewhere
    facts = {**dataset_facts(work.data, "train", work.config.blur_kind), "name": None}
    decisive = {"recipe": jsonable(recipe), "data": facts}
    return work.config.out / "train" / keyed(method, decisive)


def _trained_elsewhere(folders: Sequence[Path], method: Method, recipe: Any) -> Path | None:
    """A finished training of this recipe in one of the folders.

    Raises:
        InputError: Its weights are not those of its record.
    """
    for path in sorted(path for folder in folders for path in folder.rglob(RUN_FILE)):
        record = read_record(path.parent)
        if record.suite != "train" or record.method != method:
            continue
        if record.config.get("recipe") != jsonable(recipe):
            continue
        weights = path.parent / WEIGHTS_FILE
        if not weights.is_file() or sha256_of_file(weights) != record.weights_sha256:
            raise InputError(
                f"{weights}: missing, or not the weights that {path} was written for; copy the "
                "training's folder again."
            )
        return path.parent
    return None


def _is_trained(work: _Work, method: Method) -> bool:
    return (_training_folder(work, method, recipe_of(method, work.config)) / RUN_FILE).is_file()


def _train_network(work: _Work, method: Method) -> None:
    """Train a network, or this process's part of it, to the end."""
    config = work.config
    recipe = recipe_of(method, config)
    n_pairs = dataset_facts(work.data, "train", config.blur_kind)["n_pairs"]
    n_steps = n_patches_of(recipe, n_pairs) // recipe.patches.batch

    def show(progress: Progress) -> None:
        task = f"{progress.task} {method}"
        work.on_progress(task, progress.done, progress.total)

    with stop_signals() as found:
        result = train(
            recipe,
            work.data,
            _training_folder(work, method, recipe),
            blur_kind=config.blur_kind,
            options=RunOptions(
                device=config.device,
                precision="bf16" if computes_bf16(chosen_device(config.device)) else "fp32",
                validate_every=max(1, n_steps // 10),
            ),
            vgg_weights=config.vgg_weights,
            resume=True,
            on_progress=show,
            told_to_stop=lambda: bool(found) or work.budget.spent,
        )
    if not result.finished:
        raise StoppedError(method, out_of_time=not found)


def _network(work: _Work, method: Method) -> Trained:
    if not _is_trained(work, method):
        _train_network(work, method)
    folder = _training_folder(work, method, recipe_of(method, work.config))
    run = json.loads((folder / RUN_FILE).read_text())
    weights = folder / WEIGHTS_FILE
    network, _ = load_restorer_network(weights)
    return Trained(
        method=method,
        weights=weights,
        weights_sha256=run["weights_sha256"],
        n_parameters=sum(parameter.numel() for parameter in network.parameters()),
        n_patches=run["results"]["n_patches"],
        training_s=run["timings_s"]["training"],
        config=run["config"]["recipe"],
    )


def _sun2015(work: _Work) -> Trained:
    config = work.config
    presets = {"full": "paper", "reduced": "reduced", "smoke": "smoke"}
    recipe = replace(
        SUN2015_PRESETS[config.sun2015_preset or presets[config.scale]],
        seed=config.seed,
        response="gamma2.2" if config.blur_kind == "gamma" else "linear",
    )
    weights = _training_folder(work, "sun2015", recipe) / "checkpoint.safetensors"
    frames = [pair.path("sharp") for pair in iterate_pairs(work.data, "train", config.blur_kind)]
    if photographs := training_photographs(work.data):
        # Frames are softer than what they show, and those of a clip alike: half of each is best.
        spread = np.linspace(0, len(frames) - 1, min(len(frames), len(photographs))).round()
        images = [*photographs, *(frames[int(index)] for index in spread)]
    else:
        images = frames
    device = chosen_device(config.device)
    with stop_signals() as found:
        run = train_sun2015(
            images,
            weights,
            recipe,
            device=str(device),
            bf16=computes_bf16(device),
            on_progress=lambda task, done, total: work.on_progress(f"sun2015: {task}", done, total),
            told_to_stop=lambda: bool(found) or work.budget.spent,
        )
    if run is None:
        raise StoppedError("sun2015", out_of_time=not found)
    return Trained(
        method="sun2015",
        weights=weights,
        weights_sha256=sha256_of_file(weights),
        n_parameters=n_parameters_of(weights),
        n_patches=run.n_patches,
        training_s=run.training_s,
        config=jsonable(recipe),
    )


# --- restore and score ---


def _restored(work: _Work, result: Trained, name: str, data: Path, blur_kind: BlurKind) -> Path:
    """Restore the test images that are not restored yet."""
    facts = {**dataset_facts(data, "test", blur_kind), "name": None}
    decisive = {"weights": result.weights_sha256, "data": facts, "options": _options(work, result)}
    folder = work.config.out / "restored" / name / keyed(result.method, decisive)
    work.check_budget(f"restoring {name} with {result.method}")
    images = find_images(data, "test", blur_kind)
    if (folder / RUN_FILE).is_file():
        return folder
    summary = restore_images(
        _restorer(work, result),
        images,
        folder,
        method=result.method,
        keep_done=True,
        on_progress=lambda done, total: work.on_progress(
            f"restoring {name} with {result.method}", done, total
        ),
    )
    if summary.failures:
        raise InputError(f"{result.method}: {summary.failures[0]}")
    _write_restore_record(work, result, folder, dataset_facts(data, "test", blur_kind))
    return folder


def _write_restore_record(
    work: _Work, result: Trained, folder: Path, facts: Mapping[str, Any]
) -> None:
    """Say beside the images what made them, so that their scores carry the scale."""
    record = RunRecord(
        suite=RESTORE_SUITE,
        method=result.method,
        scale=work.config.scale,
        config=jsonable(_options(work, result)),
        dataset=facts,
        weights_sha256=result.weights_sha256,
        seed=work.config.seed,
    )
    seal(folder, record, names=())


def _options(work: _Work, result: Trained) -> RestoreOptions:
    gpu = chosen_device(work.config.device).type == "cuda"
    network = result.method != "sun2015"
    return RestoreOptions(
        device=work.config.device, half="bf16" if gpu and network else None, seed=work.config.seed
    )


def _restorer(work: _Work, result: Trained) -> Any:
    method = result.method.partition("-")[0]
    return open_restorer(method, result.weights, _options(work, result))


def _scored(
    work: _Work, trained: list[Trained], name: str, data: Path, blur_kind: BlurKind
) -> Path:
    """Score every method; one that cannot restore is named and taken out of the tables."""
    folders: dict[str, Path] = {}
    for result in list(trained):
        try:
            folders[result.method] = _restored(work, result, name, data, blur_kind)
        except InputError as error:
            log.error("%s: %s", result.method, error)
            work.failures[result.method] = str(error)
            trained.remove(result)
    if not folders:
        raise InputError("Nothing was restored: " + "; ".join(work.failures.values()))
    decisive = {"restored": {k: v.name for k, v in folders.items()}, "protocols": PROTOCOLS}
    out = work.config.out / "scores" / keyed(name, decisive)
    if not (out / RUN_FILE).is_file():
        evaluate(
            _sources(folders, name, data, blur_kind),
            EvaluateConfig(protocol=PROTOCOLS, bootstrap_over="sequence", seed=work.config.seed),
            out=out,
            on_progress=lambda done, total: work.on_progress(f"scoring {name}", done, total),
        )
    return out


def _sources(folders: Mapping[str, Path], name: str, data: Path, blur_kind: BlurKind) -> Sources:
    names = {_REAL: "real pairs", _TEST: RENDERED_NAME if is_rendered(data) else ""}
    return Sources(
        dataset_name=names[name],
        dataset=data,
        split="test",
        blur_kind=blur_kind,
        restored=tuple(f"{method}={folder}" for method, folder in folders.items()),
    )


def _real_dataset(work: _Work) -> Path | None:
    """The real pairs in the GOPRO layout, so that every step treats them like the others."""
    source = work.config.real_pairs
    if source is None:
        work.absent["real pairs"] = "none were named (--real-pairs)"
        return None
    sharp = sorted(source.glob("*_sharp.png"))
    pairs = [(path.with_name(path.name.replace("_sharp", "_blurred")), path) for path in sharp]
    pairs = [pair for pair in pairs if pair[0].is_file()]
    if not pairs:
        raise InputError(f"{source}: no NAME_blurred.png with a NAME_sharp.png there.")
    hashes = [[path.name, sha256_of_file(path)] for pair in pairs for path in pair]
    folder = work.config.out / keyed("real_pairs", {"files": hashes})
    kind = {"gamma": "blur_gamma", "linear_crf": "blur"}[work.config.real_blur_kind]
    if not folder.is_dir():
        with written_whole(folder) as partial:
            for blurred, sharp_path in pairs:
                sequence = partial / "test" / sharp_path.name.replace("_sharp.png", "")
                for kind_folder, path in ((kind, blurred), ("sharp", sharp_path)):
                    (sequence / kind_folder).mkdir(parents=True)
                    shutil.copyfile(path, sequence / kind_folder / "000001.png")
    return folder


def _all_restored(work: _Work, trained: Sequence[Trained]) -> dict[str, Path]:
    return {
        result.method: _restored(work, result, _TEST, work.data, work.config.blur_kind)
        for result in trained
    }


def _detected(work: _Work, trained: Sequence[Trained]) -> Path | None:
    config = work.config
    if config.detector is None:
        work.absent["detection"] = "no detector was named (--detector)"
        return None
    folders = _all_restored(work, trained)
    decisive = {
        "restored": {k: v.name for k, v in folders.items()},
        "detector": _detector_hash(config),
    }
    out = config.out / keyed("detection", decisive)
    if not (out / RUN_FILE).is_file():
        try:
            detect(
                _sources(folders, _TEST, work.data, config.blur_kind),
                DetectConfig(detector=config.detector, seed=config.seed),
                out=out,
                on_progress=lambda done, total: work.on_progress("detecting", done, total),
            )
        except InputError as error:
            log.error("detection: %s", error)
            work.failures["detection"] = str(error)
            return None
    return out


def _detector_hash(config: Table1Config) -> str:
    """A detector by its content, where it is a file."""
    path = Path(config.detector or "")
    return sha256_of_path(path) if path.exists() else path.as_posix()


# --- time ---


def _seconds_an_image(work: _Work, result: Trained) -> float:
    """Median seconds for 1280x720, from 8-bit RGB in memory to the same, after a warm-up.

    The result is back in the computer's memory when the clock stops, so a GPU has finished.
    """
    decisive = {"weights": result.weights_sha256, "options": _options(work, result)}
    path = work.config.out / "times" / f"{keyed(result.method, decisive)}.json"
    if not path.is_file():
        work.on_progress(f"timing {result.method}", 0, 1)
        pair = next(iterate_pairs(work.data, "test", work.config.blur_kind))
        blurred = read_rgb(pair.path(BLUR_FOLDERS[work.config.blur_kind]))
        height, width = SHOWN_SIZE_HW
        image = np.asarray(cv2.resize(blurred, (width, height)), np.uint8)
        restorer = _restorer(work, result)
        restorer.restore(image[:64, :64])  # loads and allocates what only the first call needs
        seconds: list[float] = []
        while len(seconds) < _N_TIMED and sum(seconds) < _LONGEST_TIMING_S:
            begin = time.perf_counter()
            restorer.restore(image)
            seconds.append(time.perf_counter() - begin)
        # The first image of a size still sets buffers up; it counts only where it is the only one.
        kept = seconds[1:] or seconds
        write_atomic(path, json.dumps({"seconds": statistics.median(kept), "n": len(kept)}) + "\n")
        work.on_progress(f"timing {result.method}", 1, 1)
    return float(json.loads(path.read_text())["seconds"])
