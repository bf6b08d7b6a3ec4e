"""What a page shows, as plain data: image sets with their scores, boxes and facts; datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from gopro_tools.findings import Finding
from gopro_tools.sources import UNSTATED

Series: TypeAlias = list[float | None]
"""One value per image, in the order of `Collection.keys`; None where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """One box as the overlay draws it."""

    kind: str
    """matched, missed or false."""
    box_xyxy: tuple[float, ...]
    """Left, top, right, bottom in px."""
    class_id: int
    """Position in `Boxes.class_names`."""
    score: float | None
    """Confidence; None for a reference box."""


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """The boxes of one detection run."""

    class_names: Sequence[str]
    by_method: Mapping[str, Sequence[Sequence[Box]]]
    """Method to a list per image, in the order of `Collection.keys`."""
    note: str
    """Detector, confidence and overlap, for people."""


@dataclass(kw_only=True)
class Collection:
    """The same images from several methods, with everything known about them."""

    labels: Mapping[str, str]
    """dataset, split and blur_kind."""
    keys: list[str]
    """``<sequence>/<name>`` of each image, in order."""
    paths: dict[str, list[Path | None]] = field(default_factory=dict)
    """Method to one file per image; ``sharp``, ``blurred``, then the restored ones."""
    scores: dict[str, dict[str, Series]] = field(default_factory=dict)
    """Metric to method to values."""
    facts: dict[str, Series] = field(default_factory=dict)
    """What the manifest says about each image, such as the length of its blur in px."""
    boxes: Boxes | None = None
    sweep: list[dict[str, float | str | None]] = field(default_factory=list)
    """method, confidence, precision and recall over the references that the scores use."""
    animation: bytes | None = None
    """Animated WebP of part of a video, blurred beside restored."""
    timeline: "Timeline | None" = None
    """Scores of all frames of a video that has a sharp one."""
    remarks: dict[str, list[str]] = field(default_factory=dict)
    """Key of an image to what a check found in it."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the reader, such as doubts about a method's results."""
    missing: list[str] = field(default_factory=list)
    """What cannot be shown, and why."""

    @property
    def title(self) -> str:
        """Dataset, split and, where it is known, kind of blur."""
        where = " ".join(filter(None, (self.labels["dataset"], self.labels["split"])))
        kind = self.labels["blur_kind"]
        return where if kind == UNSTATED else f"{where}, blur_kind {kind}"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How well each frame of a video was restored."""

    times_s: Sequence[float]
    """Times of each frame, from the first."""
    metric: str
    by_method: Mapping[str, Series]
    """Method to one value per frame; None where a frame could not be read."""


@dataclass(frozen=True, kw_only=True)
class CheckView:
    """The CSV that a check left behind."""

    name: str
    findings: Sequence[Finding]


@dataclass(frozen=True, kw_only=True)
class DatasetView:
    """What a dataset says about itself, and what a check found."""

    name: str
    splits: Mapping[str, Mapping[str, int]]
    """Split to sequence to number of pairs."""
    rejected: Sequence[Mapping[str, str]]
    """Rows of ``rejected.csv``."""
    findings: Sequence[Finding] | None
    """Of `gopro_tools.verify`; None where it was not run."""
    collections: Sequence[Collection]
    """Its pairs, one collection per split."""
    animation: bytes | None
    """Animated WebP that shows blurred and sharp in turn; None where no pair can be read."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table."""

    value: float
    """At full precision: what the CSV has."""
    text: str
    """As it is shown."""
    best: bool = False
    """The best of its column."""
    note: str = ""
    """Shown on request: how many images, citation."""


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The head of one column."""

    lines: Sequence[str]
    """What is measured, then what the numbers depend on."""
    higher_is_better: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """A comparison table, ready to show."""

    title: str
    headings: Sequence[Heading]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]
    """Method, and one cell per column."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How well a network restored the validation images while it was trained."""

    label: str
    """Folder of the training."""
    points: Sequence[tuple[float, float]]
    """Steps done, and the gain in dB over the blurred images."""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A record without scores of images."""

    facts: Mapping[str, str]
    """What is shown, by heading."""
    curve: Curve | None
    """For a training that was validated."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything on a page."""

    title: str
    notes: Sequence[str]
    """What could not be used, for the top of the page."""
    tables: Sequence[Table]
    collections: Sequence[Collection]
    datasets: Sequence[DatasetView]
    checks: Sequence[CheckView]
    runs: Sequence[RunView]
