"""The report that a person reads: Markdown, and the plot over confidence."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gopro_tools.detection.scoring import PER_IMAGE_RULES
from gopro_tools.figures import new_figure
from gopro_tools.sources import BLURRED, SHARP
from gopro_tools.text import markdown_cell, markdown_table

if TYPE_CHECKING:
    import pandas as pd

_POOLED = ("precision", "recall", "f1", "ap50", "ap75", "map50_95")
_TITLES = dict(zip(_POOLED, ("precision", "recall", "F1", "AP50", "AP75", "mAP50-95"), strict=True))
_SHOWN_CONFIDENCES = (0.25, 0.5, 0.75)


def plot_sweep(path: Path, sweep: "pd.DataFrame", *, confidence: float) -> None:
    """Plot recall and precision of every method against confidence.

    Args:
        path: PNG file to write.
        sweep: Rows with ``method``, ``confidence``, ``recall`` and ``precision``.
        confidence: The chosen one, marked.

    Raises:
        InputError: matplotlib is not installed.
    """
    figure = new_figure(10, 4.2)
    axes = figure.subplots(1, 2, sharey=True)
    methods = list(dict.fromkeys(sweep["method"]))
    for axis, measure in zip(axes, ("recall", "precision"), strict=True):
        for i, method in enumerate(methods):
            rows = sweep[sweep["method"] == method]
            style: dict[str, Any] = {"color": f"C{i % 10}", "marker": "osD^vP*X"[i % 8]}
            if method in (SHARP, BLURRED):
                # On top and dashed, so that a method with an equal curve shows through.
                colour, line = ("black", ":") if method == SHARP else ("0.35", "--")
                style = {"color": colour, "linestyle": line, "linewidth": 2, "zorder": 3}
            axis.plot(rows["confidence"], rows[measure], label=method, markersize=4, **style)
        axis.axvline(confidence, color="0.8", linewidth=1, zorder=0)
        axis.set(xlabel="least confidence of a box", ylabel=measure, xlim=(0, 1), ylim=(0, 1.03))
        axis.grid(color="0.93")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(6, len(methods))
    )
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png", dpi=130)
    temporary.replace(path)


def markdown(
    summary: "pd.DataFrame",
    sweep: "pd.DataFrame",
    settings: Mapping[str, str | float | None],
    *,
    plot: str,
    overlays: Sequence[str],
) -> str:
    """The report: the scores with their intervals, what they mean, and where the rest is.

    Args:
        summary: Rows of ``detection.csv``.
        sweep: Rows of ``detection_sweep.csv``.
        settings: What decided the numbers.
        plot: File of the plot, or why there is none.
        overlays: Files of the overlays.
    """
    own = (
        "The references are the detector's own boxes on the sharp images, so `sharp` against "
        "itself is 1 where the two confidences agree. The measure says how far a method brings "
        "back what the detector saw, not whether the detector was right."
    )
    human = "The references are human labels; `sharp` is what the detector reaches without blur."
    paragraphs = [
        f"# Detection after deblurring: {settings['protocol']}",
        markdown_table(
            ["method", *(f"{_TITLES[name]} ↑" for name in _POOLED), "TP", "FP", "FN", "images"],
            [
                [
                    markdown_cell(row["method"]),
                    *(_with_interval(row, name) for name in _POOLED),
                    *(str(row[name]) for name in ("tp", "fp", "fn", "n_images")),
                ]
                for row in _records(summary)
            ],
        ),
        f"In brackets: intervals, paired ({settings['interval']}). Precision, recall and "
        "F1 come from the totals of boxes matched (TP), false (FP) and missed (FN), at confidence "
        f"{settings['confidence']} and IoU {settings['iou']}. AP50, AP75 and mAP50-95 are COCO's "
        "(101 recalls, at most 100 boxes per image and class, all sizes) and take boxes of every "
        "confidence.",
        own if settings["reference"] == "detector" else human,
    ]
    if settings["left_out"]:
        paragraphs.append(f"**Only the images that all have.** {settings['left_out']}.")
    paragraphs += [
        "## Means over images",
        markdown_table(
            ["method", *(f"{_TITLES[name]} ↑" for name in _POOLED[:3])],
            [
                [
                    markdown_cell(row["method"]),
                    *(_with_interval(row, f"{name}_per_image") for name in _POOLED[:3]),
                ]
                for row in _records(summary)
            ],
        ),
        PER_IMAGE_RULES,
        "## Over confidence",
        f"![Recall and precision over confidence]({plot})" if plot.endswith(".png") else plot,
        _sweep_table(sweep),
        "## Images that changed most",
        *(f"![{Path(file).stem}]({file})" for file in overlays),
        *([] if overlays else ["No image changed, or no overlays were requested."]),
        "## Settings",
        markdown_table(
            ["setting", "value"],
            [
                [name, "" if value is None else markdown_cell(str(value))]
                for name, value in settings.items()
                if name not in ("per_image_rules", "left_out")
            ],
            n_text_columns=2,
        ),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _sweep_table(sweep: "pd.DataFrame") -> str:
    """Precision, recall and F1 at a few confidences, for each set of references."""
    import pandas as pd

    shown = sweep[sweep["confidence"].isin(_SHOWN_CONFIDENCES)]
    cells: dict[tuple[str, str], list[str]] = {}
    for row in _records(shown):
        level = row["reference_confidence"]
        key = ("labels" if pd.isna(level) else f"≥ {level:g}", row["method"])
        scores = " / ".join(_number(row[name]) for name in ("precision", "recall", "f1"))
        cells.setdefault(key, []).append(scores)
    rows = [[key[0], markdown_cell(key[1]), *row] for key, row in cells.items()]
    head = ["references", "method", *(f"P / R / F1 at {c}" for c in _SHOWN_CONFIDENCES)]
    return markdown_table(head, rows, n_text_columns=2)


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:

    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = _number(row[f"{name}_low"]), _number(row[f"{name}_high"])
    if low == high == _number(math.nan):
        return _number(row[name])
    return f"{_number(row[name])} [{low}, {high}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
