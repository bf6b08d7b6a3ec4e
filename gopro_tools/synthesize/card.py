"""The card of a dataset: what it is, how it was made, how to use it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gopro_tools.animation import ANIMATION_FILE
from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.seal import DATASET_FILE
from gopro_tools.synthesize.combing import FieldOrder
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.plan import Plan
from gopro_tools.synthesize.recipes import recipe_named
from gopro_tools.text import markdown_cell, printable, size_text

CARD_FILE = "README.md"
PREVIEW_FILE = "preview.png"
REJECTED_FILE = "rejected.csv"


@dataclass(kw_only=True, slots=True)
class Tally:
    """What the card and the seal say about the rows, which are too many to keep."""

    n_pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By split and sequence, in the order of the manifest."""
    n_pairs_of: Counter[str] = field(default_factory=Counter)
    """By source."""
    n_rejected_of: Counter[str] = field(default_factory=Counter)
    """By source."""
    problems_of: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By source."""
    mixed_of: defaultdict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    """By source, for some of its windows: whether they hold mixes of their own frames."""
    field_orders_of: defaultdict[str, list[FieldOrder]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By source, for some of its windows: which lines of their frames are earlier."""


def card(plan: Plan, tally: Tally, description: Mapping[str, Any]) -> str:
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
{plan.about_splits()} `{MANIFEST_FILE}` has one row per pair (frames are counted from 0, ranges
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
