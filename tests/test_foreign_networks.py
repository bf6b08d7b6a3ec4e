"""Networks of unknown origin: what they are is told, what they do stays in their own process."""

import os
import pickle
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_detectors import field, onnx_model, yolox_head

from gopro_tools.detection import Detections, load_detector
from gopro_tools.detection.heads import recognised_head
from gopro_tools.detection.onnx_header import read_onnx_header
from gopro_tools.errors import InputError
from gopro_tools.onnx_process import OnnxProcess
from gopro_tools.options import DetectorRuntime

ONNX_CASES = Path(__file__).parents[2] / "shared" / "cases" / "scoring" / "onnx"
SIZE_PX = 64
N_CELLS = 84
IMAGE = np.full((SIZE_PX, SIZE_PX, 3), 90, np.uint8)
CENTRE_AND_SIZE = (32.0, 32.0, 40.0, 24.0)
EXPECTED_XYXY = [12.0, 20.0, 52.0, 44.0]


@pytest.fixture(params=["onnxruntime", "opencv"])
def runtime(request: pytest.FixtureRequest) -> DetectorRuntime:
    if request.param == "onnxruntime":
        pytest.importorskip("onnxruntime")
    chosen: DetectorRuntime = request.param
    return chosen


def model_file(
    folder: Path, head: NDArray[np.float32], names: tuple[str, ...], task: str = ""
) -> str:
    data = onnx_model(head, names=names)
    if task:
        data += field(14, field(1, "task") + field(2, task))
    path = folder / "net.onnx"
    path.write_bytes(data)
    return str(path)


def detect(path: str, runtime: DetectorRuntime) -> Detections:
    (found,) = load_detector(path, runtime=runtime).detect([IMAGE])
    return found


def yolov8_head(n_rows: int) -> NDArray[np.float32]:
    """One box of class 0, whatever rows follow."""
    head = np.zeros((1, n_rows, N_CELLS), np.float32)
    head[0, :5, 10] = (*CENTRE_AND_SIZE, 0.9)
    return head


def test_yolov5_has_three_boxes_per_cell(tmp_path, runtime):
    head = np.zeros((1, 3 * N_CELLS, 8), np.float32)
    head[0, 100] = (*CENTRE_AND_SIZE, 0.9, 0.1, 0.2, 1.0)
    found = detect(model_file(tmp_path, head, ("a", "b", "c")), runtime)
    np.testing.assert_allclose(found.box_xyxy, [EXPECTED_XYXY])
    assert found.class_id[0] == 2
    assert found.score[0] == pytest.approx(0.9)


@pytest.mark.parametrize(("task", "more"), [("pose", 51), ("segment", 32)])
def test_of_poses_and_masks_the_boxes_are_taken(tmp_path, runtime, task, more):
    head = yolov8_head(4 + 2 + more)
    head[0, 6:, 10] = 30.0
    found = detect(model_file(tmp_path, head, ("a", "b"), task), runtime)
    np.testing.assert_allclose(found.box_xyxy, [EXPECTED_XYXY])
    assert found.class_id.tolist() == [0]


def test_the_names_of_the_classes_tell_a_transposed_head_from_yolox(tmp_path, runtime):
    head = yolov8_head(4 + 2).transpose(0, 2, 1)
    found = detect(model_file(tmp_path, np.ascontiguousarray(head), ("a", "b")), runtime)
    np.testing.assert_allclose(found.box_xyxy, [EXPECTED_XYXY])


@pytest.mark.parametrize("more", [0, 51])
def test_boxes_that_are_final_are_taken_as_they_are(tmp_path, runtime, more):
    """YOLOv10, and exports with nms=True; key points follow the class."""
    head = np.zeros((1, 300, 6 + more), np.float32)
    head[0, 0, :6] = (*EXPECTED_XYXY, 0.6, 1.0)
    head[0, 1, :6] = (*EXPECTED_XYXY, 0.9, 0.0)
    found = detect(model_file(tmp_path, head, ("a", "b"), "pose" if more else "detect"), runtime)
    np.testing.assert_allclose(found.box_xyxy, [EXPECTED_XYXY] * 2)
    assert found.class_id.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((12, 20, 52, 44, 0.9, 7.0), "score in .0, 1. and class"),
        ((12, 20, 52, 44, 0.9, 0.5), "score in .0, 1. and class"),
        ((12, 20, 52, 44, 90.0, 1.0), "score in .0, 1. and class"),
        ((52, 44, 12, 20, 0.9, 1.0), "score in .0, 1. and class"),
        ((0.2, 0.3, 0.8, 0.7, 0.9, 1.0), "parts of the input"),
    ],
)
def test_rows_that_are_no_final_boxes_are_refused(tmp_path, runtime, row, says):
    head = np.zeros((1, 300, 6), np.float32)
    head[0, 0] = row
    with pytest.raises(InputError, match=says):
        detect(model_file(tmp_path, head, ("a", "b")), runtime)


@pytest.mark.parametrize(
    ("box", "says"),
    [((32, 32, -40, 24), "negative size"), ((0.5, 0.5, 0.6, 0.4), "parts of the input")],
)
def test_boxes_that_are_not_in_px_are_refused(tmp_path, runtime, box, says):
    for head in (yolov8_head(6), np.zeros((1, 3 * N_CELLS, 7), np.float32)):
        if head.shape[1] == 6:
            head[0, :4, 10] = box
        else:
            head[0, 10] = (*box, 0.9, 1.0, 0.0)
        with pytest.raises(InputError, match=says):
            detect(model_file(tmp_path, head, ("a", "b")), runtime)


def test_masks_are_known_by_their_second_output():
    outputs = [np.zeros((1, 4 + 2 + 32, N_CELLS)), np.zeros((1, 32, 16, 16))]
    head = recognised_head(outputs, (SIZE_PX, SIZE_PX), None, None)  # type: ignore[arg-type]
    assert head is not None
    assert (head.kind, head.n_classes) == ("yolov8", 2)


@pytest.mark.parametrize("names", [("car", "car"), ("car", "")])
def test_classes_of_one_name_or_none_are_refused(tmp_path, runtime, names):
    with pytest.raises(InputError, match="one name, or one has none"):
        detect(model_file(tmp_path, yolov8_head(6), names), runtime)


@pytest.mark.parametrize("task", ["obb", "classify"])
def test_other_tasks_are_refused_by_name(tmp_path, runtime, task):
    with pytest.raises(InputError, match=task):
        detect(model_file(tmp_path, yolov8_head(6), ("a", "b"), task), runtime)


def test_values_that_are_no_scores_are_never_clipped(tmp_path, runtime):
    head = yolov8_head(4 + 3)
    head[0, 6, 10] = 37.0
    with pytest.raises(InputError, match="class scores from 0 to 37"):
        detect(model_file(tmp_path, head, ("a", "b", "c")), runtime)


def decoded_everywhere() -> NDArray[np.float32]:
    """YOLOX with --decode_in_inference: every cell has a box in px, none sure of itself."""
    head = yolox_head(2)
    rows = []
    for stride in (8, 16, 32):
        y, x = np.mgrid[: SIZE_PX // stride, : SIZE_PX // stride]
        centre = (np.stack([x.ravel(), y.ravel()], axis=1) + 0.5) * stride
        rows.append(np.hstack([centre, np.full_like(centre, 1.5)]))
    head[0, :, :4] = np.concatenate(rows)
    return head


def one_decoded_box() -> NDArray[np.float32]:
    head = yolox_head(2)
    head[0, 10] = (*CENTRE_AND_SIZE, 1.0, 0.9, 0.0)
    return head


@pytest.mark.parametrize("head", [decoded_everywhere, one_decoded_box])
def test_a_head_that_is_decoded_already_is_told_from_a_raw_one(tmp_path, runtime, head):
    with pytest.raises(InputError, match="decoded already"):
        detect(model_file(tmp_path, head(), ("a", "b")), runtime)


def test_a_raw_head_is_taken_for_raw_wherever_its_boxes_are(tmp_path, runtime):
    rng = np.random.default_rng(0)
    head = yolox_head(2)
    head[0, :, :2] = rng.uniform(-2.5, 2.5, (N_CELLS, 2))
    head[0, :, 2:4] = rng.uniform(-2, 2, (N_CELLS, 2))
    head[0, :, 4] = 1
    head[0, :, 5:] = rng.uniform(0, 1, (N_CELLS, 2))
    assert len(detect(model_file(tmp_path, head, ("a", "b")), runtime)) > 5


@pytest.mark.skipif(not ONNX_CASES.is_dir(), reason="no files of other exporters at ../shared")
@pytest.mark.parametrize("name", ["v5", "v8pose", "v8seg", "v8_fp16"])
def test_files_of_other_exporters(runtime, name):
    found = detect(str(ONNX_CASES / f"{name}.onnx"), runtime)
    np.testing.assert_allclose(found.box_xyxy, [EXPECTED_XYXY], atol=0.05)
    assert found.score[0] == pytest.approx(0.9, abs=0.03)


@pytest.mark.skipif(not ONNX_CASES.is_dir(), reason="no files of other exporters at ../shared")
def test_a_decoded_file_of_another_exporter(runtime):
    with pytest.raises(InputError, match="decoded already"):
        detect(str(ONNX_CASES / "v6.onnx"), runtime)


@pytest.mark.skipif(
    not ONNX_CASES.is_dir() or find_spec("ultralytics") is None, reason="no file, or no ultralytics"
)
def test_a_network_that_ultralytics_takes_for_another_is_one_sentence():
    detector = load_detector(
        str(ONNX_CASES / "v5.onnx"), runtime="ultralytics", input_size_px=SIZE_PX
    )
    with pytest.raises(InputError, match="did not return boxes"):
        detector.detect([IMAGE])


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(1, 3, 10**9, 10**9), (10**9, 3, 64, 64), (1, 3), (1,) * 9, (1, 3, 64, 48)]
)
def test_an_input_that_no_image_fits_is_refused(tmp_path, runtime, shape):
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_model(yolox_head(2), input_shape=shape, names=("a", "b")))
    with pytest.raises(InputError, match=r"net\.onnx"):
        _ = load_detector(str(path), runtime=runtime).class_names


@pytest.mark.parametrize(
    "text",
    ["{0: 1}", "{1: 'a'}", "[]", "7", "{0: 'a'", "(" * 100_000, "-" * 100_000, "{'a': 'b'}", "x"],
)
def test_names_that_are_none_are_one_sentence(tmp_path, text):
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_model(yolox_head(2)) + field(14, field(1, "names") + field(2, text)))
    with pytest.raises(InputError, match=r"net\.onnx"):
        read_onnx_header(path)


@pytest.mark.parametrize(
    "text", ["{0: 'a', 1: 'b'}", '{"0": "a", "1": "b"}', '["a", "b"]', "('a', 'b')"]
)
def test_names_are_read_from_python_and_json(tmp_path, text):
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_model(yolox_head(2)) + field(14, field(1, "names") + field(2, text)))
    assert read_onnx_header(path).class_names == ("a", "b")


def test_a_crash_is_one_message(tmp_path, runtime):
    process = OnnxProcess(Path(model_file(tmp_path, yolox_head(2), ("a", "b"))), runtime)
    os.kill(process._child.pid, signal.SIGSEGV)
    with pytest.raises(InputError, match="crashed on it"):
        process(np.zeros((1, 3, SIZE_PX, SIZE_PX), np.float32))


def test_what_cannot_be_opened_or_run_says_why_and_leaves_no_process(tmp_path, runtime):
    (tmp_path / "x.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(InputError, match=rf"x\.onnx: {runtime}"):
        OnnxProcess(tmp_path / "x.onnx", runtime)
    process = OnnxProcess(Path(model_file(tmp_path, yolox_head(2), ("a", "b"))), runtime)
    with pytest.raises(InputError, match="cannot run it"):
        process(np.zeros((1, 5), np.float32))
    (answer,) = process(np.zeros((1, 3, SIZE_PX, SIZE_PX), np.float32))
    assert answer.shape == (1, N_CELLS, 7)
    process.close()
    assert process._child.returncode is not None


def test_the_process_ends_with_its_parent(tmp_path, runtime):
    path = model_file(tmp_path, yolox_head(2), ("a", "b"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom gopro_tools.onnx_process import OnnxProcess\n"
        f"p = OnnxProcess(Path({path!r}), {runtime!r})\nprint(p._child.pid, flush=True)\n"
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    child = int(result.stdout)
    for _ in range(200):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if (
            Path(f"/proc/{child}/stat").is_file()
            and " Z " in Path(f"/proc/{child}/stat").read_text()
        ):
            return
        signal.sigtimedwait([], 0.05)
    pytest.fail("the child outlived its parent")


# --- PyTorch files --------------------------------------------------------------------------------

HAS_ULTRALYTICS = find_spec("ultralytics") is not None


class Payload:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.mark.skipif(not HAS_ULTRALYTICS, reason="ultralytics is not installed")
@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_programs_in_a_pytorch_file_do_not_run(tmp_path, form):
    import torch

    marker = tmp_path / "ran"
    content = {"model": Payload(marker)}
    if form == "torch":
        torch.save(content, tmp_path / "net.pt")
    else:
        (tmp_path / "net.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"format=onnx.*--trust-weights"):
        _ = load_detector(str(tmp_path / "net.pt")).class_names
    assert not marker.exists()
    if form == "torch":
        with pytest.raises(InputError):
            _ = load_detector(str(tmp_path / "net.pt"), trust_weights=True).class_names
        assert marker.exists()
        marker.unlink()
        with pytest.raises(InputError, match="--trust-weights"):
            _ = load_detector(str(tmp_path / "net.pt")).class_names
        assert not marker.exists()


@pytest.mark.skipif(not HAS_ULTRALYTICS, reason="ultralytics is not installed")
def test_a_real_pytorch_file_is_read_all_the_same(tmp_path):
    code = f"from ultralytics import YOLO; YOLO('yolov8n.yaml').save({str(tmp_path / 'n.pt')!r})"
    environment = os.environ | {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, env=environment, cwd=tmp_path,
        capture_output=True,
    )  # fmt: skip
    assert len(load_detector(str(tmp_path / "n.pt"), input_size_px=64).class_names) == 80
