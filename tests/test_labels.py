"""Labels and stored boxes as people write them: read as meant, or stopped at by name."""

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gopro_tools.detection import Labels, read_detections, read_labels
from gopro_tools.detection.boxes import Detections, references_from
from gopro_tools.detection.detectors import StoredBoxes
from gopro_tools.detection.doubts import doubts_about_labels
from gopro_tools.detection.yolo_text import find_classes, read_class_names
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, pixel_hash

NAMES = ("person", "car", "dog", "traffic light")
SIZES = {"a/1.png": (100, 200), "a/2.png": (100, 200)}


def read(path: Path, wanted: tuple[int, ...] = (0, 1, 2, 3)) -> Labels:
    return read_labels(path, SIZES, NAMES, wanted=wanted, min_area_px=0)


def document() -> dict[str, Any]:
    return {
        "images": [
            {"id": i + 1, "file_name": name, "width": 200, "height": 100}
            for i, name in enumerate(SIZES)
        ],
        "annotations": [
            {"id": i, "image_id": i + 1, "category_id": 1 + 2 * i, "bbox": [10.0, 20.0, 30.0, 40.0]}
            for i in range(2)
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    }


def written(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    changed = copy.deepcopy(document())
    change(changed)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(changed))
    return path


def each(part: str, key: str, make: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda doc: [entry.update({key: make(entry[key])}) for entry in doc[part]]  # type: ignore[func-returns-value]


WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "annotations name images by text": (each("annotations", "image_id", str), r"'1' \(text\)"),
    "images have text": (each("images", "id", str), r"1 \(a number\).*'1' \(text\)"),
    "off by one": (each("annotations", "image_id", lambda i: i - 1), r"image_id 0 \(a number\)"),
    "one far off": (lambda d: d["annotations"][1].update(image_id=10**30), "image_id 1000"),
    "category ids as text": (each("annotations", "category_id", str), r"category_id '1' \(text\)"),
    "categories mixed": (lambda d: d["categories"][0].update(id="1"), "some numbers, some text"),
    "a category without name": (lambda d: d["categories"][0].update(name=None), "instead of a"),
    "two categories of one name": (each("categories", "name", lambda _: "car"), "share an id or"),
    "two images of one id": (each("images", "id", lambda _: 1), "two images"),
    "two images of one name": (each("images", "file_name", lambda _: "a/1.png"), "two images"),
    "an id that is a fraction": (lambda d: d["images"][0].update(id=1.5), "whole numbers or text"),
    "an id that is a truth value": (lambda d: d["images"][0].update(id=True), "whole numbers"),
    "widths as text": (each("images", "width", str), "'200' instead of a number"),
    "iscrowd as text": (lambda d: d["annotations"][0].update(iscrowd="0"), "'0' instead of 0"),
    "numbers as text": (each("annotations", "bbox", lambda b: [*map(str, b)]), "'10.0' instead"),
    "huge numbers": (each("annotations", "bbox", lambda _: [0, 0, 10**400, 1]), "out of any range"),
    "corners": (each("annotations", "bbox", lambda _: [120, 50, 190, 90]), "not right and bottom"),
    "parts of the image": (
        each("annotations", "bbox", lambda _: [0.1, 0.2, 0.3, 0.4]), "not relative to the image",
    ),
    "a negative size": (each("annotations", "bbox", lambda _: [10, 20, -5, 5]), "negative size"),
    "no box": (each("annotations", "bbox", lambda _: None), "a bbox None"),
    "labels of other images": (
        each("images", "file_name", lambda name: f"x{name}z.png"), "to none of the images.*xa/1",
    ),
    "three numbers": (each("annotations", "bbox", lambda b: b[:3]), "3 numbers"),
    "a file name that is none": (each("images", "file_name", lambda _: 7), "instead of a name"),
    "classes nobody asked for": (each("categories", "name", lambda n: f"x{n}"), "never find"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_vanish_or_count_wrongly_is_an_error(tmp_path, kind):
    change, message = WRONG[kind]
    assert len(read(written(tmp_path, lambda _: None)).references) == 2
    with pytest.raises(InputError, match=message):
        read(written(tmp_path, change))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"images": [], "annotations": [], "categories": ' + "[" * 100_000,
        '{"images": ' + "9" * 100_000 + "}",
        '{"images": [NaN]}',
        '{"images": [], "annotations": {}, "categories": []}',
        "",
        "null",
        "[]",
        "\x00\x01",
    ],
)
def test_a_file_that_is_no_coco_json_is_one_sentence(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    for reader in (read, read_detections):
        with pytest.raises(InputError, match=r"x\.json"):
            reader(tmp_path / "x.json")


def test_a_file_that_is_not_there_is_called_that(tmp_path):
    with pytest.raises(InputError, match=r"^\S+gone\.json: cannot be read"):
        read(tmp_path / "gone.json")


def test_a_list_of_results_lacks_its_images(tmp_path):
    results = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
    (tmp_path / "x.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match="does not say which images"):
        read_detections(tmp_path / "x.json")


@pytest.mark.parametrize(
    "exported", ["images/3f2a91c0-{}.png", "train/{}_png.rf.8a7b6c5d4e3f.jpg", "3f2a91c0-{}.jpg"]
)
def test_names_that_labelling_programs_make_are_known(tmp_path, exported):
    """Label Studio and Roboflow, of images whose names are unique without their folders."""
    sizes = {"a/1.png": (100, 200), "b/2.png": (100, 200)}
    doc = document()
    for image, stem in zip(doc["images"], "12", strict=True):
        image["file_name"] = exported.format(stem)
    (tmp_path / "x.json").write_text(json.dumps(doc))
    found = read_labels(tmp_path / "x.json", sizes, NAMES, wanted=(0, 1, 2, 3), min_area_px=0)
    assert [list(one.class_id) for one in found.references] == [[0], [1]]


def test_boxes_that_are_there_twice_are_counted_and_said(tmp_path):
    twice = written(tmp_path, lambda d: d["annotations"].append(d["annotations"][0]))
    assert "twice, each counted as one to find: 1" in read(twice).notes[0]


def test_a_folder_of_other_files_says_what_it_has(tmp_path):
    for name in ("1.xml", "2.xml", "all.json"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"found 2 \.xml, 1 \.json.*name it instead"):
        read(tmp_path)


def at(*rows: tuple[int, float]) -> Detections:
    """Boxes of 10 px in a row: class and left edge of each."""
    return Detections(
        box_xyxy=np.array([[x, 0, x + 10, 10] for _, x in rows], np.float32),
        score=np.full(len(rows), 0.9, np.float32),
        class_id=np.array([c for c, _ in rows], np.int64),
    )


@pytest.mark.parametrize(
    ("labelled", "doubt"),
    [
        (at((0, 0), (1, 20)), ""),
        (at((0, 0), (2, 20)), ""),  # a mistake of either is no pattern
        (at((1, 0), (2, 20)), "another class.*person instead of car, 1 times.*right one for 0"),
        (at((0, 50), (1, 70)), "finds none of the 2 labelled boxes"),
        (at(), ""),
    ],
)
def test_labels_of_other_classes_or_images_are_doubted(labelled, doubt):
    """Category ids that are off by one, and labels of other images, read without an error."""
    references = references_from(labelled, confidence=0, min_area_px=0)
    found = at((0, 0), (1, 20))
    said = "".join(doubts_about_labels([references], [found], NAMES, confidence=0.5))
    assert re.search(doubt, said) if doubt else not said


TRUE_BOXES = np.array([[20, 10, 60, 50], [90, 30, 130, 90], [5, 55, 45, 95]], np.float32)
"""Of three persons in an image of 200x100 px."""


def mistaken(box: np.ndarray, meant: str) -> np.ndarray:
    """What a program stores that means something else by the four numbers of a box."""
    (x0, y0), (x1, y1) = box[:, :2].T, box[:, 2:].T
    width, height, x, y = x1 - x0, y1 - y0, (x0 + x1) / 2, (y0 + y1) / 2
    return np.stack(
        {
            "left, top, right and bottom": (x0, y0, x1, y1),
            "left, top, width and height": (x0, y0, width, height),
            "centre, width and height": (x, y, width, height),
            "top, left, height and width": (y0, x0, height, width),
        }[meant],
        axis=1,
    )


@pytest.mark.parametrize(
    ("program", "meant"),
    [
        ("coco", "left, top, right and bottom"),
        ("coco", "centre, width and height"),
        ("coco", "top, left, height and width"),
        ("coco", ""),
        ("yolo", "left, top, right and bottom"),
        ("yolo", "left, top, width and height"),
        ("yolo", ""),
    ],
)
def test_numbers_of_a_box_that_mean_something_else_are_doubted(tmp_path, program, meant):
    """Read as they are, these boxes lie in the image, and the detector finds none of them."""
    of_format = {"coco": "left, top, width and height", "yolo": "centre, width and height"}
    numbers = mistaken(TRUE_BOXES, meant or of_format[program]).astype(float)
    sizes = {"a/1.png": (200, 400)}  # so that no mistake reaches out
    if program == "coco":
        path = tmp_path / "x.json"
        doc = document()
        doc["images"] = [{"id": 1, "file_name": "a/1.png", "width": 400, "height": 200}]
        category = next(c["id"] for c in doc["categories"] if c["name"] == "person")
        doc["annotations"] = [
            {"id": i, "image_id": 1, "category_id": category, "iscrowd": 0, "bbox": list(box)}
            for i, box in enumerate(numbers)
        ]
        path.write_text(json.dumps(doc))
    else:
        path = tmp_path / "labels"
        path.mkdir()
        lines = (f"0 {' '.join(map(str, box))}" for box in numbers / [400, 200, 400, 200])
        (path / "1.txt").write_text("\n".join(lines))
        (path / "classes.txt").write_text("\n".join(NAMES))
    references = read_labels(path, sizes, NAMES, wanted=(0,), min_area_px=0).references
    found = Detections(
        box_xyxy=TRUE_BOXES, score=np.full(3, 0.9, np.float32), class_id=np.zeros(3, np.int64)
    )
    said = "".join(doubts_about_labels(references, [found], NAMES, confidence=0.5))
    doubt = f"3 of 3 labelled boxes on the sharp images where their four numbers are {meant}"
    assert doubt in said if meant else not said


@pytest.mark.parametrize("key", ["annotations", "category_id", "bbox"])
def test_a_key_that_is_given_twice_is_refused(tmp_path, key):
    path = tmp_path / "x.json"
    text = json.dumps(document())
    path.write_text(text.replace(f'"{key}":', f'"{key}": [], "{key}":', 1))
    with pytest.raises(InputError, match=rf"x\.json: one object has '{key}' 2 times"):
        read(path)


def test_classes_that_count_from_one_are_said(tmp_path):
    (tmp_path / "1.txt").write_text("2 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("person\ncar\n")
    sizes = {"a/1.png": (100, 200)}
    with pytest.raises(InputError, match="Classes count from 0"):
        read_labels(tmp_path, sizes, NAMES, wanted=(0, 1), min_area_px=0)


def test_bytes_pipes_and_broken_links_are_no_labels(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link.json").symlink_to("gone.json")
    for name in ("bytes", "pipe", "link"):
        with pytest.raises(InputError, match=rf"{name}\.json"):
            read(tmp_path / f"{name}.json")


def test_a_byte_order_mark_changes_nothing(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document()), encoding="utf-8-sig")
    assert len(read(path).references[0].class_id) == 1
    (tmp_path / "names.txt").write_text("person\ncar\n", encoding="utf-8-sig")
    assert read_class_names(tmp_path / "names.txt") == ("person", "car")


def test_class_names_match_whatever_their_case(tmp_path):
    path = written(tmp_path, lambda d: d["categories"][0].update(name="Traffic_Light"))
    labels = read(path)
    assert labels.references[0].class_id.tolist() == [3]
    assert labels.judged == {1, 3}


def test_what_one_side_does_not_have_is_said_and_does_not_count(tmp_path):
    labels = read(written(tmp_path, lambda _: None))
    assert labels.judged == {0, 1}
    assert "dog, traffic light" in labels.notes[0]
    path = written(tmp_path, lambda d: d["categories"][0].update(name="van"))
    labels = read(path, wanted=(1,))
    assert "van" in labels.notes[0]
    with pytest.raises(InputError, match="none of those"):
        read(path, wanted=(0,))


# --- YOLO text -----------------------------------------------------------------------------------


def yolo(folder: Path, *lines: str) -> Path:
    """A line in the file of each image; the last for all that are left."""
    for i, key in enumerate(SIZES):
        path = folder / Path(key).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines[min(i, len(lines) - 1)])
    return folder


BOX = "0 0.5 0.5 0.5 0.5\n"
LISTS = {
    "classes.txt": "car\n",
    "obj.names": "car\n",
    "data.yaml": "train: images\nnc: 1\nnames:\n  0: car\n",
    "dataset.yml": "names: [car]\n",
    "x.yaml": "names:\n- car\nother: {a: [1, 2]}\n",
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("where", [".", "..", "../.."])
def test_class_names_are_found_beside_and_above_the_labels(tmp_path, name, where):
    labels = yolo(tmp_path / "root" / "train" / "labels", BOX)
    (labels / where / name).resolve().write_text(LISTS[name])
    assert [r.class_id.tolist() for r in read(labels).references] == [[1], [1]]


def test_class_names_inside_the_folder_of_labels_count_too(tmp_path):
    labels = yolo(tmp_path / "ds" / "labels", BOX)
    (labels / "classes.txt").write_text("car\n")
    assert read(tmp_path / "ds").references[0].class_id.tolist() == [1]


def test_without_names_the_numbers_are_the_detectors(tmp_path):
    labels = read(yolo(tmp_path, BOX))
    assert labels.references[0].class_id.tolist() == [0]
    assert "taken as the detector's" in labels.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("data.yaml", "names: {0: person, 2: car}", "names"),
        ("data.yaml", "names: 7", "names"),
        ("data.yaml", "nc: 3\nnames: [person, car]", "nc"),
        ("data.yaml", "names: [a, a]", "names"),
        ("data.yaml", "names: [a", "not YAML"),
        ("data.yaml", "names: {0: person, 0: car}", "0 occurs twice"),
        ("data.yaml", "names: " + "[" * 50_000, "not YAML"),
        ("data.yaml", "names:\n " + "- " * 50_000, "not YAML"),
        ("classes.txt", "person\n\ncar\n", "line 2"),
        ("classes.txt", "car\ncar\n", "twice"),
        ("classes.txt", "\n\n", "no class names"),
    ],
)
def test_a_damaged_list_of_names_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read(yolo(tmp_path, BOX))


def test_lists_that_disagree_are_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("car\n")
    (tmp_path / "data.yaml").write_text("names: [person]\n")
    with pytest.raises(InputError, match="other classes"):
        read(yolo(tmp_path, BOX))


def test_a_class_called_no_is_no_truth_value(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [no, yes, 1]\n")
    assert find_classes(tmp_path).names == ("no", "yes", "1")


def box_of(labels: Labels, image: int = 0) -> list[float]:
    return [round(float(x), 2) for x in labels.references[image].box_xyxy[0]]


def test_key_points_are_no_outline(tmp_path):
    points = " ".join(f"{0.45 + 0.005 * i:.3f} {0.42 + 0.01 * i:.3f}" for i in range(17))
    visible = " ".join(f"{0.45 + 0.005 * i:.3f} {0.42 + 0.01 * i:.3f} {i % 3}" for i in range(17))
    expected = [80.0, 30.0, 120.0, 70.0]
    assert box_of(read(yolo(tmp_path / "a", f"0 0.5 0.5 0.2 0.4 {visible}\n"))) == expected
    pose = yolo(tmp_path / "b", f"0 0.5 0.5 0.2 0.4 {points}\n")
    with pytest.raises(InputError, match="key points or outlines"):
        read(pose)
    (pose / "data.yaml").write_text("names: [person]\nkpt_shape: [17, 2]\n")
    assert box_of(read(pose)) == expected


def test_a_box_before_the_outline_that_it_is_around_is_the_box(tmp_path):
    line = "0 0.5 0.5 0.2 0.4 0.4 0.3 0.6 0.3 0.6 0.7 0.4 0.7\n"
    other = "0 0.5 0.5 0.2 0.4 0.4 0.3 0.6 0.5 0.5 0.7\n"
    labels = read(yolo(tmp_path, line, other))
    assert box_of(labels, 0) == box_of(labels, 1) == [80.0, 30.0, 120.0, 70.0]


def test_outlines_stay_outlines(tmp_path):
    rng = np.random.default_rng(0)
    for case in range(50):
        lines = []
        for _ in SIZES:
            angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 30)))
            centre, radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.02, 0.25)
            outline = centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            lines.append("0 " + " ".join(f"{v:.6f}" for v in outline.ravel()) + "\n")
        if len(lines[0].split()) == len(lines[1].split()):
            continue
        labels = read(yolo(tmp_path / str(case), *lines))
        for line, references in zip(lines, labels.references, strict=True):
            numbers = np.array(line.split()[1:], float).reshape(-1, 2)
            around = np.concatenate([numbers.min(axis=0), numbers.max(axis=0)])
            np.testing.assert_allclose(
                references.box_xyxy[0], around * [200, 100, 200, 100], atol=0.01
            )


def test_linked_label_folders_are_followed(tmp_path):
    labels = yolo(tmp_path / "disk", BOX)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(labels / "a")
    assert len(read(tmp_path / "linked").references) == 2


# --- stored boxes --------------------------------------------------------------------------------


def stored(folder: Path, name: str, images: dict[str, Rgb], **box: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, image in images.items():
        (folder / file_name).write_bytes(encode_png(image))
    path = folder / name
    path.write_text(
        json.dumps(
            {
                "images": [{"id": i, "file_name": n} for i, n in enumerate(images)],
                "annotations": [
                    {"image_id": i, "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5} | box
                    for i in range(len(images))
                ],
                "categories": [{"id": 0, "name": "car"}],
            }
        )
    )
    return path


def test_a_file_per_method_is_one_detector(tmp_path):
    flat = {f"{i}.png": np.full((8, 8, 3), i, np.uint8) for i in range(4)}
    for part, names in (("sharp", "01"), ("blurred", "23")):
        stored(tmp_path, f"{part}.json", {f"{n}.png": flat[f"{n}.png"] for n in names})
    detector = StoredBoxes(tmp_path)
    assert len(detector.detect(list(flat.values()))) == 4
    before = detector.identity
    stored(tmp_path, "blurred.json", {"2.png": flat["2.png"], "3.png": flat["3.png"]}, score=0.7)
    assert StoredBoxes(tmp_path).identity != before


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ({"score": "0.5"}, "instead of a number"),
        ({"score": 1.5}, "scores must be"),
        ({"score": float("nan")}, "NaN"),
        ({"image_id": "0"}, "text"),
        ({"category_id": 1}, "category_id"),
        ({"bbox": [0, 0, -1, 1]}, "negative size"),
        ({"bbox": None}, "detections need"),
    ],
)
def test_stored_boxes_that_cannot_be_are_refused(tmp_path, box, message):
    path = stored(tmp_path, "x.json", {"a.png": np.zeros((8, 8, 3), np.uint8)}, **box)
    with pytest.raises(InputError, match=message):
        read_detections(path)


def test_an_image_that_is_a_pipe_does_not_hang(tmp_path):
    path = stored(tmp_path, "x.json", {"a.png": np.zeros((8, 8, 3), np.uint8)})
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png"):
        read_detections(path)


def test_info_of_wrong_types_is_another_programs(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    path = stored(tmp_path, "x.json", {"a.png": image})
    content = json.loads(path.read_text())
    own = {
        "weights_sha256": "a",
        "input_size_px": 1,
        "runtime": "r",
        "nms_iou": 0.5,
        "detector": "d",
    }
    content["info"] = own | {"min_score": "0.001"}
    path.write_text(json.dumps(content))
    assert read_detections(path).identity.runtime == "stored boxes"
    assert pixel_hash(image) in {one.pixels for one in read_detections(path).images.values()}
