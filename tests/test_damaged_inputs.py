"""Files damaged at random: every parser answers with a result or one sentence, in bounded memory.

`GOPRO_TOOLS_PARSER_MUTANTS` sets how many there are in all; a long run has thousands.
"""

import io
import json
import os
import resource
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from test_detectors import field, onnx_model, yolox_head
from tiny_dataset import smooth_image, write_dataset

from gopro_tools.deblur import read_card
from gopro_tools.detection import load_detector, read_detections, read_labels
from gopro_tools.detection.onnx_header import read_onnx_header
from gopro_tools.detection.yolo_text import find_classes
from gopro_tools.errors import InputError, OtherShardsLeftError
from gopro_tools.export import ExportConfig, export, verify_export
from gopro_tools.export.config import FORMATS, Format
from gopro_tools.images import read_rgb
from gopro_tools.metrics import score
from gopro_tools.metrics.parts import MetricParts, parts_from
from gopro_tools.pairing import pair_images
from gopro_tools.records import RunRecord, read_record, to_json
from gopro_tools.response import Response
from gopro_tools.response.calibration import read_bracket
from gopro_tools.seal import FORMAT
from gopro_tools.shards import Shard, divided
from gopro_tools.sources import Sources, recall_sources
from gopro_tools.verify import verify

N_MUTANTS = int(os.environ.get("GOPRO_TOOLS_PARSER_MUTANTS", "300"))
SIZES = {"a/1.png": (48, 64), "a/2.png": (48, 64)}
NAMES = ("person", "car")
MOST_KIB = 3 * 2**20
"""Memory of this process, however large the files say they are."""


def picture(fmt: str) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(smooth_image(np.random.default_rng(0), (48, 64)))
    image.save(buffer, fmt, exif=exif)
    return buffer.getvalue()


def coco(**of_box: object) -> bytes:
    document = {
        "info": {"detector": "d", "weights_sha256": "x", "input_size_px": 64, "runtime": "r",
                 "min_score": 0.001, "nms_iou": 0.7},
        "images": [
            {"id": i + 1, "file_name": name, "width": 64, "height": 48, "pixel_hash": f"{i:032x}"}
            for i, name in enumerate(SIZES)
        ],
        "annotations": [
            {"id": i, "image_id": 1 + i % 2, "category_id": 1 + i % 2, "iscrowd": 0,
             "bbox": [1.5, 2, 10, 12]} | of_box
            for i in range(4)
        ],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)],
    }  # fmt: skip
    return json.dumps(document).encode()


def npy() -> bytes:
    buffer = io.BytesIO()
    table = np.linspace(0, 1, 256)[:, None].repeat(3, 1)
    np.save(buffer, table.astype(np.float32))
    return buffer.getvalue()


def onnx() -> bytes:
    task = field(14, field(1, "task") + field(2, "detect"))
    return onnx_model(yolox_head(2), names=NAMES) + task


def labels(path: Path) -> None:
    read_labels(path, SIZES, NAMES, wanted=(0, 1), min_area_px=0)


def yolo(path: Path) -> None:
    folder = path.parent / "labels"
    folder.mkdir(exist_ok=True)
    for number in (1, 2):
        (folder / f"{number}.txt").write_bytes(path.read_bytes())
    labels(folder)


def names(path: Path) -> None:
    (path.parent / "yaml").mkdir(exist_ok=True)
    (path.parent / "yaml" / "data.yaml").write_bytes(path.read_bytes())
    find_classes(path.parent / "yaml")


def list_of_pairs(path: Path) -> None:
    scene = path.parent / "RealBlur-J" / "scene001"
    for kind in ("gt", "blur"):
        (scene / kind).mkdir(parents=True, exist_ok=True)
        (scene / kind / f"{kind}_1.png").touch()
    (path.parent / "RealBlur_J_test_list.txt").write_bytes(path.read_bytes())
    pair_images(Sources(dataset=scene.parent))


def run_onnx(runtime: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        detector = load_detector(str(path), runtime=runtime)  # type: ignore[arg-type]
        detector.detect([np.zeros((48, 64, 3), np.uint8)])

    return run


def record() -> bytes:
    record = RunRecord(
        suite="evaluate", config={"protocol": ["psnr_rgb"]}, methods={"m": {"scale": "smoke"}},
        dataset={"name": "d", "split": "test"}, files={"summary.csv": {"n_rows": 2}},
        machine={}, versions={},
    )  # fmt: skip
    return to_json(record).encode()


def sources_of(path: Path) -> None:
    (path.parent / "images.json").write_bytes(path.read_bytes())
    recall_sources(path.parent)


def card(path: Path) -> None:
    read_card(path.with_suffix(".onnx"))


def run_of(path: Path) -> None:
    (path.parent / "run.json").write_bytes(path.read_bytes())
    read_record(path.parent)


def exposure() -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x829A] = 0.25
    image = Image.fromarray(smooth_image(np.random.default_rng(0), (24, 32)))
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def bracket(path: Path) -> None:
    folder = path.parent / "bracket"
    if not folder.is_dir():
        folder.mkdir()
        for number, time in enumerate((1, 2)):
            exif = Image.Exif()
            exif.get_ifd(0x8769)[0x829A] = float(time)
            image = Image.fromarray(smooth_image(np.random.default_rng(0), (24, 32)))
            image.save(folder / f"{number}.jpg", exif=exif)
    (folder / "2.jpg").write_bytes(path.read_bytes())
    read_bracket(folder)


def niqe_model(write: Callable[..., object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer, {"mu_prisparam": np.zeros((1, 36)), "cov_prisparam": np.eye(36)})
    return buffer.getvalue()


def niqe(path: Path) -> None:
    with parts_from(MetricParts(niqe_model=path)):
        score(None, smooth_image(np.random.default_rng(0), (192, 192)), ["niqe"])


def seal_of(path: Path) -> None:
    data = path.parent / "data"
    if not data.is_dir():
        write_dataset(data, size_hw=(24, 32), train=(1,), test=(1,))
    (data / "dataset.json").write_bytes(path.read_bytes())
    verify(data)


def share(folder: Path, index: int) -> None:
    (folder / "in").write_bytes(b"in")
    with suppress(OtherShardsLeftError), divided(folder / "out", Shard(index, 2), {}) as parts:
        assert parts is not None
        parts.exchanged([{"x": 1.5}], [[("a", folder / "in")], [("b", folder / "in")]])


def part_of(folder: Path) -> bytes:
    share(folder, 1)
    return (folder / "out/.parts/1-of-2.json").read_bytes()


def part(path: Path) -> None:
    folder = path.parent / "out" / ".parts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1-of-2.json").write_bytes(path.read_bytes())
    share(path.parent, 2)


def checkpoint_of(folder: Path) -> bytes:
    pytest.importorskip("torch")
    from baselines.checkpoints.store import save_checkpoint
    from baselines.deepdeblur.network import DeepDeblur

    network = DeepDeblur(n_scales=1, n_resblocks=1, n_features=2)
    state = {"sums": {}, "steps": [1, 2]}
    path = folder / "good.safetensors"
    save_checkpoint(
        path, {"restorer": network}, method="deepdeblur", config={}, step=1, training_state=state
    )
    return path.read_bytes()


def checkpoint(path: Path) -> None:
    from baselines.checkpoints.restorers import describe
    from baselines.checkpoints.store import load_checkpoint
    from baselines.methods import KINDS as NETWORK_KINDS

    load_checkpoint(path)
    describe(path, NETWORK_KINDS)


def export_to(to: Format) -> Callable[[Path], bytes]:
    """The largest file of an export."""

    def make(folder: Path) -> bytes:
        write_dataset(folder / "data", size_hw=(32, 40), train=(1,), test=(1,))
        config = ExportConfig(to=to, blur_kind="gamma", crop_px=32, crop_step_px=16)
        export(folder / "data", config, folder / "out")
        return largest_in(folder / "out").read_bytes()

    return make


def largest_in(folder: Path) -> Path:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return max(files, key=lambda p: (p.name in ("a", "data.mdb"), p.stat().st_size))


def exported(path: Path) -> None:
    out = path.parent / "out"
    damaged = path.parent / "which"
    if not damaged.exists():
        damaged.write_text(str(largest_in(out)))
    Path(damaged.read_text()).write_bytes(path.read_bytes())
    verify_export(out, path.parent / "data")


PLACES = {"dataset": None, "split": "test", "blur_kind": None, "sharp": "s", "blurred": "b",
          "restored": {"m": "m"}, "suffix": [], "allow_missing": False, "labels": None}  # fmt: skip
CARD = {"name": "small", "trained_on": "scenes", "blur_px": [1, 7], "licence": "MIT"}
SEAL = {"format": FORMAT, "made_by": "gopro_tools 1", "identity": {"config": {}}, "splits": {}}
PAIR = b"RealBlur-J/scene001/gt/gt_1.png RealBlur-J/scene001/blur/blur_1.png\n"
YOLO = b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.5 0.1 0.5 0.8 0.2 0.9\n"
YAML = b"train: x\nnc: 2\nnames:\n  0: person\n  1: car\nkpt_shape: [17, 3]\n"
Good = bytes | Callable[[Path], bytes]
PARSERS: Mapping[str, tuple[Good, str, Callable[[Path], object], float]] = {
    # a good file or what makes one, its suffix, what reads it, its share of the mutants
    **{fmt: (picture(fmt), ".png", read_rgb, 0.08) for fmt in ("PNG", "JPEG", "WEBP", "TIFF")},
    "npy": (npy(), ".npy", Response.from_file, 0.12),
    "ONNX header": (onnx(), ".onnx", read_onnx_header, 0.14),
    "labels": (coco(), ".json", labels, 0.14),
    "stored boxes": (coco(score=0.5), ".json", read_detections, 0.12),
    "YOLO text": (YOLO, ".txt", yolo, 0.06),
    "data.yaml": (YAML, ".yaml", names, 0.06),
    "run.json": (record(), ".json", run_of, 0.06),
    "images.json": (json.dumps(PLACES).encode(), ".json", sources_of, 0.04),
    "card of a network": (json.dumps(CARD).encode(), ".json", card, 0.04),
    "list of pairs": (PAIR, ".txt", list_of_pairs, 0.02),
    "bracket": (exposure(), ".jpg", bracket, 0.04),
    "NIQE .mat": (niqe_model(scipy.io.savemat), ".mat", niqe, 0.02),
    "NIQE .npz": (niqe_model(lambda file, model: np.savez(file, **model)), ".npz", niqe, 0.02),
    "dataset.json": (json.dumps(SEAL).encode(), ".json", seal_of, 0.02),
    "part of a shard": (part_of, ".json", part, 0.04),
    "checkpoint": (checkpoint_of, ".safetensors", checkpoint, 0.06),
    **{f"export {to}": (export_to(to), ".bin", exported, 0.02) for to in FORMATS},
    "onnxruntime": (onnx(), ".onnx", run_onnx("onnxruntime"), 0.01),
    "opencv": (onnx(), ".onnx", run_onnx("opencv"), 0.01),
}
FINDINGS = frozenset({"dataset.json", *(f"export {to}" for to in FORMATS)})
"""What is read by a check, which lists what it finds."""
HUGE = (b"9" * 400, b"1e999", b"-1", b"NaN", b"null", b'"0"', b"{}", b"[" * 3000, b"\xff" * 9)


def mutant(good: bytes, rng: np.random.Generator) -> bytes:
    """The file cut, with bytes changed, parts repeated, or a number replaced by another thing."""
    data = bytearray(good)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, max(1, len(data))))
        kind = rng.integers(0, 6)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            for place in rng.integers(0, max(1, len(data)), 8):
                data[place : place + 1] = bytes([rng.integers(0, 256)])
        elif kind == 2:
            data[at:at] = data[at : at + int(rng.integers(1, 200))]
        elif kind == 3:
            data[at : at + int(rng.integers(0, 4))] = HUGE[rng.integers(0, len(HUGE))]
        elif kind == 4:
            digits = [i for i, byte in enumerate(data) if 48 <= byte < 58]
            if digits:
                place = digits[rng.integers(0, len(digits))]
                data[place : place + 1] = HUGE[rng.integers(0, len(HUGE))]
        else:
            data[at : at + 8] = rng.bytes(8)
    return bytes(data)


@pytest.mark.timeout(24 * 3600)
@pytest.mark.parametrize("name", PARSERS)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    good, suffix, read, share = PARSERS[name]
    if name == "onnxruntime":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"file{suffix}"
    if callable(good):
        good = good(tmp_path)
    path.write_bytes(good)
    read(path)  # the good file is one
    rng = np.random.default_rng(7)
    said: list[str] = []
    n_mutants = max(2, round(share * N_MUTANTS))
    for number in range(n_mutants):
        path.write_bytes(mutant(good, rng))
        try:
            read(path)
        except InputError as error:
            said.append(str(error))
        except BaseException as error:
            pytest.fail(f"mutant {number} of {name}: {type(error).__name__}: {error}")
    assert said or name in FINDINGS
    assert all(str(tmp_path) in one and len(one) < 3000 for one in said), "no file is named"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < MOST_KIB
