"""One HTML file out of `Content`: its data as JSON, its own style and script, nothing else."""

import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from string import Template
from typing import Any

from gopro_tools import __version__
from gopro_tools.metrics import METRICS
from gopro_tools.report.content import Boxes, Collection, Content, DatasetView, Table
from gopro_tools.report.pictures import Pictures

PAGE_MARK = '<meta name="generator" content="gopro_tools.report">'
"""In the head of every page; a folder without such a page is never overwritten."""
_SCRIPTS = ("page.js", "gallery.js", "viewer.js", "plots.js")


def page_html(content: Content, pictures: Sequence[Pictures]) -> str:
    """The page as text.

    The browser is told to load nothing from elsewhere and to run no script but the page's own
    (Content-Security-Policy with the script's hash), so that even a name that slipped through as
    markup could do nothing.

    Args:
        content: What to show.
        pictures: Of each collection, in order.
    """
    here = files("gopro_tools.report")
    style = (here / "page.css").read_text(encoding="utf-8")
    script = "\n".join((here / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    policy = (
        "default-src 'none'; img-src 'self' file: data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_csp_hash(style)}'; script-src '{_csp_hash(script)}'"
    )
    return Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(" ".join(content.title.split())),
        mark=PAGE_MARK,
        policy=html.escape(policy, quote=True),
        style=style,
        script=script,
        data=_json_in_html(_payload(content, pictures)),
    )


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json_in_html(value: Any) -> str:
    """JSON that cannot end the element it stands in, whatever its strings hold."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: the first becomes a word, the second nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _payload(content: Content, pictures: Sequence[Pictures]) -> dict[str, Any]:
    return {
        "title": content.title,
        "footer": f"Made by gopro_tools {__version__}. Nothing on this page is loaded from "
        "elsewhere.",
        "notes": list(content.notes),
        "tables": [_table(table) for table in content.tables],
        "collections": [
            _collection(collection, of_it)
            for collection, of_it in zip(content.collections, pictures, strict=True)
        ],
        "datasets": [_dataset(dataset) for dataset in content.datasets],
        "checks": [asdict(check) for check in content.checks],
        "runs": [asdict(run) for run in content.runs],
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "headings": [asdict(heading) for heading in table.headings],
        "rows": [
            {"method": method, "cells": [cell and asdict(cell) for cell in cells]}
            for method, cells in table.rows
        ],
    }


def _collection(collection: Collection, pictures: Pictures) -> dict[str, Any]:
    n_shown = sum(thumb is not None for thumb in pictures.thumbs)
    n_images = len(collection.keys)
    at = {key: index for index, key in enumerate(collection.keys)}
    notes = [*collection.notes, *collection.missing, *pictures.problems]
    if 0 < n_shown < n_images:
        notes.append(f"{n_shown} of {n_images} images can be opened; scores cover all.")
    of_scores = [method for methods in collection.scores.values() for method in methods]
    methods = list(dict.fromkeys([*collection.paths, *of_scores]))
    return {
        "title": collection.title,
        "keys": collection.keys,
        "methods": methods,
        "metrics": [_metric(name) for name in collection.scores],
        "scores": collection.scores,
        "facts": collection.facts,
        "urls": pictures.urls,
        "thumbs": pictures.thumbs,
        "boxes": collection.boxes and _boxes(collection.boxes),
        "sweep": collection.sweep,
        "animation": _webp_address(collection.animation),
        "timeline": collection.timeline and asdict(collection.timeline),
        "remarks": {str(at[key]): remarks for key, remarks in collection.remarks.items()},
        "notes": notes,
    }


def _metric(name: str) -> dict[str, Any]:
    metric = METRICS.get(name)
    if metric is None:  # of detection
        count = name in ("tp", "fp", "fn")
        return {
            "name": name,
            "unit": "",
            "digits": 0 if count else 3,
            "higher_is_better": name not in ("fp", "fn"),
        }
    return {
        "name": name,
        "unit": metric.unit,
        "digits": metric.digits,
        "higher_is_better": metric.higher_is_better,
    }


def _boxes(boxes: Boxes) -> dict[str, Any]:
    return {
        "class_names": list(boxes.class_names),
        "note": boxes.note,
        "by_method": {
            method: [
                [[box.kind, *box.box_xyxy, box.class_id, box.score] for box in image]
                for image in images
            ]
            for method, images in boxes.by_method.items()
        },
    }


def _webp_address(animation: bytes | None) -> str | None:
    if animation is None:
        return None
    return f"data:image/webp;base64,{base64.b64encode(animation).decode()}"


def _dataset(dataset: DatasetView) -> dict[str, Any]:
    return {
        "animation": _webp_address(dataset.animation),
        "name": dataset.name,
        "splits": [[split, list(counts.items())] for split, counts in dataset.splits.items()],
        "rejected": [dict(row) for row in dataset.rejected],
        "findings": None
        if dataset.findings is None
        else [asdict(finding) for finding in dataset.findings],
    }
