"""The command: folders in, tables and pictures out, on rendered scenes with known objects."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks.detection import BlurConfig
from benchmarks.studies.detection import half_exposure_s, measure
from gopro_tools.console import EXIT_USAGE, run_command
from gopro_tools.detect import DetectConfig, detect
from gopro_tools.detect.command import command
from gopro_tools.detection import Detections, Detector, DetectorIdentity, load_detector
from gopro_tools.detection import stored as stored_module
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.report.boxes import read_boxes
from gopro_tools.scenes import Scene, SceneConfig
from gopro_tools.sources import Sources

RED, GREEN, GREY = (220, 30, 30), (30, 200, 30), (110, 110, 110)
KEYS = [f"s{i // 3}/{i:06d}.png" for i in range(6)]


class ByColour:
    """Finds red cars and green persons; the purer the colour, the surer."""

    name = "by-colour"
    identity = DetectorIdentity(weights_sha256="c" * 64, input_size_px=0, runtime="numpy")
    class_names = ("person", "car")

    def __init__(self) -> None:
        self.n_seen = 0

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        self.n_seen += len(images)
        return [self._in_one(image) for image in images]

    def _in_one(self, image: Rgb) -> Detections:
        red, green, blue = (image[..., i].astype(int) for i in range(3))
        boxes, scores, classes = [], [], []
        for class_id, excess in ((0, green - red), (1, red - green)):
            mask = ((excess > 40) & (np.abs(blue - np.minimum(red, green)) < 60)).astype(np.uint8)
            n, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
            for i in range(1, n):
                x, y, width, height = stats[i, :4]
                boxes.append([x, y, x + width, y + height])
                scores.append(min(1.0, excess[labels == i].mean() / 190))
                classes.append(class_id)
        return Detections(
            box_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            score=np.array(scores, np.float32),
            class_id=np.array(classes, np.int64),
        )


def scene(seed: int) -> Rgb:
    """Grey noise with cars of 40 px and, but for every third image, persons of 18 px width."""
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(0, 4, (120, 200, 3)) + GREY, 0, 255).astype(np.uint8)
    x = 10 + 5 * (seed % 4)
    image[20:50, x : x + 40] = RED
    if seed % 3:
        image[70:110, x + 60 : x + 78] = GREEN
        image[70:110, x + 100 : x + 118] = GREEN
    return image


def blurred(image: Rgb, length_px: int) -> Rgb:
    return cv2.blur(image, (length_px, 1)).astype(np.uint8)


def write(folder: Path, key: str, image: Rgb) -> None:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Folders sharp, blurred, worse (blurred more), perfect (the sharp images)."""
    for i, key in enumerate(KEYS):
        sharp = scene(i)
        write(tmp_path / "sharp", key, sharp)
        write(tmp_path / "perfect", key, sharp)
        write(tmp_path / "blurred", key, blurred(sharp, 31))
        write(tmp_path / "worse", key, blurred(sharp, 91))
    return tmp_path


class Asked(NamedTuple):
    sources: Sources
    config: DetectConfig
    out: Path


def asked(folders: Path, *restored: str, **options: Any) -> Asked:
    sources: dict[str, Any] = {
        "sharp": folders / "sharp",
        "blurred": folders / "blurred",
        "restored": tuple(f"{name}={folders / name}" for name in restored),
    }
    sources |= {
        name: options.pop(name) for name in list(options) if name in Sources.__annotations__
    }
    out = options.pop("out", folders / "out")
    defaults = {"detector": "unused", "n_resamples": 50, "overlays": 2}
    return Asked(Sources(**sources), DetectConfig(**{**defaults, **options}), out)


def summary_of(wish: Asked, detector: Detector | None = None) -> pd.DataFrame:
    return detect(wish.sources, wish.config, out=wish.out, detector=detector).summary


@pytest.mark.parametrize(
    ("detect_all", "said"),
    [
        (
            lambda images: 1 / 0,
            r"by-colour: detect\(\) failed: ZeroDivisionError: division by zero",
        ),
        (lambda images: None, r"detect\(\) returned a NoneType; a list with Detections"),
        (lambda images: (Detections.none() for _ in images), "returned a generator"),
        (lambda images: [np.zeros((1, 6)) for _ in images], "returned a list; a list with"),
        (lambda images: [Detections.none()] * (len(images) + 1), "one per image; it gave"),
    ],
)
def test_a_detector_of_the_user_that_fails_is_a_sentence(
    folders: Path, detect_all: Callable[[Any], Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish, detector = asked(folders, "worse"), ByColour()
    monkeypatch.setattr(detector, "detect", detect_all)
    with pytest.raises(InputError, match=said):
        detect(wish.sources, wish.config, out=wish.out, detector=detector)


def test_results_saved_wrongly_are_doubted(folders: Path) -> None:
    """With red and blue swapped nothing is found, as after a bad restoration."""
    for key in KEYS:
        write(folders / "swapped", key, blurred(read_rgb(folders / "sharp" / key), 3)[..., ::-1])
    wish = asked(folders, "swapped", "perfect")
    result = detect(wish.sources, wish.config, out=wish.out, detector=ByColour())
    copied, swapped = result.record.results["doubts"]
    assert copied == "perfect: 6 of 6 images are the sharp ones themselves."
    assert swapped.startswith("swapped: more like the sharp images with red and blue swapped")


def test_everything_is_written_and_says_what_it_should(folders: Path) -> None:
    summary = summary_of(asked(folders, "worse", "perfect"), detector=ByColour())
    out = folders / "out"
    assert {path.name for path in out.iterdir()} == {
        "images.json",
        "detection.csv",
        "detection_per_class.csv",
        "detection_per_image.csv",
        "detection_sweep.csv",
        "detection.md",
        "recall_over_confidence.png",
        "overlays",
        "detections",
        "run.json",
    }
    written = pd.read_csv(out / "detection.csv")
    assert list(written["method"]) == ["sharp", "blurred", "worse", "perfect"]
    assert list(written.columns) == list(summary.columns)
    by_method = written.set_index("method")
    # 6 cars and 8 persons; blur of 31 px hides the persons of 18 px, 91 px the cars too.
    assert by_method["n_references"].unique().tolist() == [14]
    assert by_method["n_images"].unique().tolist() == [6]
    for method in ("sharp", "perfect"):
        row = by_method.loc[method]
        for name in ("precision", "recall", "f1", "ap50", "ap75", "map50_95"):
            assert row[name] == row[f"{name}_low"] == row[f"{name}_high"] == 1.0
        assert (row["tp"], row["fp"], row["fn"]) == (14, 0, 0)
    assert by_method.loc["worse", "recall"] < by_method.loc["blurred", "recall"] < 1
    assert by_method.loc["perfect", "recall_minus_blurred_low"] > 0
    assert by_method.loc["blurred", "f1_minus_blurred"] == 0
    settings = by_method.loc["worse"]
    assert settings["protocol"] == "yolo-consistency-v1"
    assert settings["weights_sha256"] == "c" * 64
    assert settings["detector"] == "by-colour"
    assert settings["blur_kind"] == "unstated"
    assert settings["resolution"] == "200x120"
    assert settings["reference"] == "detector"
    assert (settings["confidence"], settings["iou"], settings["min_area_px"]) == (0.25, 0.5, 256)
    assert "recall over images with a reference" in settings["per_image_rules"]

    classes = pd.read_csv(out / "detection_per_class.csv").set_index(["method", "class"])
    assert classes.loc[("sharp", "car"), "n_references"] == 6
    assert classes.loc[("blurred", "person"), "recall"] == 0
    images = pd.read_csv(out / "detection_per_image.csv")
    assert len(images) == 4 * 6
    for name in ("tp", "fp", "fn"):
        totals = images.groupby("method")[name].sum()
        assert totals.to_dict() == by_method[name].to_dict()
        totals = classes.groupby("method")[name].sum()
        assert totals.to_dict() == by_method[name].to_dict()
    assert set(zip(images["sequence"] + "/" + images["name"], strict=True)) == {(k,) for k in KEYS}

    sweep = pd.read_csv(out / "detection_sweep.csv")
    assert sorted(sweep["reference_confidence"].unique()) == [0.25, 0.5]
    at = sweep[(sweep["confidence"] == 0.25) & (sweep["reference_confidence"] == 0.25)]
    assert at.set_index("method")["recall"].to_dict() == by_method["recall"].to_dict()
    for _, curve in sweep.groupby(["method", "reference_confidence"]):
        assert (curve.sort_values("confidence")["recall"].diff().dropna() <= 0).all()

    report = (out / "detection.md").read_text()
    assert "| sharp | 1.000 [1.000, 1.000] |" in report
    assert "![Recall and precision over confidence](recall_over_confidence.png)" in report
    overlays = sorted((out / "overlays").iterdir())
    assert len(overlays) == 2
    assert all(f"overlays/{path.name}" in report for path in overlays)


def test_overlays_tell_the_kinds_apart(folders: Path) -> None:
    summary_of(asked(folders, "worse"), detector=ByColour())
    picture = read_rgb(min((folders / "out" / "overlays").iterdir()))
    legend, panels = picture[:36], picture[36:]
    width = panels.shape[1] // 3
    colours = {"matched": (0, 158, 115), "missed": (230, 159, 0), "false": (204, 121, 167)}

    def share(part: Rgb, kind: str) -> float:
        return float((part == colours[kind]).all(axis=2).mean())

    assert all(share(legend, kind) > 0 for kind in colours)
    sharp, blurry = panels[:, :width], panels[:, width : 2 * width]
    assert share(sharp, "matched") > 0
    assert share(sharp, "missed") == share(sharp, "false") == 0
    assert share(blurry, "missed") > 0


def test_scoring_again_needs_no_detector(folders: Path) -> None:
    detector = ByColour()
    first = summary_of(asked(folders, "worse"), detector=detector)
    assert detector.n_seen == 18
    again = summary_of(asked(folders, "worse", "perfect"), detector=detector)
    assert detector.n_seen == 18  # the images of `perfect` are those of `sharp`
    pd.testing.assert_frame_equal(again.iloc[:3], first)

    (stored,) = (folders / "out" / "detections").iterdir()
    boxes = load_detector(str(stored))
    from_boxes = summary_of(asked(folders, "worse", out=folders / "out2"), detector=boxes)
    pd.testing.assert_frame_equal(from_boxes, first)

    # An image that changed is detected again, alone.
    write(folders / "worse", KEYS[0], scene(17))
    summary_of(asked(folders, "worse"), detector=detector)
    assert detector.n_seen == 19
    document = json.loads((stored / "worse.json").read_text())
    assert [image["file_name"] for image in document["images"]] == KEYS


@pytest.mark.parametrize(
    ("damage", "n_lost"),
    [
        (lambda lines: [], 18),
        (lambda lines: [b"{\n"], 18),
        (lambda lines: [b'{"code": 7}\n', *lines[1:]], 18),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 1),
        (lambda lines: [*lines[:-1], lines[-1][:40]], 1),
        (lambda lines: [*lines[:5], b"\0" * 50, *lines[5:]], 14),
        (lambda lines: [*lines[:-1], b'{"image": "a", "pixel_hash": "b", "boxes": [[1]]}\n'], 1),
    ],
)
def test_stored_boxes_that_a_crash_damaged_are_found_again(
    folders: Path, damage: Callable[[list[bytes]], list[bytes]], n_lost: int
) -> None:
    detector = ByColour()
    first = summary_of(asked(folders, "worse"), detector=detector)
    (stored,) = (folders / "out" / "detections").iterdir()
    file = stored / "found.jsonl"
    whole = {path.name: path.read_bytes() for path in stored.iterdir()}
    file.write_bytes(b"".join(damage(file.read_bytes().splitlines(keepends=True))))
    again = summary_of(asked(folders, "worse"), detector=detector)
    assert detector.n_seen == 18 + n_lost
    pd.testing.assert_frame_equal(again, first)
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == whole


def test_boxes_do_not_outlive_the_code_that_found_them(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ByColour()
    summary_of(asked(folders, "worse"), detector=detector)
    monkeypatch.setattr(stored_module, "detecting_code", lambda: "another")
    summary_of(asked(folders, "worse"), detector=detector)
    assert detector.n_seen == 2 * 18
    summary_of(asked(folders, "worse"), detector=detector)
    assert detector.n_seen == 2 * 18


def test_a_second_run_on_one_folder_is_refused(folders: Path) -> None:
    class Meddling(ByColour):
        def detect(self, images: Sequence[Rgb]) -> list[Detections]:
            with pytest.raises(InputError, match="another run is at work there"):
                summary_of(asked(folders, "worse"), detector=ByColour())
            return super().detect(images)

    summary_of(asked(folders, "worse"), detector=Meddling())


def test_an_interrupted_run_goes_on(folders: Path) -> None:
    class Interrupted(ByColour):
        def detect(self, images: Sequence[Rgb]) -> list[Detections]:
            if self.n_seen >= 8:
                raise KeyboardInterrupt
            return super().detect(images)

    with pytest.raises(KeyboardInterrupt):
        summary_of(asked(folders, "worse", batch=4), detector=Interrupted())
    detector = ByColour()
    summary = summary_of(asked(folders, "worse", batch=4), detector=detector)
    assert detector.n_seen == 18 - 8
    fresh = summary_of(asked(folders, "worse", out=folders / "fresh"), detector=ByColour())
    pd.testing.assert_frame_equal(summary, fresh)


def test_classes_and_area(folders: Path) -> None:
    cars = summary_of(asked(folders, classes=("car",)), detector=ByColour()).set_index("method")
    assert cars.loc["sharp", "tp"] == 6
    assert cars.loc["sharp", "classes"] == "car"
    same = summary_of(asked(folders, classes=("1",)), detector=ByColour()).set_index("method")
    assert same.loc["blurred", "recall"] == cars.loc["blurred", "recall"]
    big = summary_of(asked(folders, min_area_px=1000.0), detector=ByColour()).set_index("method")
    assert big.loc["sharp", "n_references"] == 6
    assert big.loc["sharp", "precision"] == 1.0
    with pytest.raises(InputError, match=r"--classes bus: by-colour has no such .*person, car"):
        summary_of(asked(folders, classes=("bus",)), detector=ByColour())
    with pytest.raises(InputError, match="no reference box on any of 6 sharp images"):
        summary_of(asked(folders, min_area_px=1e6), detector=ByColour())


@pytest.mark.parametrize("inside", ["sharp", "blurred/found", "worse/a/b"])
def test_results_in_a_compared_folder_are_refused(folders: Path, inside: str) -> None:
    """The overlays would be images of that folder on the next run."""
    with pytest.raises(InputError, match="lies in the input"):
        summary_of(asked(folders, "worse", out=folders / inside), detector=ByColour())


def test_the_page_draws_the_boxes_that_labels_judge(folders: Path) -> None:
    """Nobody looked for cars: what the detector finds of them is neither right nor wrong."""
    for key in KEYS:
        path = (folders / "labels" / key).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 0.8 0.8 0.4 0.4")
    (folders / "labels" / "classes.txt").write_text("person")
    summary_of(asked(folders, labels=folders / "labels"), detector=ByColour())
    drawn = read_boxes(folders / "out", KEYS, folders / "labels")
    person = drawn.class_names.index("person")
    boxes = [box for images in drawn.by_method.values() for image in images for box in image]
    assert {box.class_id for box in boxes} == {person}


def test_human_labels(folders: Path) -> None:
    """Labels that add a person whom the detector cannot see: sharp is no longer perfect."""
    for i, key in enumerate(KEYS):
        path = (folders / "labels" / key).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        x = 10 + 5 * (i % 4)
        lines = [f"1 {(x + 20) / 200} {35 / 120} {40 / 200} {30 / 120}"]
        if i % 3:
            lines += [
                f"0 {(x + left + 9) / 200} {90 / 120} {18 / 200} {40 / 120}" for left in (60, 100)
            ]
        lines.append("0 0.95 0.1 0.1 0.2")
        path.write_text("\n".join(lines))
    summary = summary_of(asked(folders, labels=folders / "labels"), detector=ByColour())
    rows = summary.set_index("method")
    assert rows.loc["sharp", "precision"] == 1.0
    assert rows.loc["sharp", "recall"] == pytest.approx(14 / 20)
    assert re.fullmatch("labels labels [0-9a-f]{12}", rows.loc["sharp", "reference"])
    assert pd.isna(rows.loc["sharp", "reference_confidence"])
    assert "human labels" in (folders / "out" / "detection.md").read_text()
    (folders / "labels" / KEYS[2]).with_suffix(".txt").unlink()
    with pytest.raises(InputError, match=rf"1 of 6 images have no labels: {KEYS[2]}"):
        summary_of(asked(folders, labels=folders / "labels"), detector=ByColour())


def test_a_dataset_in_gopro_layout(folders: Path) -> None:
    root = folders / "Streets"
    for i, key in enumerate(KEYS[:2]):
        name = key.partition("/")[2]
        write(root / "test" / "clip_11_00", f"sharp/{name}", scene(i))
        write(root / "test" / "clip_11_00", f"blur/{name}", blurred(scene(i), 31))
        write(root / "test" / "clip_11_00", f"blur_gamma/{name}", blurred(scene(i), 91))
        write(folders / "mine" / "clip_11_00", name, scene(i))
    recall = {}
    for kind in ("gamma", "linear_crf"):
        own = {"sharp": None, "blurred": None, "dataset": root, "blur_kind": kind}
        rows = summary_of(asked(folders, "mine", **own), detector=ByColour()).set_index("method")
        row = rows.loc["blurred"]
        assert (row["dataset"], row["split"], row["blur_kind"]) == ("Streets", "test", kind)
        assert rows.loc["mine", "recall"] == 1
        recall[kind] = row["recall"]
    assert recall["gamma"] < recall["linear_crf"]


class TestBadInput:
    def test_missing_and_extra_images_are_listed(self, folders: Path) -> None:
        (folders / "worse" / KEYS[1]).unlink()
        write(folders / "worse", "s9/000099.png", scene(0))
        with pytest.raises(InputError) as raised:
            summary_of(asked(folders, "worse"), detector=ByColour())
        assert f"worse: 1 missing ({KEYS[1]}), 1 extra (s9/000099.png)" in str(raised.value)
        summary = summary_of(asked(folders, "worse", allow_missing=True), detector=ByColour())
        assert set(summary["n_images"]) == {5}
        assert set(summary["left_out"]) == {
            f"worse: 1 missing ({KEYS[1]}), 1 extra (s9/000099.png)"
        }
        assert "Only the images that all have" in (folders / "out" / "detection.md").read_text()

    def test_every_unusable_image_is_listed_and_the_rest_is_kept(self, folders: Path) -> None:
        worse = folders / "worse"
        (worse / KEYS[0]).write_bytes((worse / KEYS[0]).read_bytes()[:100])
        (worse / KEYS[1]).write_bytes(b"")
        write(worse, KEYS[2], scene(2)[:60])
        grey = cv2.imencode(".png", scene(3)[..., 0])[1].tobytes()
        (worse / KEYS[3]).write_bytes(grey)
        detector = ByColour()
        with pytest.raises(InputError) as raised:
            summary_of(asked(folders, "worse"), detector=detector)
        message = str(raised.value)
        assert "4 image(s) cannot be compared, so nothing is averaged" in message
        for key, problem in zip(
            KEYS,
            ("not a readable image", "is empty", "200x60 was found", "1 channel"),
            strict=False,
        ):
            assert any(
                str(worse / key) in line and problem in line for line in message.splitlines()
            )
        assert not (folders / "out" / "detection.csv").exists()
        assert detector.n_seen == 6  # the two good images, of three methods
        for i in range(4):
            write(worse, KEYS[i], scene(i))
        summary_of(asked(folders, "worse"), detector=detector)
        assert detector.n_seen == 6 + 4 * 2  # `worse` is now `sharp`

    def test_a_detector_that_breaks_its_promise(self, folders: Path) -> None:
        class TooFew(ByColour):
            def detect(self, images: Sequence[Rgb]) -> list[Detections]:
                return super().detect(images)[1:]

        class Unnamed(ByColour):
            class_names = ("person",)  # type: ignore[assignment]

        for broken in (TooFew(), Unnamed()):
            with pytest.raises(InputError, match=r"by-colour: 8 results .*000000\.png"):
                summary_of(asked(folders, "worse"), detector=broken)

    def test_confidence_below_what_the_detector_gives(self, folders: Path) -> None:
        with pytest.raises(InputError, match=r"gives boxes at or above confidence 0\.001"):
            summary_of(asked(folders, confidence=0.0001), detector=ByColour())

    def test_no_matplotlib_is_said_in_the_report(
        self, folders: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import sys

        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        summary_of(asked(folders), detector=ByColour())
        assert not (folders / "out" / "recall_over_confidence.png").exists()
        report = (folders / "out" / "detection.md").read_text()
        assert "No plot was made: matplotlib is not installed" in report

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("--sharp S --detector net.pt -o O", "--blurred DIR is missing"),
            ("--sharp S --blurred B --dataset D --detector net.pt -o O", "or --dataset DIR"),
            ("--dataset D --detector net.pt -o O", "no dataset of a known layout"),
            ("--sharp missing --blurred B --detector net.pt -o O", "there is none"),
            ("--sharp S --blurred E --detector net.pt -o O", "no images there"),
            ("--sharp S --blurred B --detector net.pt -o O", "no such file"),
            ("--sharp S --blurred B --restored x --detector n -o O", "expected NAME=DIR"),
            (
                "--sharp S --blurred B --restored sharp=B --detector n -o O",
                "'sharp' names another row",
            ),
            ("--sharp S --blurred B --restored a/b=B --detector n -o O", "names files too"),
            (
                "--sharp S --blurred B --restored a=B --restored a=B --detector n -o O",
                "is given twice",
            ),
            ("--sharp S --blurred B --detector n -o O --iou 1.5", "at most 1, not 1.5"),
            ("--sharp S --blurred B --detector n -o O --batch 0", "at least 1, not 0"),
            ("--sharp S --blurred B --detector n -o O --input-size 8", "at least 32 px"),
            ("--sharp S --blurred B -o O", "detector"),
        ],
    )
    def test_the_command_says_what_is_wrong(
        self,
        folders: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: str,
        message: str,
    ) -> None:
        monkeypatch.chdir(folders)
        (folders / "empty").mkdir()
        names = {"S": "sharp", "B": "blurred", "E": "empty", "O": "out", "D": "sharp"}
        given = [names.get(word, word) for word in arguments.split()]
        with pytest.raises(SystemExit) as stopped:
            run_command(command, given)
        assert stopped.value.code == EXIT_USAGE
        # Boxes drawn around usage errors wrap lines.
        said = " ".join(capsys.readouterr().err.replace("│", " ").replace("|", " ").split())
        assert message in said


def test_the_command(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.chdir(folders)
    arguments = (
        "--sharp sharp --blurred blurred --restored worse=worse --restored perfect=perfect "
        "--detector test_detect:ByColour -o out --classes car person --n-resamples 20 --overlays 0"
    )
    with pytest.raises(SystemExit) as stopped:
        run_command(command, arguments.split())
    assert stopped.value.code == 0
    output = capsys.readouterr()
    assert output.out == f"{Path('out') / 'detection.csv'}\n"
    assert "worse" in output.err
    assert list(pd.read_csv("out/detection.csv")["method"]) == [
        "sharp", "blurred", "worse", "perfect",
    ]  # fmt: skip


class TestRecallOverBlur:
    """The benchmark that films photographs with blur of known length."""

    def test_recall_falls(self, tmp_path: Path) -> None:
        photograph = np.full((240, 320, 3), GREY, np.uint8)
        for x in range(30, 300, 60):
            photograph[40:80, x : x + 30] = RED
            photograph[140:200, x : x + 12] = GREEN
        (tmp_path / "street.png").write_bytes(encode_png(photograph))
        benchmark = BlurConfig(
            photographs=(tmp_path / "street.png",),
            detector="unused",
            out=tmp_path,
            blur_px=(0, 4, 60),
            shakes=2,
            resamples=20,
        )
        rows = measure(benchmark, ByColour())
        assert rows["blur_px"].tolist() == [0, 4, 60]
        assert rows["recall"][0] == rows["precision"][0] == 1
        assert rows["recall"].is_monotonic_decreasing
        assert rows["recall"][2] < 1

    def test_the_exposure_moves_the_image_as_far_as_asked(self) -> None:
        scene = Scene(
            SceneConfig(seed=3, photograph="coffee", size_hw=(96, 128), n_objects=0, shake_px_s=300)
        )
        half_s = half_exposure_s(scene, 12.0)
        times_s = 0.5 + np.linspace(-half_s, half_s, 200)
        y, x = (grid.ravel() for grid in np.mgrid[0:95:5j, 0:127:5j])
        on_plane = np.linalg.inv(scene.homographies(0.5)[0]) @ np.stack([x, y, np.ones_like(x)])
        seen = np.stack([scene.homographies(time_s)[0] @ on_plane for time_s in times_s])
        place = seen[:, :2] / seen[:, 2:]
        way_px = np.linalg.norm(np.diff(place, axis=0), axis=1).mean(axis=1).sum()
        assert way_px == pytest.approx(12, rel=0.02)
        with pytest.raises(InputError, match="longer than the shake"):
            half_exposure_s(scene, 1e5)


@pytest.mark.shared
def test_real_weights_on_real_pairs(tmp_path: Path, shared_data: Path) -> None:
    """YOLOX-Nano sees less in GOPRO's blurred images than in their sharp partners."""
    for name in ("Istanbul", "Flower"):
        for kind in ("sharp", "blurred"):
            image = read_rgb(shared_data / "pairs" / f"{name}_{kind}.png")
            write(tmp_path / kind, f"{name}.png", image)
    summary = summary_of(
        asked(
            tmp_path,
            detector=str(shared_data / "detectors" / "yolox_nano.onnx"),
            runtime="opencv",
            overlays=0,
        )
    ).set_index("method")
    assert summary.loc["sharp", ["precision", "recall", "map50_95"]].tolist() == [1, 1, 1]
    assert 0.1 < summary.loc["blurred", "recall"] < 0.9
