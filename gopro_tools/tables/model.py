"""Numbers with everything they depend on, and the table that keeps unlike ones apart."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from gopro_tools.errors import InputError
from gopro_tools.metrics import METRICS
from gopro_tools.sources import BLURRED, SHARP, UNSTATED

Source = Literal["measured", "published", "third-party re-run"]
SOURCES: tuple[Source, ...] = ("measured", "published", "third-party re-run")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """What is measured, whatever the protocol."""

    label: str
    """Heading, unit included."""
    digits: int
    """Decimals to print."""
    higher_is_better: bool = True
    """Direction."""
    competes: bool = True
    """Whether the best value of a column is marked."""


QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        "psnr": Quantity(label="PSNR (dB)", digits=2),
        "ssim": Quantity(label="SSIM", digits=4),
        "lpips": Quantity(label="LPIPS", digits=4, higher_is_better=False),
        "vmaf": Quantity(label="VMAF", digits=2),
        "dists": Quantity(label="DISTS", digits=4, higher_is_better=False),
        "niqe": Quantity(label="NIQE", digits=2, higher_is_better=False),
        "blur_effect": Quantity(label="blur effect", digits=4, higher_is_better=False),
        "tof": Quantity(label="tOF (px)", digits=3, higher_is_better=False),
        "precision": Quantity(label="precision", digits=3),
        "recall": Quantity(label="recall", digits=3),
        "f1": Quantity(label="F1", digits=3),
        "ap50": Quantity(label="AP50", digits=3),
        "map50_95": Quantity(label="mAP50-95", digits=3),
        "time_s": Quantity(label="time (s)", digits=2, higher_is_better=False),
        "macs_g": Quantity(label="MACs (G)", digits=0, higher_is_better=False, competes=False),
        "parameters_m": Quantity(
            label="parameters (M)", digits=3, higher_is_better=False, competes=False
        ),
    }
)
"""Every quantity a table can hold, in the order of its columns."""


def quantity_of(name: str) -> str | None:
    """The quantity behind a metric's name (``psnr`` for ``psnr_rgb``), or None."""
    if name in QUANTITIES:
        return name
    family = name.partition("_")[0]
    return family if family in ("psnr", "ssim", "tof") else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """Everything that numbers must share to stand in one column."""

    quantity: str
    """Key of `QUANTITIES`."""
    protocol: str
    """How it was computed, such as ``ssim_gauss`` or ``yolo-consistency-v1``."""
    settings: str = ""
    """What else the number depends on: detector and thresholds, or the hardware behind a time."""
    dataset: str
    """Name, for display."""
    dataset_sha256: str = ""
    """Identity of measured pairs, by their pixels; empty for published numbers. Columns with equal
    ones are about the same images, whatever their labels say."""
    split: str = ""
    blur_kind: str
    """gamma, linear_crf, real, or unstated."""
    resolution: str = ""
    """``1280x720``; empty where it is not known."""
    source: Source = "measured"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One number of one method."""

    method: str
    column: Column
    value: float
    scale: str = ""
    """Effort of the method's training compared with the paper's: full, reduced, smoke; empty where
    it is unknown or does not apply."""
    published_name: str = ""
    """What published tables call the method, where its record says so."""
    printed: str = ""
    """The value as its source prints it, digits and all; empty for measured ones."""
    n_images: int | None
    """Number of images averaged over; None where it is unknown."""
    verified: bool = True
    """False for a published number nobody has compared with its source."""
    citation: str = ""
    """Citation of a published number."""
    note: str = ""
    """What a reader should know about it."""
    origin: str = ""
    """File it was read from, for messages."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Methods by columns; not every method has every number."""

    methods: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[str, Column], Row]
    best: frozenset[tuple[str, Column]]
    """Cells with their column's best value among those that can be compared."""


def table_of(rows: Iterable[Row], *, separate: bool = False) -> Table:
    """One table of all numbers.

    A column holds one quantity under one protocol on the same images (by their pixels), from one
    source: numbers that differ in any of these never share a column. Where measured numbers of one
    protocol differ, or methods were trained at different scales, something was mixed up, unless the
    caller says that it is intended.

    A measured method shares the row of the published one of its name; case, spaces and punctuation
    do not count (``deepdeblur-k3`` is ``DeepDeblur K=3``). One that was trained at a smaller scale
    than the paper's has a row of its own, which says so: ``DeepDeblur K=3 (reduced)``.

    The best value is marked among restored images of at least two methods, over the same number of
    images (the largest in the column) and at one scale. Unverified numbers do not compete.

    Args:
        rows: The numbers.
        separate: Give measured numbers that differ in dataset, split, kind of blur, resolution or
            settings columns of their own, and accept several scales, instead of refusing them.

    Raises:
        InputError: There are no rows, unlike numbers were measured under one protocol, or a method
            has two values for one column.
    """
    rows = _with_equal_labels(list(rows))
    if not rows:
        raise InputError("There are no numbers to make a table of.")
    if not separate:
        _refuse_mixtures(rows)
    published = {
        plain_name(row.method): row.method for row in rows if row.column.source != "measured"
    }
    cells: dict[tuple[str, Column], Row] = {}
    for row in rows:
        method = _row_name(row, published)
        before = cells.setdefault((method, row.column), row)
        same = before.n_images == row.n_images and _same_value(before.value, row.value)
        if not same:
            raise InputError(
                f"{method} has two values for {_describe(row.column)}: {before.value} "
                f"({before.n_images} images, {before.origin}) and {row.value} ({row.n_images} "
                f"images, {row.origin}). Leave one out, or give one another name."
            )
    columns = tuple(sorted({column for _, column in cells}, key=_column_order))
    return Table(
        methods=_ordered_methods(cells, list(published.values())),
        columns=columns,
        cells=cells,
        best=frozenset(cell for column in columns for cell in _best_cells(cells, column)),
    )


def _row_name(row: Row, published: Mapping[str, str]) -> str:
    """The row a number belongs in; ``published`` has the published rows by plain name."""
    own = row.published_name or row.method
    name = published.get(plain_name(own), row.method)
    if row.column.source != "measured" or row.scale in ("", "full"):
        return name
    return f"{name} ({row.scale})"


def _with_equal_labels(rows: Sequence[Row]) -> list[Row]:
    """The rows with one set of labels for each set of images: the most complete one found."""
    labels: dict[str, tuple[str, str, str]] = {}
    for row in rows:
        column = row.column
        if column.dataset_sha256:
            own = (column.dataset, column.split, column.blur_kind)
            before = labels.setdefault(column.dataset_sha256, own)
            if _n_stated(own) > _n_stated(before):
                labels[column.dataset_sha256] = own
    named = []
    for row in rows:
        if row.column.dataset_sha256:
            dataset, split, blur_kind = labels[row.column.dataset_sha256]
            column = replace(row.column, dataset=dataset, split=split, blur_kind=blur_kind)
            row = replace(row, column=column)
        named.append(row)
    return named


def _n_stated(labels: Sequence[str]) -> int:
    return sum(label not in ("", UNSTATED) for label in labels)


def _refuse_mixtures(rows: Sequence[Row]) -> None:
    groups: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.column.source == "measured":
            groups[row.column.quantity, row.column.protocol].append(row)
    for (_, protocol), group in groups.items():
        described: dict[str, Callable[[Row], str]] = {
            "blur_kind": lambda row: row.column.blur_kind,
            "split": lambda row: row.column.split,
            "resolution": lambda row: row.column.resolution,
            "dataset": lambda row: dataset_text(row.column),
            "settings": lambda row: row.column.settings,
        }
        found: dict[str, str]
        for what, describe in described.items():
            found = {describe(row): row.origin for row in group}
            if len(found) > 1:
                listed = ", ".join(f"{value or 'none'!r} ({o})" for value, o in found.items())
                raise InputError(
                    f"{protocol} was measured with more than one {what}: {listed}. Such numbers do "
                    "not belong in one column: leave some out, or give each a column of its own "
                    "with --separate."
                )
        found = {row.scale: row.origin for row in group if row.scale}
        if len(found) > 1:
            listed = ", ".join(f"{scale} ({origin})" for scale, origin in found.items())
            raise InputError(
                f"{protocol} was measured for methods trained at more than one scale: {listed}. "
                "They do not compete: leave some out, or accept both with --separate."
            )


def _best_cells(
    cells: Mapping[tuple[str, Column], Row], column: Column
) -> list[tuple[str, Column]]:
    if not QUANTITIES[column.quantity].competes:
        return []
    candidates = {
        cell: row
        for cell, row in cells.items()
        if cell[1] == column
        and cell[0] not in (SHARP, BLURRED)
        and row.verified
        and not math.isnan(row.value)
    }
    n_images = max((row.n_images or 0 for row in candidates.values()), default=0)
    values = {c: row.value for c, row in candidates.items() if (row.n_images or 0) == n_images}
    scales = {row.scale for row in candidates.values() if row.scale}
    if len(values) < 2 or len(scales) > 1:
        return []
    best = (max if QUANTITIES[column.quantity].higher_is_better else min)(values.values())
    return [cell for cell, value in values.items() if value == best]


def _ordered_methods(
    cells: Iterable[tuple[str, Column]], published: Sequence[str]
) -> tuple[str, ...]:
    """Sharp and blurred first, then published methods in their order, then the others."""
    methods = dict.fromkeys(method for method, _ in cells)
    rank = {SHARP: -2, BLURRED: -1} | {
        method: i for i, method in enumerate(published) if method not in (SHARP, BLURRED)
    }

    def place(method: str) -> tuple[int, bool]:
        name = re.sub(r" \((smoke|reduced)\)$", "", method)
        return rank.get(name, len(published)), name != method

    return tuple(sorted(methods, key=place))


def _column_order(column: Column) -> tuple[object, ...]:
    names = [*METRICS]
    known = names.index(column.protocol) if column.protocol in names else len(names)
    return (
        [*QUANTITIES].index(column.quantity),
        known,
        column.protocol,
        column.dataset,
        column.dataset_sha256,
        column.split,
        column.blur_kind,
        column.resolution,
        SOURCES.index(column.source),
        column.settings,
    )


def plain_name(method: str) -> str:
    """``MIMO-UNet+`` and ``mimo_unet+`` are one method, ``MIMO-UNet`` is another."""
    return "".join(c for c in method.casefold() if c.isalnum() or c == "+")


def dataset_text(column: Column) -> str:
    """A dataset by name, plus the beginning of the identity of measured pairs."""
    return f"{column.dataset} {column.dataset_sha256[:8]}".rstrip()


def _same_value(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9) or (math.isnan(a) and math.isnan(b))


def _describe(column: Column) -> str:
    where = " ".join(filter(None, (dataset_text(column), column.split, column.blur_kind)))
    return f"{column.protocol} {column.quantity} on {where}, {column.source}"
