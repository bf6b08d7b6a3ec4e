"""What makes a folder of images a dataset: manifest, rejected windows, record, card, preview."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np

from gopro_tools import __version__
from gopro_tools.animation import ANIMATION_FILE
from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.files import sync_file_system, write_atomic, written_atomic
from gopro_tools.images import PNG_ENCODER, encode_png
from gopro_tools.seal import DATASET_FILE, FORMAT, sealed
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.plan import Plan, Probe, SequencePlan
from gopro_tools.synthesize.preview import PREVIEW_ROWS, animation, preview
from gopro_tools.synthesize.recipes import recipe_named
from gopro_tools.synthesize.segment import SegmentRecord, window_row
from gopro_tools.text import csv_text, markdown_cell, printable, size_text

REJECTED_FILE = "rejected.csv"
CARD_FILE = "README.md"
PREVIEW_FILE = "preview.png"
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


Row = Mapping[str, Any]
Records = Callable[[SequencePlan], Sequence[SegmentRecord]]
"""What was made of a sequence."""


@dataclass(kw_only=True, slots=True)
class _Tally:
    """What the card and the seal say of the rows, which are too many to keep."""

    n_pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By split and sequence, in the order of the manifest."""
    n_pairs_of: Counter[str] = field(default_factory=Counter)
    """By source."""
    n_rejected_of: Counter[str] = field(default_factory=Counter)
    """By source."""
    problems_of: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By source."""


def publish(plan: Plan, records_of: Records, out: Path, state: Path) -> None:
    """Write everything beside the images, in an order that makes `DATASET_FILE` the seal.

    However large the dataset, the rows of one sequence at a time are in memory.

    Args:
        plan: What was to be made.
        records_of: Loads what was made of a sequence; called again for those in the preview.
        out: The dataset.
        state: Folder for files that are being written.
    """

    def temporary(name: str) -> Path:
        # A killed run leaves its temporary file in the state folder, not in the dataset.
        return state / f"{name}.tmp"

    def write(name: str, data: bytes | str) -> None:
        write_atomic(out / name, data, temporary(name))

    tally = _write_tables(plan, records_of, out, temporary)
    if pairs := _spread(plan, records_of, tally):
        write(PREVIEW_FILE, encode_png(preview(out, pairs, plan.config.kinds)))
        if loop := animation(out, pairs, plan.config.kinds):
            write(ANIMATION_FILE, loop)
    description = _describe(plan, tally)
    write(CARD_FILE, _card(plan, tally, description))
    sync_file_system(out)  # the images are on disk before the seal says so
    write(DATASET_FILE, sealed(description, out, [MANIFEST_FILE, REJECTED_FILE]))


def _write_tables(
    plan: Plan, records_of: Records, out: Path, temporary: Callable[[str], Path]
) -> _Tally:
    """Write the manifest and the list of rejected windows, a sequence at a time."""
    tally = _Tally()
    columns = (*MANIFEST_COLUMNS, *plan.config.stage_columns)
    with (
        written_atomic(out / REJECTED_FILE, temporary(REJECTED_FILE)) as rejected_file,
        written_atomic(out / MANIFEST_FILE, temporary(MANIFEST_FILE)) as manifest_file,
    ):
        _write_rows(manifest_file, columns, (), with_header=True)
        _write_rows(rejected_file, REJECTED_COLUMNS, (), with_header=True)
        for sequence in _in_order(plan):
            records = records_of(sequence)
            pairs, rejected = _pairs(records), _rejected(sequence, records)
            _write_rows(manifest_file, columns, pairs)
            _write_rows(rejected_file, REJECTED_COLUMNS, rejected)
            source = sequence.probe.source.name
            tally.n_pairs[sequence.split, sequence.name] = len(pairs)
            tally.n_pairs_of[source] += len(pairs)
            tally.n_rejected_of[source] += len(rejected)
            tally.problems_of[source].update(*(record.problems for record in records))
    return tally


def _write_rows(
    file: BinaryIO, columns: Sequence[str], rows: Sequence[Row], *, with_header: bool = False
) -> None:
    text = csv_text(columns, rows, with_header=with_header)
    file.write(text.encode(errors="backslashreplace"))


def _in_order(plan: Plan) -> list[SequencePlan]:
    """The sequences in the order of the tables."""
    return sorted(plan.sequences, key=lambda sequence: (sequence.split, sequence.name))


def _pairs(records: Sequence[SegmentRecord]) -> list[Row]:
    """Rows of the manifest of one sequence."""
    return sorted((row for record in records for row in record.pairs), key=_name)


def _rejected(sequence: SequencePlan, records: Sequence[SegmentRecord]) -> list[Row]:
    """Rows of the rejected windows of one sequence, before and while frames were seen."""
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


def _spread(plan: Plan, records_of: Records, tally: _Tally) -> list[Row]:
    """A few rows from all over the manifest, for the preview."""
    n_pairs = tally.n_pairs.total()
    n_rows = min(PREVIEW_ROWS, n_pairs)
    wanted = np.linspace(0, n_pairs - 1, n_rows).round().astype(int).tolist()
    return list(_rows_at(plan, records_of, tally, wanted))


def _rows_at(
    plan: Plan, records_of: Records, tally: _Tally, wanted: Sequence[int]
) -> Iterator[Row]:
    """Rows of the manifest by their index in it, ascending."""
    start = 0
    for sequence in _in_order(plan):
        stop = start + tally.n_pairs[sequence.split, sequence.name]
        here = [index - start for index in wanted if start <= index < stop]
        if here:
            pairs = _pairs(records_of(sequence))
            yield from (pairs[index] for index in here)
        start = stop


def _describe(plan: Plan, tally: _Tally) -> dict[str, Any]:
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
        "png_encoder": PNG_ENCODER,
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
                **_facts(probe, plan.config.fps),
            }
            for probe in plan.probes
        ],
    }


def _facts(probe: Probe, fps: float | None) -> dict[str, Any]:
    """What the container said and what was measured."""
    info = probe.info
    if info is None:
        return {}
    return {"left_out": list(probe.source.left_out), **info.record(fps)}


def _card(plan: Plan, tally: _Tally, description: Mapping[str, Any]) -> str:
    """The dataset's README: what it is, how it was made, how to use it."""
    config = plan.config
    lines = []
    for sequence in plan.sequences:
        info = sequence.probe.info
        if info is None:
            raise InputError(f"{sequence.name}: its source was not read.")
        rate_hz = info.rate_hz(config.fps)
        n_pairs = tally.n_pairs[sequence.split, sequence.name]
        lines.append(
            f"| {sequence.split} | {sequence.name} | {n_pairs} | "
            f"{sequence.n_frames} | {1000 * sequence.n_frames / rate_hz:.1f} | {rate_hz:.4g} | "
            f"{size_text(config.output_size_hw(info.size_hw))} | "
            f"{_text(sequence.probe.source.name)} |"
        )
    n_sources = sum(probe.info is not None for probe in plan.probes)
    splits = ", ".join(f"{n} {split}" for split, n in description["n_pairs"].items()) or "no"
    bad = [
        f"- {_text(s['name'])}: {_text(s['error'])}" for s in description["sources"] if s["error"]
    ]
    bad += [
        f"- {_text(s['name'])}: {len(s['problems'])} problem(s), first: {_text(s['problems'][0])}"
        for s in description["sources"]
        if s["problems"]
    ]
    notes = [
        f"- {_text(s['name'])}: {_text(note)}"
        for s in description["sources"]
        for note in s.get("notes", ())
    ]
    notes += [
        f"- {_text(s['name'])}: left out, as it is a low-resolution copy: {_text(name)}"
        for s in description["sources"]
        for name in s.get("left_out", ())
    ]
    return f"""# Motion-blur dataset in the GOPRO_Large layout

{splits} pairs, made from {n_sources} high-frame-rate source(s) by {description["made_by"]}.
{tally.n_rejected_of.total()} window(s) were rejected; `{REJECTED_FILE}` says why.
`{PREVIEW_FILE}` and the loop `{ANIMATION_FILE}` show some pairs.

## How it was made

Each blurred image is the average of consecutive frames, as in Nah et al., "Deep Multi-scale
Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017. The middle frame is its sharp
truth. Camera response: `{Path(config.response).name}`.

| folder | what |
|---|---|
| `sharp/` | the middle frame, untouched |
| `blur_gamma/` | averaged in linear light, encoded again (`blur_kind` gamma; the paper's input) |
| `blur/` | plain mean of the code values (`blur_kind` linear_crf; most work since 2018) |
{_stages(config)}
The two kinds of blur differ by tenths of a dB in every result: say which one you used.

| split | sequence | pairs | frames averaged | exposure (ms) | frame rate (Hz) | size | source |
|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

## Using it

Pairs share their name: `train/<sequence>/blur_gamma/000001.png` belongs to
`train/<sequence>/sharp/000001.png`, so loaders written for GOPRO_Large read it unchanged.
{plan.about_splits()} `{MANIFEST_FILE}` has a row a pair (frames are counted from 0, ranges
end before their last number; `hash_*` is XXH3-128 of the pixels), `{DATASET_FILE}` the settings and
what each source's container said. `python -m gopro_tools.verify .` checks it all.

The images are derived from the source videos: their licence and the rights of the people in them
apply.
{_section("Decisions about sources", notes)}{_section("Sources with problems", bad)}"""


def _text(text: str) -> str:
    """Names and messages in the card: no markup, no control characters."""
    return markdown_cell(printable(text))


def _stages(config: SynthesisConfig) -> str:
    """Rows and sentences of the card on what goes beyond averaging."""
    rows, notes = [], []
    if config.makes_real:
        stages = [f"a rolling shutter of {config.readout_ms:g} ms"] if config.readout_ms else []
        stages += ["saturated lights brightened (RSBlur)"] if config.saturation else []
        stages += [f"shot and read noise ({config.noise})"] if config.noise else []
        stages += [f"colours, mosaic and demosaicing of {config.isp}"] if config.isp else []
        rows.append(f"| `blur_real/` | {'; '.join(stages)} (`blur_kind` real) |")
    if config.latent:
        rows.append("| `latent/` | all frames of each exposure, `000001/000.png` ... |")
    if config.recipe:
        changed = [
            f"{name} {getattr(config, name)} (recipe: {value})"
            for name, value in config.recipe_settings.items()
            if getattr(config, name) != value
        ]
        notes.append(
            f"Recipe `{config.recipe}`: {recipe_named(config.recipe).stands_for}"
            + (f" Here it was changed: {', '.join(changed)}." if changed else "")
        )
    if config.interpolate > 1:
        notes.append(
            f"Gaps between frames were made {config.interpolate} times as fine by interpolation "
            f"(`{config.interpolator}`) before averaging. An exposure lasts from its first frame "
            "to its last; `lost_share` in the manifest says what share of the pixels had no "
            "match in the next frame."
        )
    if config.readout_ms:
        notes.append(
            "The sharp image of `blur_real` is the middle frame of the middle row; rows above were "
            "exposed earlier, rows below later."
        )
    if config.measures_motion:
        notes.append(
            "`motion_mean_px` and `motion_p95_px` in the manifest are the length of the blur by "
            "optical flow over the exposure, mean and 95th percentile over the image; "
            "`saturated_share` and `noise_sigma` (code values) are those of the sharp image."
        )
    return "".join(f"{row}\n" for row in rows) + "".join(f"\n{note}\n" for note in notes)


def _section(title: str, lines: Sequence[str]) -> str:
    return f"\n## {title}\n\n" + "\n".join(lines) + "\n" if lines else ""
