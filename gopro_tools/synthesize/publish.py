"""What makes a folder of images a dataset: manifest, rejected windows, record, card, preview."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import av
import cv2

from gopro_tools import __version__, png_encoder
from gopro_tools.animation import ANIMATION_FILE
from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.files import sync_file_system, write_atomic, written_atomic
from gopro_tools.images import encode_png
from gopro_tools.seal import DATASET_FILE, FORMAT, sealed
from gopro_tools.synthesize.card import CARD_FILE, PREVIEW_FILE, REJECTED_FILE, Tally, card
from gopro_tools.synthesize.combing import FieldOrder
from gopro_tools.synthesize.plan import Plan, Probe, SequencePlan
from gopro_tools.synthesize.preview import (
    Shown,
    images_shown,
    loop_of,
    name_of,
    places_shown,
    sheet_of,
    shown_from_disk,
)
from gopro_tools.synthesize.segment import SegmentRecord, window_row
from gopro_tools.text import csv_text
from gopro_tools.threads import thread_pool

logger = logging.getLogger(__name__)

PUBLISHED_FILES = (
    MANIFEST_FILE, REJECTED_FILE, PREVIEW_FILE, ANIMATION_FILE, CARD_FILE, DATASET_FILE,
)  # fmt: skip
"""In the order they are written: the last one says that the dataset is complete."""

_WINDOW_COLUMNS = (
    "split",
    "sequence",
    "name",
    "source",
    "frame_start",
    "frame_stop",
    "middle_frame",
)
MANIFEST_COLUMNS = (
    *_WINDOW_COLUMNS,
    "time_start_s",
    "time_middle_s",
    "time_stop_s",
    "n_frames",
    "response",
    "height",
    "width",
    "sharpness",
    "hash_sharp",
    "hash_blur",
    "hash_blur_gamma",
)
REJECTED_COLUMNS = (*_WINDOW_COLUMNS, "reason")

_FEWEST_WINDOWS = 3
_MIXED_NOTE = (
    "in {} of {} windows looked at, some frames are mixes of the two beside them, as where a lower "
    "rate was raised by blending: such a sharp image shows two moments at once. Use the video as "
    "the camera recorded it; --interpolate fills its gaps"
)
_COMBED_NOTE = (
    "in {} of {} windows looked at, the even and the odd lines of a frame show two moments, as in "
    "interlaced video, but the source does not say so: its sharp images are combed. Make "
    "progressive video of it first: `ffmpeg -i IN -vf bwdif=parity={} OUT`"
)

Row = Mapping[str, Any]
Records = Callable[[SequencePlan], Sequence[SegmentRecord]]
"""Loads what was made of a sequence."""


def publish(
    plan: Plan,
    records_of: Records,
    out: Path,
    state: Path,
    *,
    shown: Mapping[str, Shown] = MappingProxyType({}),
    bring: Callable[[Sequence[str]], None] = lambda _: None,
) -> None:
    """Write everything beside the images, in an order that makes `DATASET_FILE` the seal.

    However large the dataset, only the rows of one sequence are in memory at a time.

    Args:
        plan: What was to be made.
        records_of: Loads what was made of a sequence; called again for those in the preview.
        out: The dataset.
        state: Folder for files that are being written.
        shown: Pairs of the preview that were made before, by name.
        bring: Called with the images of the others (paths below ``out``) before they are read.
    """

    def temporary(name: str) -> Path:
        # A killed run leaves its temporary file in the state folder, not in the dataset.
        return state / f"{name}.tmp"

    def write(name: str, data: bytes | str) -> None:
        write_atomic(out / name, data, temporary(name), durable=False)

    tally = _write_tables(plan, records_of, out, temporary)
    if pairs := _spread(plan, records_of, tally):
        others = [pair for pair in pairs if name_of(pair) not in shown]
        bring(images_shown(others, plan.config.kinds))
        known = {**shown, **shown_from_disk(out, others, plan.config.kinds)}
        chosen = [known[name_of(pair)] for pair in pairs]
        with thread_pool(1) as beside:
            making = beside.submit(loop_of, chosen)
            write(PREVIEW_FILE, encode_png(sheet_of(chosen)))
            if loop := making.result():
                write(ANIMATION_FILE, loop)
    description = _describe(plan, tally)
    write(CARD_FILE, card(plan, tally, description))
    sync_file_system(out)  # everything is on disk before the seal says so
    seal = sealed(description, out, [MANIFEST_FILE, REJECTED_FILE])
    write_atomic(out / DATASET_FILE, seal, temporary(DATASET_FILE))


def _write_tables(
    plan: Plan, records_of: Records, out: Path, temporary: Callable[[str], Path]
) -> Tally:
    """Write the manifest and the list of rejected windows, a sequence at a time."""
    written = partial(written_atomic, durable=False)  # all is synced at once, before the seal
    tally = Tally()
    columns = (*MANIFEST_COLUMNS, *plan.config.stage_columns)
    with (
        written(out / REJECTED_FILE, temporary(REJECTED_FILE)) as rejected_file,
        written(out / MANIFEST_FILE, temporary(MANIFEST_FILE)) as manifest_file,
    ):
        _write_rows(manifest_file, columns, (), with_header=True)
        _write_rows(rejected_file, REJECTED_COLUMNS, (), with_header=True)
        for sequence in plan.in_order:
            records = records_of(sequence)
            pairs, rejected = _pairs(records), _rejected(sequence, records)
            _write_rows(manifest_file, columns, pairs)
            _write_rows(rejected_file, REJECTED_COLUMNS, rejected)
            source = sequence.probe.source.name
            tally.n_pairs[sequence.split, sequence.name] = len(pairs)
            tally.n_pairs_of[source] += len(pairs)
            tally.n_rejected_of[source] += len(rejected)
            tally.problems_of[source].update(*(record.problems for record in records))
            tally.mixed_of[source] += (mixed for record in records for mixed in record.mixed)
            orders = (order for record in records for order in record.field_orders)
            tally.field_orders_of[source] += orders
    return tally


def _write_rows(
    file: BinaryIO, columns: Sequence[str], rows: Sequence[Row], *, with_header: bool = False
) -> None:
    text = csv_text(columns, rows, with_header=with_header)
    file.write(text.encode(errors="backslashreplace"))


def _pairs(records: Sequence[SegmentRecord]) -> list[Row]:
    """Rows of the manifest of one sequence."""
    return sorted((row for record in records for row in record.pairs), key=_name)


def _rejected(sequence: SequencePlan, records: Sequence[SegmentRecord]) -> list[Row]:
    """Rows of the rejected windows of one sequence, rejected before or after decoding."""
    source = sequence.probe.source.name
    rows: list[Row] = [row for record in records for row in record.rejected]
    rows += [
        window_row(split=sequence.split, sequence=sequence.name, source=source, window=item.window)
        | {"reason": item.reason}
        for item in sequence.rejected
    ]
    return sorted(rows, key=_name)


def _name(row: Row) -> str:
    return str(row["name"])


def _spread(plan: Plan, records_of: Records, tally: Tally) -> list[Row]:
    """The rows of the manifest that the preview shows."""
    wanted = places_shown(tally.n_pairs.total())
    rows: list[Row] = []
    start = 0
    for sequence in plan.in_order:
        stop = start + tally.n_pairs[sequence.split, sequence.name]
        here = [place - start for place in wanted if start <= place < stop]
        if here:
            pairs = _pairs(records_of(sequence))
            rows += [pairs[place] for place in here]
        start = stop
    return rows


def _describe(plan: Plan, tally: Tally) -> dict[str, Any]:
    """The record of a dataset: no times, no paths, no machine, so that equal runs are equal."""
    problems = {source: set(found) for source, found in tally.problems_of.items()}
    n_pairs: Counter[str] = Counter()
    for (split, _), count in tally.n_pairs.items():
        n_pairs[split] += count
    for probe in plan.probes:
        if probe.info is not None and probe.info.cut_short:
            complaint = f"{probe.source.name}: cut short, {probe.info.cut_short}"
            problems.setdefault(probe.source.name, set()).add(complaint)
        for complaint in probe.info.complaints if probe.info is not None else ():
            problems.setdefault(probe.source.name, set()).add(f"{probe.source.name}: {complaint}")
    return {
        "format": FORMAT,
        "made_by": f"gopro_tools {__version__}",
        "identity": plan.identity(),
        "n_pairs": {split: n for split, n in sorted(n_pairs.items()) if n},
        "n_rejected": tally.n_rejected_of.total(),
        "png_encoder": png_encoder.NAME,
        "versions": {
            "av": version("av"),
            "ffmpeg": av.ffmpeg_version_info,
            "numpy": version("numpy"),
            "opencv-python": cv2.__version__,
        },
        "sources": [
            {
                "name": probe.source.name,
                "sha256": probe.sha256,
                "error": probe.error.replace(str(probe.source.path), probe.source.name),
                "n_pairs": tally.n_pairs_of[probe.source.name],
                "n_rejected": tally.n_rejected_of[probe.source.name],
                "sequences": [s.name for s in plan.sequences if s.probe is probe],
                "recording": next((s.recording for s in plan.sequences if s.probe is probe), ""),
                "problems": sorted(
                    {
                        problem.replace(str(probe.source.path), probe.source.name)
                        for problem in problems.get(probe.source.name, ())
                    }
                ),
                **_facts(probe, plan.config.fps, tally),
            }
            for probe in plan.probes
        ],
    }


def _facts(probe: Probe, fps: float | None, tally: Tally) -> dict[str, Any]:
    """What the container said and what was measured."""
    info = probe.info
    if info is None:
        return {}
    facts = {"left_out": list(probe.source.left_out), **info.record(fps)}
    for note in _seen(tally, probe.source.name):
        facts["notes"] = [*facts["notes"], note]
        logger.warning("%s: %s", probe.source.name, note)
    return facts


def _seen(tally: Tally, source: str) -> Iterator[str]:
    """What most of those windows of a source show that were looked at."""
    mixed, orders = tally.mixed_of[source], tally.field_orders_of[source]
    if len(mixed) >= _FEWEST_WINDOWS and sum(mixed) > len(mixed) / 2:
        yield _MIXED_NOTE.format(sum(mixed), len(mixed))
    # The fields of a video do not change their order: windows that contradict cancel.
    excess = orders.count("tff") - orders.count("bff")
    if len(orders) >= _FEWEST_WINDOWS and abs(excess) > len(orders) / 2:
        order: FieldOrder = "tff" if excess > 0 else "bff"
        yield _COMBED_NOTE.format(orders.count(order), len(orders), order)
