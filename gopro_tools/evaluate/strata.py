"""Scores by what is known of each pair: length of blur, noise, saturation, or any other column."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gopro_tools.bootstrap import bootstrap_interval
from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.evaluate.run import Evaluation
from gopro_tools.evaluate.summary import differences, mean_of_defined
from gopro_tools.sources import Sources
from gopro_tools.text import csv_text, markdown_cell, markdown_table

MOTION = "motion_px"
"""Short for the manifest's ``motion_mean_px``."""
EDGES_PX = (0.0, 4.0, 8.0, 12.0, 20.0, np.inf)
"""Of lengths of blur; other columns are cut at their quartiles."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StratumRow:
    """One method under one metric on the images of one stratum."""

    column: str
    """What the images are sorted by."""
    low: float
    """Lower end, included."""
    high: float
    """Upper end, not included."""
    method: str
    metric: str
    n_images: int
    mean: float
    """Over the images of the stratum."""
    delta_mean: float
    """Mean of this score minus the blurred input's."""
    delta_low: float
    """Lower end of the 95 % interval of ``delta_mean``; NaN where there is none."""
    delta_high: float
    """Upper end."""


def stratify(evaluation: Evaluation) -> list[StratumRow]:
    """One row per stratum that holds images, method and metric, in that order.

    Raises:
        InputError: The values cannot be read, or images have none.
    """
    column, values = _values(evaluation)
    edges = EDGES_PX if column.endswith("_px") else _quartiles(values)
    deltas = differences(evaluation)
    config = evaluation.config
    rows = []
    for low, high in pairwise(edges):
        chosen = (values >= low) & (values < high)
        if not chosen.any():
            continue
        units = np.unique(evaluation.units[chosen], return_inverse=True)[1]
        ends = bootstrap_interval(deltas[:, chosen], units, config.n_resamples, config.seed)
        for i, method in enumerate(evaluation.methods):
            for k, metric in enumerate(evaluation.metrics):
                rows.append(
                    StratumRow(
                        column=column,
                        low=float(low),
                        high=float(high),
                        method=method,
                        metric=metric,
                        n_images=int(chosen.sum()),
                        mean=mean_of_defined(evaluation.scores[i, chosen, k]),
                        delta_mean=mean_of_defined(deltas[i, chosen, k]),
                        delta_low=float(ends[0][i, k]),
                        delta_high=float(ends[1][i, k]),
                    )
                )
    return rows


def strata_csv(rows: list[StratumRow]) -> str:
    """The rows as CSV; empty cells where there is no interval."""
    columns = [field.name for field in fields(StratumRow)]
    cells = ([getattr(row, column) for column in columns] for row in rows)
    return csv_text(columns, (["" if cell != cell else cell for cell in row] for row in cells))


def strata_markdown(rows: list[StratumRow]) -> str:
    """A table per metric: methods down, strata across, the gain over blurred in brackets."""
    parts = []
    for metric in dict.fromkeys(row.metric for row in rows):
        mine = [row for row in rows if row.metric == metric]
        strata = list(dict.fromkeys((row.low, row.high, row.n_images) for row in mine))
        head = ["method", *(f"{low:.4g} to {high:.4g} (n={n})" for low, high, n in strata)]
        body = []
        for method in dict.fromkeys(row.method for row in mine):
            cells = [
                f"{row.mean:.4g} ({row.delta_mean:+.3g})" for row in mine if row.method == method
            ]
            body.append([markdown_cell(method), *cells])
        parts += [f"{metric} by {mine[0].column}:", "", markdown_table(head, body), ""]
    return "\n".join(parts)


def known_values(sources: Sources, by: str) -> tuple[Path, str, Mapping[tuple[str, str], float]]:
    """The table behind ``--by``, its column, and the values by sequence and name.

    Raises:
        InputError: There is no such table or column, or it holds no numbers.
    """
    path, column = _table(sources, by)
    return path, column, _column(path, column, by)


def _values(evaluation: Evaluation) -> tuple[str, NDArray[np.float64]]:
    by = evaluation.config.by
    path, column, found = known_values(evaluation.sources, by)
    keys = [
        (images.sequence.rpartition("/")[2], images.name)
        for images in evaluation.pairing.image_sets
    ]
    missing = [f"{sequence}/{name}" for sequence, name in keys if (sequence, name) not in found]
    if missing:
        raise InputError(
            f"--by {by}: {path} has no {column} for {len(missing)} of {len(keys)} images, first "
            f"{missing[0]}."
        )
    return column, np.array([found[key] for key in keys])


def _table(sources: Sources, by: str) -> tuple[Path, str]:
    file, colon, column = by.rpartition(":")
    if colon:
        return Path(file), column
    if sources.dataset is None:
        raise InputError(
            f"--by {by}: a column of a dataset's {MANIFEST_FILE} needs --dataset; for plain "
            "folders name a table: --by FILE.csv:COLUMN with the columns sequence and name."
        )
    return sources.dataset / MANIFEST_FILE, "motion_mean_px" if by == MOTION else by


def _column(path: Path, column: str, by: str) -> Mapping[tuple[str, str], float]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            have = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--by {by}: {path} cannot be read ({error}).") from error
    if not {"sequence", "name", column} <= set(have):
        hint = (
            " Make the dataset with --measure-motion to have the length of blur."
            if column.startswith("motion")
            else ""
        )
        raise InputError(
            f"--by {by}: {path} has no column {column}; it has {', '.join(have) or 'none'}.{hint}"
        )
    try:
        return {(row["sequence"], row["name"]): float(row[column]) for row in rows}
    except (TypeError, ValueError) as error:
        raise InputError(f"--by {by}: {column} of {path} is not a number ({error}).") from error


def _quartiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    inner = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
    return (-np.inf, *map(float, inner), np.inf)
