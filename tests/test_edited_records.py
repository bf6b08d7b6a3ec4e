"""Records and notes that somebody edited: every part of them, replaced by another thing."""

import copy
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_dataset import smooth_image

from gopro_tools.detect import DetectConfig, detect
from gopro_tools.detection import Detections, DetectorIdentity
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.images import encode_png
from gopro_tools.records import read_record, seal
from gopro_tools.report.reading import read_comparisons
from gopro_tools.shape import fits
from gopro_tools.tables import TablesConfig, compare


class Middle:
    """A detector that finds one box in the middle of every image."""

    name = "middle"
    class_names = ("thing",)
    identity = DetectorIdentity(weights_sha256="none", input_size_px=0, runtime="numpy")

    def detect(self, images: list[Any]) -> list[Detections]:
        box = np.array([[4, 4, 20, 20]], np.float32)
        one = Detections(box_xyxy=box, score=np.ones(1, np.float32), class_id=np.zeros(1, np.int64))
        return [one for _ in images]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for kind in ("sharp", "blurred", "m"):
        for name in "ab":
            path = root / kind / "GOPR0384_11_00" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(smooth_image(rng, (24, 32))))
    sources = Sources(sharp=root / "sharp", blurred=root / "blurred", restored=(f"m={root / 'm'}",))
    evaluate(sources, EvaluateConfig(protocol=("psnr_rgb",), n_resamples=5), out=root / "scores")
    config = DetectConfig(detector="middle", n_resamples=5, overlays=0)
    detect(sources, config, out=root / "boxes", detector=Middle())
    return root


def nodes(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a JSON document, of lists the first entry."""
    if way:
        yield way
    if isinstance(value, dict):
        for key, item in value.items():
            yield from nodes(item, (*way, key))
    elif isinstance(value, list) and value:
        yield from nodes(value[0], (*way, 0))


def with_part(document: Any, way: tuple[Any, ...], part: Any) -> Any:
    """A copy with another part in one place; ``...`` removes it."""
    changed = copy.deepcopy(document)
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    if part is ...:
        del inner[way[-1]]
    else:
        inner[way[-1]] = part
    return changed


PARTS = (None, [1], "\u202e=x", {"a": 1}, ...)
"""What people, and programs, leave in a record they edit."""


def edited(folder: Path, name: str, use: Callable[[], object]) -> list[str]:
    """Put every part everywhere in a JSON file of a run, use it, and give what was said."""
    good = json.loads((folder / name).read_text())
    said = []
    for way in nodes(good):
        for part in PARTS:
            (folder / name).write_text(json.dumps(with_part(good, way, part)))
            try:
                use()
            except InputError as error:
                said.append(str(error))
            except Exception as error:
                pytest.fail(f"{'.'.join(map(str, way))} = {part!r}: {error!r}")
    (folder / name).write_text(json.dumps(good))
    return said


@pytest.mark.parametrize("run", ["scores", "boxes"])
def test_an_edited_record_gives_a_table_or_a_sentence(runs: Path, run: str) -> None:
    def tables() -> None:
        compare([runs / run], TablesConfig(published=True)).to_markdown()

    said = edited(runs / run, "run.json", tables)
    assert said
    assert all("run.json" in one or "not as the run wrote it" in one for one in said)


def test_edited_notes_of_where_images_lie_give_a_page_or_a_sentence(runs: Path) -> None:
    assert edited(runs / "scores", "images.json", lambda: read_comparisons([runs / "scores"], None))


@pytest.mark.parametrize("cell", ["", "nan", "inf", "1e999", "x", "-1", "1_0", "\u0661", "9" * 400])
def test_an_edited_summary_gives_a_table_or_a_sentence(runs: Path, cell: str) -> None:
    folder = runs / "scores"
    text = (folder / "summary.csv").read_text()
    rows = list(csv.reader(text.splitlines()))
    record = read_record(folder)
    said: list[str] = []
    for column in range(len(rows[0])):
        changed = copy.deepcopy(rows)
        changed[1][column] = cell
        buffer = io.StringIO()
        csv.writer(buffer).writerows(changed)
        (folder / "summary.csv").write_text(buffer.getvalue())
        seal(folder, replace(record, files={}))  # as a person would who mends the hashes too
        try:
            compare(folder).to_markdown()
        except InputError as error:
            said.append(str(error))
    assert all("summary.csv" in one for one in said)
    (folder / "summary.csv").write_text(text)
    seal(folder, replace(record, files={}))


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, True),
        (True, int, False),
        ("ab", Sequence[str], False),
        (["a", 1], Sequence[str], False),
        ({"a": {"b": 1}}, Mapping[str, Mapping[str, Any]], True),
        ({"a": 1}, Mapping[str, Mapping[str, Any]], False),
        (None, int | None, True),
        ("x", int | None, False),
    ],
)
def test_values_fit_what_annotations_say(value: Any, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected
