"""Rendering all clips of a dataset, and making pairs of them."""

import json
import multiprocessing
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.files import LOCK_FILE, write_atomic
from gopro_tools.locks import held
from gopro_tools.machine import versions
from gopro_tools.processes import end_with_parent
from gopro_tools.records import jsonable, to_json
from gopro_tools.rendered.clips import (
    FIGURES,
    N_FRAMES,
    Clip,
    RenderedConfig,
    clips_of,
    photographs_of,
    render_clip,
)
from gopro_tools.scenes.photographs import LeftOut
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.text import csv_text, read_csv
from gopro_tools.threads import n_cores

RENDERED_FILE = "rendered.json"
MOTION_FILE = "motion.csv"
RENDERED_NAME = "rendered scenes"
"""What tables call such a dataset."""

OnProgress = Callable[[str, int, int], None]

_N_WORKERS_LIMIT = 16


def render_dataset(
    config: RenderedConfig,
    out: Path,
    *,
    jobs: int | None = None,
    on_progress: OnProgress = lambda task, done, total: None,
) -> Sequence[LeftOut]:
    """Render clips and make a dataset of them; after an interruption the same call resumes.

    Args:
        config: Which pairs.
        out: Folder of the dataset; one that is complete and was made with the same config is kept.
        jobs: Processes; one per core by default. Scenes and their motion do not depend on it; the
            videos' lossy compression was seen to vary on a busy machine.
        on_progress: Called with the task (``rendering``, ``synthesizing``), and the parts done and
            in total.

    Returns:
        Photographs that were left out, and why.

    Raises:
        InputError: Too few usable photographs, or ``out`` holds a dataset made with other settings.
    """
    record = out / RENDERED_FILE
    if record.is_file():
        made, asked = json.loads(record.read_text()), jsonable(config)
        if made["config"] == asked:
            return [LeftOut(**reason) for reason in made["left_out"]]
        raise InputError(
            f"{out}: a dataset rendered with other settings lies there "
            f"({_differences(made['config'], asked)}); name another folder."
        )
    folder = _clip_folder(out)
    if out.is_dir() and any(out.iterdir()) and not folder.is_dir():
        raise InputError(f"{out}: holds something else; name an empty or new folder.")
    with held(folder / LOCK_FILE, f"{out}: another process is rendering this dataset."):
        left_out = _render(config, out, folder, jobs, on_progress)
    shutil.rmtree(folder, ignore_errors=True)
    return left_out


def blur_lengths(data: Path) -> dict[tuple[str, str], float] | None:
    """Known length of the blur of each image, mean over its pixels, in pixels.

    Args:
        data: A dataset.

    Returns:
        By sequence and image name; None where ``data`` was not rendered.
    """
    path = data / MOTION_FILE
    if not path.is_file():
        return None
    rows = read_csv(path, ("sequence", "name", "blur_px"))
    return {(row["sequence"], row["name"]): float(row["blur_px"]) for row in rows}


def is_rendered(data: Path) -> bool:
    """Whether a dataset was made here."""
    return (data / RENDERED_FILE).is_file()


def _clip_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.clips")


def _render(
    config: RenderedConfig, out: Path, folder: Path, jobs: int | None, on_progress: OnProgress
) -> Sequence[LeftOut]:
    photographs, left_out = photographs_of(config)
    clips = clips_of(config, photographs)
    jobs = min(jobs or n_cores(), _N_WORKERS_LIMIT)
    _render_clips(clips, folder, jobs, on_progress)
    summary = synthesize(
        [folder],
        SynthesisConfig(
            frames=str(N_FRAMES), kinds=("sharp", "blur_gamma"), test_recordings=("test_*",)
        ),
        out=out,
        jobs=jobs,
        on_progress=lambda done, total: on_progress("synthesizing", done, total),
    )
    if summary.failed or summary.damaged:
        raise InputError(
            f"{out}: {', '.join([*summary.failed, *summary.damaged])} cannot be read back; remove "
            f"these clips from {folder} with their CSV files, and start the same command again."
        )
    _collect_motion(out, folder)
    facts = {
        "config": config,
        "photographs": photographs,
        "clips": clips,
        "left_out": left_out,
        "versions": versions(),
    }
    write_atomic(out / RENDERED_FILE, to_json(facts))
    return left_out


def _render_clips(clips: Sequence[Clip], folder: Path, jobs: int, on_progress: OnProgress) -> None:
    """Render the clips that are not there yet; those with other settings are removed first."""
    record, text = folder / "clips.json", to_json({"figures": FIGURES, "clips": clips})
    if not record.is_file() or record.read_text() != text:
        for path in folder.glob("*_*.*"):
            path.unlink()
        write_atomic(record, text)
    missing = [clip for clip in clips if not (folder / f"{clip.name}.csv").is_file()]
    n_done = len(clips) - len(missing)
    on_progress("rendering", n_done, len(clips))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=end_with_parent) as pool:
        running = [pool.submit(render_clip, clip, folder) for clip in missing]
        try:
            for finished in as_completed(running):
                finished.result()
                n_done += 1
                on_progress("rendering", n_done, len(clips))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collect_motion(out: Path, folder: Path) -> None:
    """Write one table for the pairs that were made, in the numbering of their windows."""
    rows = []
    for row in read_csv(out / MANIFEST_FILE, ()):
        known = read_csv(folder / f"{Path(row['source']).stem}.csv", FIGURES)
        figures = known[int(row["frame_start"]) // N_FRAMES]
        rows.append([row["split"], row["sequence"], row["name"], *figures.values()])
    write_atomic(out / MOTION_FILE, csv_text(("split", "sequence", "name", *FIGURES), rows))


def _differences(made: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    keys = sorted(key for key in {*made, *asked} if made.get(key) != asked.get(key))
    return ", ".join(f"{key} {made.get(key)} there, {asked.get(key)} now" for key in keys)
