"""Detectors: one contract over every adapter, networks whose output is known, real weights."""

import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gopro_tools.detection import (
    COCO_CLASS_NAMES,
    Detections,
    Detector,
    DetectorIdentity,
    StoredDetections,
    StoredImage,
    box_iou,
    load_detector,
    write_detections,
)
from gopro_tools.detection.onnx_header import read_onnx_header
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, pixel_hash, read_rgb
from gopro_tools.options import DetectorRuntime

SHARED = Path(__file__).parents[2] / "shared" / "data"
YOLOX = SHARED / "detectors" / "yolox_nano.onnx"
YOLOV8 = SHARED / "detectors" / "yolov8n_int8.tflite"


def field(number: int, value: bytes | int | str) -> bytes:
    """One field of a protocol buffer message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def value_info(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = b"".join(field(1, field(1 if isinstance(n, int) else 2, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sizes)))


def tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dimensions = b"".join(field(1, n) for n in values.shape)
    return dimensions + field(2, 1) + field(9, values.astype("<f4").tobytes()) + field(8, name)


def onnx_model(
    output: NDArray[np.float32],
    *,
    input_shape: Sequence[int | str] = (1, 3, 64, 64),
    names: Sequence[str] | None = None,
) -> bytes:
    """An ONNX network that answers every image with `output` (plus nothing times its pixels)."""

    def node(kind: str, inputs: Sequence[str], result: str) -> bytes:
        return field(1, b"".join(field(1, i) for i in inputs) + field(2, result) + field(4, kind))

    graph = (
        node("GlobalAveragePool", ["images"], "mean")
        + node("Slice", ["mean", "starts", "ends", "axes"], "first")
        + node("Squeeze", ["first", "axes_squeezed"], "flat")
        + node("Mul", ["flat", "zero"], "nothing")
        + node("Add", ["head", "nothing"], "output")
        + field(2, "known answer")
        + field(5, tensor("head", output))
        + field(5, tensor("zero", np.zeros((1, 1, 1), np.float32)))
    )
    for name, values in {"starts": [0], "ends": [1], "axes": [1], "axes_squeezed": [3]}.items():
        data = struct.pack(f"<{len(values)}q", *values)
        graph += field(5, field(1, len(values)) + field(2, 7) + field(9, data) + field(8, name))
    graph += field(11, value_info("images", input_shape))
    graph += field(12, value_info("output", output.shape))
    metadata = ""
    if names is not None:
        metadata = repr(dict(enumerate(names)))
    return (
        field(1, 8)
        + field(7, graph)
        + field(8, field(2, 13))
        + (field(14, field(1, "names") + field(2, metadata)) if metadata else b"")
    )


def yolox_head(n_classes: int, size_px: int = 64) -> NDArray[np.float32]:
    """A YOLOX output that finds nothing."""
    n_cells = sum((size_px // stride) ** 2 for stride in (8, 16, 32))
    return np.zeros((1, n_cells, 5 + n_classes), np.float32)


@pytest.fixture(params=["onnxruntime", "opencv"])
def runtime(request: pytest.FixtureRequest) -> DetectorRuntime:
    if request.param == "onnxruntime":
        pytest.importorskip("onnxruntime")
    chosen: DetectorRuntime = request.param
    return chosen


class TestKnownHeads:
    def test_yolox_grid_and_stride(self, tmp_path: Path, runtime: DetectorRuntime) -> None:
        head = yolox_head(2)
        # Stride 8 has cells 0-63, stride 16 the next 16: column 1, row 2 of those is cell 64 + 9.
        cell = 64 + 2 * 4 + 1
        head[0, cell] = [0.5, 0.25, np.log(2), np.log(1), 0.8, 0.1, 0.5]
        # Suppressed by the first, of the same class; another class stays.
        head[0, cell + 1] = [-0.5, 0.25, np.log(2), np.log(1), 0.7, 0.1, 0.5]
        head[0, cell + 4] = [0.5, -0.75, np.log(2), np.log(1), 0.7, 0.5, 0.1]
        (tmp_path / "net.onnx").write_bytes(onnx_model(head, names=("cat", "dog")))
        detector = load_detector(str(tmp_path / "net.onnx"), runtime=runtime)
        assert detector.identity.input_size_px == 64
        # Centre (1.5, 2.25) and size (2, 1) cells of 16 px, in an image twice the input's size.
        (found,) = detector.detect([np.zeros((128, 96, 3), np.uint8)])
        np.testing.assert_allclose(found.box_xyxy, [[16, 56, 80, 88]] * 2, atol=1e-3)
        np.testing.assert_allclose(found.score, [0.4, 0.35], atol=1e-6)
        assert [detector.class_names[i] for i in found.class_id] == ["dog", "cat"]

    def test_yolov8_letterbox(self, tmp_path: Path, runtime: DetectorRuntime) -> None:
        head = np.zeros((1, 4 + 3, 84), np.float32)
        head[0, :, 5] = [32, 32, 20, 10, 0.1, 0.2, 0.9]
        head[0, :, 6] = [32, 50, 20, 10, 0.6, 0.2, 0.1]  # partly in the grey below the image
        (tmp_path / "net.onnx").write_bytes(onnx_model(head, names=("a", "b", "c")))
        detector = load_detector(str(tmp_path / "net.onnx"), runtime=runtime)
        # 128x64 px is fitted as 64x32, 16 px below the top.
        (found,) = detector.detect([np.zeros((64, 128, 3), np.uint8)])
        np.testing.assert_allclose(found.box_xyxy, [[44, 22, 84, 42], [44, 58, 84, 64]], atol=1e-3)
        np.testing.assert_allclose(found.score, [0.9, 0.6], atol=1e-6)
        assert found.class_id.tolist() == [2, 0]

    def test_open_batch_and_size(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        head = yolox_head(1, 96)
        head[0, 0] = [0.5, 0.5, 0, 0, 1, 1]
        model = onnx_model(head, input_shape=("batch", 3, "height", "width"), names=("x",))
        (tmp_path / "net.onnx").write_bytes(model)
        assert read_onnx_header(tmp_path / "net.onnx").input_shape == (None, 3, None, None)
        detector = load_detector(
            str(tmp_path / "net.onnx"), runtime="onnxruntime", input_size_px=96
        )
        found = detector.detect([np.zeros((96, 96, 3), np.uint8)] * 3)
        assert [image.box_xyxy.tolist() for image in found] == [[[0, 0, 8, 8]]] * 3

    def test_class_names(self, tmp_path: Path) -> None:
        path = tmp_path / "net.onnx"
        path.write_bytes(onnx_model(yolox_head(80)))
        assert load_detector(str(path), runtime="opencv").class_names == COCO_CLASS_NAMES
        path.write_bytes(onnx_model(yolox_head(2)))
        with pytest.raises(InputError, match=r"2 classes, and the file names none.*--class-names"):
            _ = load_detector(str(path), runtime="opencv").class_names
        (tmp_path / "names.txt").write_text("cat\ndog\n\n")
        named = load_detector(str(path), runtime="opencv", class_names=tmp_path / "names.txt")
        assert named.class_names == ("cat", "dog")
        (tmp_path / "names.txt").write_text("cat\n")
        named = load_detector(str(path), runtime="opencv", class_names=tmp_path / "names.txt")
        with pytest.raises(InputError, match="2 classes, and 1 names were given"):
            _ = named.class_names
        (tmp_path / "names.txt").write_text("")
        with pytest.raises(InputError, match="no class names there"):
            load_detector(str(path), runtime="opencv", class_names=tmp_path / "names.txt")

    def test_what_it_cannot_run(self, tmp_path: Path, runtime: DetectorRuntime) -> None:
        path = tmp_path / "net.onnx"
        image = [np.zeros((64, 64, 3), np.uint8)]

        def refused(data: bytes, message: str, input_size_px: int | None = None) -> None:
            path.write_bytes(data)
            with pytest.raises(InputError, match=message) as raised:
                load_detector(
                    str(path),
                    runtime=runtime,
                    input_size_px=input_size_px,
                ).detect(image)
            assert str(path) in str(raised.value)

        good = onnx_model(yolox_head(2), names=("a", "b"))
        refused(b"", "the file is empty")
        refused(good[: len(good) // 2], "not an ONNX file, or cut off")
        refused(b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file, or cut off")
        refused(onnx_model(np.zeros((1, 10, 7), np.float32)), "neither YOLOX's")
        refused(onnx_model(yolox_head(2), input_shape=(1, 1, 64, 64)), "an image input")
        refused(good, "its input is 64x64; leave --input-size out", 128)
        refused(
            onnx_model(yolox_head(2), input_shape=(1, 3, "h", "w")),
            "a multiple of 32 px, not 50",
            50,
        )


def photographs() -> list[Rgb]:
    assets = pytest.importorskip("skimage.data")
    pair = [read_rgb(SHARED / "pairs" / f"{name}_sharp.png") for name in ("Istanbul", "Flower")]
    return [*pair, np.ascontiguousarray(assets.astronaut())]


@pytest.fixture(scope="module")
def images() -> list[Rgb]:
    if not YOLOX.is_file():
        pytest.skip("no detector weights at ../shared/data")
    return photographs()


def empty_handed() -> object:
    """A factory that gives no detector."""
    return object()


class ByColour:
    """A detector of one's own: the box around whatever is pure red."""

    name = "red things"
    identity = DetectorIdentity(weights_sha256="red", input_size_px=0, runtime="numpy")
    class_names = ("red",)

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        results = []
        for image in images:
            rows, columns = np.nonzero((image == (255, 0, 0)).all(axis=2))
            box = (
                [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
                if len(rows)
                else []
            )
            results.append(
                Detections(
                    box_xyxy=np.array(box).reshape(-1, 4),
                    score=np.ones(len(box)),
                    class_id=np.zeros(len(box)),
                )
            )
        return results


def with_ultralytics(_: Path) -> Detector:
    pytest.importorskip("ultralytics")
    pytest.importorskip("ai_edge_litert")
    return load_detector(str(YOLOV8))


def with_onnxruntime(_: Path) -> Detector:
    pytest.importorskip("onnxruntime")
    return load_detector(str(YOLOX), runtime="onnxruntime")


def with_opencv(_: Path) -> Detector:
    return load_detector(str(YOLOX), runtime="opencv")


def with_stored_boxes(folder: Path) -> Detector:
    detector = with_opencv(folder)
    photos = photographs()
    images = {
        f"{i}.png": StoredImage(
            pixels=pixel_hash(photo), size_hw=(photo.shape[0], photo.shape[1]), found=found
        )
        for i, (photo, found) in enumerate(zip(photos, detector.detect(photos), strict=True))
    }
    write_detections(
        folder / "boxes.json",
        StoredDetections(
            name=detector.name,
            identity=detector.identity,
            class_names=detector.class_names,
            images=images,
        ),
    )
    return load_detector(str(folder / "boxes.json"))


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "make", [with_ultralytics, with_onnxruntime, with_opencv, with_stored_boxes]
)
def test_every_detector_keeps_its_promises(
    make: Callable[[Path], Detector], images: list[Rgb], tmp_path: Path
) -> None:
    detector = make(tmp_path)
    assert detector.identity.weights_sha256
    found = detector.detect(images)
    assert detector.class_names == COCO_CLASS_NAMES
    assert len(found) == len(images)
    assert detector.detect([]) == []
    for image, boxes in zip(images, found, strict=True):
        height, width = image.shape[:2]
        assert len(boxes) > 0
        assert (boxes.box_xyxy >= 0).all()
        assert (boxes.box_xyxy <= (width, height, width, height)).all()
        assert (boxes.score >= np.float32(detector.identity.min_score)).all()
        assert (boxes.class_id < len(detector.class_names)).all()
        # The same alone as in a batch of other sizes.
        (alone,) = detector.detect([image])
        np.testing.assert_array_equal(alone.box_xyxy, boxes.box_xyxy)
        np.testing.assert_array_equal(alone.score, boxes.score)
        for class_id in set(boxes.class_id.tolist()):
            own = boxes.box_xyxy[boxes.class_id == class_id]
            # Clipping to the image after suppression may raise an overlap a little.
            assert np.triu(box_iou(own, own), 1).max() < 1
    # An astronaut is a person, however the network sees it.
    astronaut = found[2]
    best = int(astronaut.score.argmax())
    assert detector.class_names[astronaut.class_id[best]] == "person"
    assert astronaut.score[best] > 0.8


@pytest.mark.shared
def test_opencv_and_onnxruntime_agree(images: list[Rgb]) -> None:
    pytest.importorskip("onnxruntime")
    answers = [make(Path()).detect(images) for make in (with_opencv, with_onnxruntime)]
    for pair in zip(*answers, strict=True):
        a, b = (boxes.select(boxes.score > 0.05) for boxes in pair)
        np.testing.assert_allclose(a.box_xyxy, b.box_xyxy, atol=0.05)
        np.testing.assert_allclose(a.score, b.score, atol=1e-4)
        np.testing.assert_array_equal(a.class_id, b.class_id)


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_known_boxes_of_a_street(images: list[Rgb]) -> None:
    """The bus of ultralytics' own photograph, with the scores its package prints."""
    detector = with_ultralytics(Path())
    (boxes,) = detector.detect([read_rgb(ultralytics_assets() / "bus.jpg")])
    sure = boxes.select(boxes.score >= 0.25)
    named = [
        (detector.class_names[c], round(float(s), 2))
        for c, s in zip(sure.class_id, sure.score, strict=True)
    ]
    assert sorted(named) == [
        ("bus", 0.85), ("person", 0.37), ("person", 0.91), ("person", 0.91), ("person", 0.92),
    ]  # fmt: skip


def ultralytics_assets() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("ultralytics")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "assets"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_pt_file_of_random_weights(tmp_path: Path) -> None:
    """The road of .pt files, for which real weights are not at hand: batches, names, input size."""
    pytest.importorskip("ultralytics")
    torch = pytest.importorskip("torch")
    from gopro_tools.detection.ultralytics_yolo import _import_ultralytics

    torch.manual_seed(0)
    network = _import_ultralytics().YOLO("yolov8n.yaml", task="detect")
    for branch in network.model.model[-1].cv3:
        branch[-1].bias.data += 6 + torch.randn(80)
    network.save(str(tmp_path / "random.pt"))
    detector = load_detector(str(tmp_path / "random.pt"), input_size_px=160)
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 256, (*size, 3), np.uint8) for size in ((90, 160), (160, 90), (90, 160))
    ]
    together = detector.detect(images)
    for image, boxes in zip(images, together, strict=True):
        (alone,) = detector.detect([image])
        assert len(boxes) > 0
        np.testing.assert_allclose(alone.score, boxes.score, atol=1e-5)
    (tmp_path / "cut.pt").write_bytes((tmp_path / "random.pt").read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"cut\.pt: ultralytics cannot run it"):
        load_detector(str(tmp_path / "cut.pt")).detect(images)


@pytest.mark.shared
def test_ultralytics_stays_offline_and_out_of_the_home_folder(tmp_path: Path) -> None:
    """In a process of its own, for the package reads its settings once."""
    pytest.importorskip("ultralytics")
    if not YOLOV8.is_file():
        pytest.skip("no detector weights at ../shared/data")
    program = f"""
import numpy as np, os, socket, sys
def refuse(*arguments, **options):
    raise AssertionError("a connection was tried")
socket.socket.connect = socket.getaddrinfo = refuse
from gopro_tools.detection import load_detector
assert not any(m in sys.modules for m in ("torch", "ultralytics", "onnxruntime", "matplotlib"))
detector = load_detector({str(YOLOV8)!r})
assert "ultralytics" not in sys.modules
detector.detect([np.zeros((64, 64, 3), np.uint8)])
from ultralytics.utils import SETTINGS, checks, events
assert not SETTINGS["sync"] and not events.events.enabled and not checks.AUTOINSTALL
"""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert list(tmp_path.rglob("*ltralytics*")) == []


class TestChoosing:
    def test_missing_weights_say_where_to_get_them(self, tmp_path: Path) -> None:
        for name in ("yolov8n.pt", "yolox_nano.onnx", "boxes.json"):
            with pytest.raises(InputError, match=r"no such file.*github\.com.*Nothing is"):
                load_detector(str(tmp_path / name))
        with pytest.raises(InputError, match="no such file"):
            load_detector("yolov8n.pt")  # which the package itself would download

    @pytest.mark.parametrize("package", ["onnxruntime", "ultralytics"])
    def test_a_missing_package_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
    ) -> None:
        import importlib.metadata

        def absent(name: str) -> str:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "version", absent)
        suffix = {"onnxruntime": "onnx", "ultralytics": "pt"}[package]
        path = tmp_path / f"net.{suffix}"
        path.write_bytes(onnx_model(yolox_head(80)))
        with pytest.raises(InputError, match=rf"{package} is not installed: pip install .*detect"):
            load_detector(str(path), runtime=package)  # type: ignore[arg-type]

    def test_onnx_needs_neither_torch_nor_onnxruntime(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import importlib.util

        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        (tmp_path / "net.onnx").write_bytes(onnx_model(yolox_head(80)))
        detector = load_detector(str(tmp_path / "net.onnx"))
        assert detector.identity.runtime.startswith("opencv")
        assert len(detector.detect([np.zeros((64, 64, 3), np.uint8)])[0]) == 0

    def test_a_broken_torch_is_an_answer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "net.pt").write_bytes(b"weights")
        pytest.importorskip("ultralytics")
        detector = load_detector(str(tmp_path / "net.pt"))
        monkeypatch.setitem(sys.modules, "ultralytics", None)
        with pytest.raises(InputError, match=r"ultralytics cannot be imported .*detect"):
            detector.detect([np.zeros((8, 8, 3), np.uint8)])

    def test_wrong_combinations(self, tmp_path: Path) -> None:
        pytest.importorskip("ultralytics")
        (tmp_path / "net.pt").write_bytes(b"weights")
        with pytest.raises(InputError, match=r"opencv runs \.onnx files"):
            load_detector(str(tmp_path / "net.pt"), runtime="opencv")
        with pytest.raises(InputError, match="--class-names"):
            load_detector(str(tmp_path / "net.pt"), class_names=tmp_path / "names.txt")

    def test_a_detector_of_ones_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(Path(__file__).parent))
        detector = load_detector("test_detectors:ByColour")
        image = np.zeros((20, 30, 3), np.uint8)
        image[5:9, 10:20] = (255, 0, 0)
        assert detector.detect([image])[0].box_xyxy.tolist() == [[10, 5, 20, 9]]
        for spec, message in {
            "no_such_module:factory": "there is no module no_such_module",
            "test_detectors:no_such_factory": "no_such_factory",
            "test_detectors:empty_handed": "it made has no name, identity, class_names, detect",
        }.items():
            with pytest.raises(InputError, match=message):
                load_detector(spec)

    def test_stored_boxes_of_other_pixels(self, tmp_path: Path) -> None:
        image = np.full((20, 30, 3), 7, np.uint8)
        detector = ByColour()
        stored = StoredDetections(
            name="red",
            identity=detector.identity,
            class_names=detector.class_names,
            images={
                "a.png": StoredImage(
                    pixels=pixel_hash(image), size_hw=(20, 30), found=Detections.none()
                )
            },
        )
        write_detections(tmp_path / "folder" / "sharp.json", stored)
        boxes = load_detector(str(tmp_path / "folder"))
        assert boxes.identity == detector.identity
        assert len(boxes.detect([image])[0]) == 0
        with pytest.raises(InputError, match=r"no boxes of 1 image\(s\)"):
            boxes.detect([image, image + 1])
        other = DetectorIdentity(weights_sha256="blue", input_size_px=0, runtime="numpy")
        write_detections(
            tmp_path / "folder" / "z.json",
            StoredDetections(name="x", identity=other, class_names=("red",), images={}),
        )
        with pytest.raises(InputError, match=r"z\.json: boxes of another detector"):
            load_detector(str(tmp_path / "folder"))
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="no stored boxes there"):
            load_detector(str(tmp_path / "empty"))
