"""The dataset doctor: each fault is planted in a sound dataset and has to be found, and only it."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from gopro_tools.console import exit_code_of
from gopro_tools.dataset import SHARP_FOLDER
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.findings import Finding
from gopro_tools.images import encode_png, pixel_hash, read_rgb, sharpness
from gopro_tools.scenes import LOSSLESS, Scene, SceneConfig, render_frames, write_video
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize.publish import MANIFEST_COLUMNS
from gopro_tools.verify import VerifyConfig, measure_shift, verify
from gopro_tools.verify.command import command

SHARED_PAIRS = Path(__file__).resolve().parents[2] / "shared" / "data" / "pairs"
KINDS = (SHARP_FOLDER, "blur_gamma", "blur")
SEQUENCES = (("train", "GOPR0001_11_00"), ("train", "GOPR0002_07_00"), ("test", "GOPR0003_11_01"))


def motion_blurred(image: NDArray[np.uint8], length_px: int) -> NDArray[np.uint8]:
    kernel = np.full((1, length_px), 1 / length_px)
    return np.rint(cv2.filter2D(image.astype(np.float64), -1, kernel)).astype(np.uint8)


@lru_cache(maxsize=1)
def photographs() -> list[NDArray[np.uint8]]:
    return [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A dataset without a fault: 3 sequences of 2 moments in 3 kinds, and its manifest."""
    root = tmp_path / "dataset"
    rows = []
    for index, (split, sequence) in enumerate(SEQUENCES):
        for number in (7, 8):
            top = 100 * (number - 7)
            sharp = np.ascontiguousarray(photographs()[index][top : top + 120, 100:260])
            images = {
                "sharp": sharp,
                "blur": motion_blurred(sharp, 9),
                "blur_gamma": motion_blurred(sharp, 7),
            }
            name = f"{number:06d}.png"
            for kind, image in images.items():
                write_atomic(root / split / sequence / kind / name, encode_png(image))
            hashes = [pixel_hash(images[kind]) for kind in KINDS]
            rows.append([split, sequence, name, f"{sharpness(sharp):.4f}", *hashes])
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["split", "sequence", "name", "sharpness", *(f"hash_{k}" for k in KINDS)])
    writer.writerows(rows)
    (root / "manifest.csv").write_text(text.getvalue())
    return root


def only(findings: Sequence[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def rewrite(path: Path, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
    path.write_bytes(encode_png(np.ascontiguousarray(change(read_rgb(path)))))


def without_hashes(root: Path) -> Path:
    (root / "manifest.csv").unlink()
    return root


def test_nothing_is_found_in_a_sound_dataset(sound: Path) -> None:
    assert verify(sound).findings == ()
    assert verify(without_hashes(sound)).findings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_missing_partner(sound: Path, kind: str) -> None:
    (sound / "train/GOPR0001_11_00" / kind / "000007.png").unlink()
    found = only(verify(sound))
    assert (found.severity, found.check) == ("error", "missing")
    assert (found.split, found.sequence, found.name) == ("train", "GOPR0001_11_00", "000007.png")
    assert f"{kind}/000007.png" in found.message


def test_a_kind_missing_from_a_whole_sequence_is_one_finding(sound: Path) -> None:
    folder = sound / "test/GOPR0003_11_01/blur"
    for path in folder.iterdir():
        path.unlink()
    found = only(verify(sound))
    assert (found.severity, found.check, found.name) == ("error", "missing", "")
    assert "blur has none of the 2 images" in found.message
    folder.rmdir()
    assert only(verify(sound)) == found


def test_a_dataset_of_two_kinds_is_sound_but_sharp_alone_is_not(sound: Path) -> None:
    without_hashes(sound)
    for split, sequence in SEQUENCES:
        for path in (sound / split / sequence / "blur").iterdir():
            path.unlink()
        (sound / split / sequence / "blur").rmdir()
    assert verify(sound).findings == ()
    for split, sequence in SEQUENCES:
        for path in (sound / split / sequence / "blur_gamma").iterdir():
            path.unlink()
        (sound / split / sequence / "blur_gamma").rmdir()
    found = only(verify(sound))
    assert found.severity == "error"
    assert "no blurred images" in found.message


@pytest.mark.parametrize("name", ["7.png", "000007.PNG", "000007.jpg", "000007 (1).png"])
def test_misnamed_partner(sound: Path, name: str) -> None:
    folder = sound / "train/GOPR0002_07_00/sharp"
    (folder / "000007.png").rename(folder / name)
    findings = verify(sound)
    assert [(f.severity, f.check) for f in findings] == [("error", "name"), ("error", "missing")]
    assert name in findings[0].message


@pytest.mark.parametrize("name", ["walk", "GOPR0001", "GOPR0001_11", "GOPR0001_x_00", "_11_00"])
def test_sequence_name_outside_the_grammar(sound: Path, name: str) -> None:
    (without_hashes(sound) / "train/GOPR0001_11_00").rename(sound / "train" / name)
    found = only(verify(sound))
    assert (found.severity, found.check, found.sequence) == ("error", "name", name)


def test_an_even_number_of_frames_has_no_middle(sound: Path) -> None:
    (without_hashes(sound) / "train/GOPR0001_11_00").rename(sound / "train/GOPR0001_10_00")
    found = only(verify(sound))
    assert (found.severity, found.check) == ("warning", "name")


def test_strange_files_and_folders(sound: Path) -> None:
    (sound / "train/GOPR0001_11_00/depth").mkdir()
    (sound / "train/GOPR0001_11_00/sharp/notes.txt").write_text("x")
    (sound / "validation").mkdir()
    (sound / "train/GOPR0001_11_00/sharp/.000007.png.12.tmp").write_bytes(b"")  # of a running job
    findings = verify(sound)
    assert {(f.severity, f.check) for f in findings} == {("warning", "layout")}
    words = " ".join(f.message for f in findings)
    assert len(findings) == 3
    assert all(name in words for name in ("validation", "depth", "notes.txt"))


def damaged(data: bytes) -> dict[str, bytes]:
    middle = len(data) // 2
    grey = np.arange(120 * 160, dtype=np.uint16).reshape(120, 160)
    return {
        "empty": b"",
        "truncated": data[:middle],
        "mutated": data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :],
        "text": b"not an image",
        "grey": cv2.imencode(".png", grey.astype(np.uint8))[1].tobytes(),
        "16 bit": cv2.imencode(".png", np.dstack([grey] * 3))[1].tobytes(),
        "alpha": cv2.imencode(".png", np.dstack([grey.astype(np.uint8)] * 4))[1].tobytes(),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_unreadable_image_is_named(sound: Path, kind: str) -> None:
    path = sound / "test/GOPR0003_11_01" / kind / "000008.png"
    for what, content in damaged(path.read_bytes()).items():
        path.write_bytes(content)
        found = only(verify(sound))
        assert (found.severity, found.check, found.name) == ("error", "unreadable", path.name), what
        assert f"{kind}/000008.png" in found.message


def test_sizes_of_partners(sound: Path) -> None:
    without_hashes(sound)
    rewrite(sound / "train/GOPR0001_11_00/blur/000007.png", lambda image: image[:, :-2])
    found = only(verify(sound))
    assert (found.severity, found.check) == ("error", "size")
    assert "158x120" in found.message
    assert "160x120" in found.message


def test_sizes_within_a_sequence(sound: Path) -> None:
    without_hashes(sound)
    for kind in KINDS:
        rewrite(sound / "train/GOPR0001_11_00" / kind / "000007.png", lambda image: image[:-8])
    found = only(verify(sound))
    assert (found.severity, found.check, found.name) == ("warning", "size", "")
    assert "1 of 160x112, 1 of 160x120" in found.message


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_value_breaks_the_hash(sound: Path, kind: str) -> None:
    def change(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        image[3, 4, 1] ^= 1
        return image

    rewrite(sound / "train/GOPR0002_07_00" / kind / "000008.png", change)
    found = only(verify(sound))
    assert (found.severity, found.check, found.name) == ("error", "hash", "000008.png")
    assert f"{kind}/000008.png" in found.message


def test_another_png_encoder_keeps_the_hash(sound: Path) -> None:
    path = sound / "train/GOPR0001_11_00/sharp/000007.png"
    before = path.read_bytes()
    path.write_bytes(cv2.imencode(".png", cv2.imread(str(path)))[1].tobytes())
    assert path.read_bytes() != before
    assert verify(sound).findings == ()


def test_manifest_and_images_have_to_agree(sound: Path) -> None:
    manifest = sound / "manifest.csv"
    header, first, *rest = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, *rest]) + "\n")
    found = only(verify(sound))
    assert (found.severity, found.check) == ("error", "manifest")
    assert (found.split, found.sequence, found.name) == ("train", "GOPR0001_11_00", "000007.png")

    gone = first.replace("000007.png", "000001.png")
    manifest.write_text("\n".join([header, first, gone, *rest]) + "\n")
    found = only(verify(sound))
    assert (found.check, found.name) == ("manifest", "000001.png")
    assert "there is no image" in found.message

    manifest.write_text("\n".join([header, first, first, *rest]) + "\n")
    assert "more than once" in only(verify(sound)).message


def test_an_image_of_a_kind_that_the_manifest_does_not_have(sound: Path) -> None:
    manifest = sound / "manifest.csv"
    path = sound / "train/GOPR0001_11_00/blur/000007.png"
    manifest.write_text(manifest.read_text().replace(pixel_hash(read_rgb(path)), ""))
    found = only(verify(sound))
    assert (found.severity, found.check) == ("error", "hash")


@pytest.mark.parametrize(
    "content", [b"", b"split,name\n", b"\xff\xfe", b"split,sequence,name\ntrain,x\n"]
)
def test_unreadable_manifest(sound: Path, content: bytes) -> None:
    (sound / "manifest.csv").write_bytes(content)
    found = only(verify(sound))
    assert (found.severity, found.check) == ("error", "manifest")
    assert "hashes were not checked" in found.message


def test_swapped_sharp_and_blurred(sound: Path) -> None:
    folder = without_hashes(sound) / "train/GOPR0002_07_00"
    a, b = folder / "sharp/000007.png", folder / "blur/000007.png"
    a.rename(folder / "x")
    b.rename(a)
    (folder / "x").rename(b)
    findings = verify(sound)
    assert {(f.severity, f.check) for f in findings} == {("error", "sharpness")}
    assert any("blurrier than blur:" in f.message for f in findings)


def test_slightly_blurrier_is_a_warning(sound: Path) -> None:
    folder = without_hashes(sound) / "train/GOPR0002_07_00"
    sharp = read_rgb(folder / "sharp/000007.png")
    ratio = 0.97
    softer = cv2.addWeighted(sharp, ratio, motion_blurred(sharp, 3), 1 - ratio, 0)
    (folder / "blur/000007.png").write_bytes(encode_png(sharp))
    (folder / "sharp/000007.png").write_bytes(encode_png(softer))
    found = only([f for f in verify(sound) if f.check == "sharpness"])
    assert found.severity == "warning"


def test_no_motion_at_all(sound: Path) -> None:
    folder = without_hashes(sound) / "train/GOPR0002_07_00"
    (folder / "blur/000007.png").write_bytes((folder / "sharp/000007.png").read_bytes())
    found = only(verify(sound))
    assert (found.severity, found.check) == ("warning", "identical")


def test_constant_image(sound: Path) -> None:
    without_hashes(sound)
    for kind in KINDS:
        value = 40 + len(kind)
        path = sound / "train/GOPR0002_07_00" / kind / "000007.png"
        rewrite(path, lambda image, value=value: np.full_like(image, value))
    found = only(verify(sound))
    assert (found.severity, found.check) == ("info", "contrast")


@pytest.mark.parametrize("shift", [4, -6])
def test_shifted_pair(sound: Path, shift: int) -> None:
    def moved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        matrix = np.array([[1, 0, shift], [0, 1, 0]], np.float64)
        return cv2.warpAffine(image, matrix, (160, 120), borderMode=cv2.BORDER_REFLECT)

    rewrite(without_hashes(sound) / "train/GOPR0001_11_00/blur/000008.png", moved)
    found = only(verify(sound))
    assert (found.severity, found.check, found.name) == ("warning", "shift", "000008.png")
    assert f"{shift:+d}." in found.message or f"{shift - np.sign(shift):+d}." in found.message
    assert verify(sound, VerifyConfig(max_shift_px=10)).findings == ()


def test_a_blurred_image_of_another_scene(sound: Path) -> None:
    without_hashes(sound)
    for kind in KINDS[1:]:
        other = motion_blurred(np.ascontiguousarray(photographs()[3][60:180, 200:360]), 5)
        (sound / "train/GOPR0001_11_00" / kind / "000007.png").write_bytes(encode_png(other))
    found = [f for f in verify(sound) if f.check != "sharpness"]
    assert [(f.severity, f.check, f.name) for f in found] == [
        ("warning", "scene", "000007.png")
    ] * 2


def test_duplicates(sound: Path) -> None:
    without_hashes(sound)
    for kind in KINDS:
        original = (sound / "train/GOPR0001_11_00" / kind / "000007.png").read_bytes()
        (sound / "train/GOPR0001_11_00" / kind / "000009.png").write_bytes(original)
    findings = verify(sound)
    assert [(f.severity, f.check, f.name) for f in findings] == [
        ("warning", "duplicate", "000009.png")
    ] * 3

    original = (sound / "train/GOPR0002_07_00/sharp/000008.png").read_bytes()
    (sound / "test/GOPR0003_11_01/sharp/000008.png").write_bytes(original)
    leak = only([f for f in verify(sound) if f.check == "duplicate" and f.split == "test"])
    assert leak.severity == "error"
    assert "train/GOPR0002_07_00/sharp/000008.png" in leak.message


def test_recordings_in_both_splits(sound: Path) -> None:
    """The five of GOPRO_Large itself, by the names of its sequences."""
    without_hashes(sound)
    for split, sequence in SEQUENCES:
        (sound / split / sequence).rename(sound / split / sequence.replace("_1", "_91"))
    names = {
        "train": "0384_11_01 0384_11_02 0385_11_00 0868_11_01 0871_11_01 0881_11_00 0372_07_00",
        "test": "0384_11_00 0384_11_05 0385_11_01 0868_11_00 0871_11_00 0881_11_01 0396_11_00",
    }
    rng = np.random.default_rng(0)
    for split, listed in names.items():
        for name in listed.split():
            sharp = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            for kind, length in zip(KINDS, (1, 3, 4), strict=True):
                path = sound / split / f"GOPR{name}" / kind / "000001.png"
                write_atomic(path, encode_png(motion_blurred(sharp, length)))
    findings = verify(sound)
    assert {(f.severity, f.check) for f in findings} == {("warning", "recording")}
    recordings = [f.message.split()[1] for f in findings]
    assert recordings == ["GOPR0384", "GOPR0385", "GOPR0868", "GOPR0871", "GOPR0881"]


def test_chapters_of_one_recording_are_one(sound: Path) -> None:
    (without_hashes(sound) / "train/GOPR0001_11_00").rename(sound / "train/GP010003_11_00")
    assert only(verify(sound)).check == "recording"


def test_a_missing_split_is_only_noted(sound: Path) -> None:
    without_hashes(sound)
    (sound / "test").rename(sound.parent / "elsewhere")
    found = only(verify(sound))
    assert (found.severity, found.check) == ("info", "layout")


def test_findings_keep_their_order_whatever_runs_at_once(sound: Path) -> None:
    for name in ("train/GOPR0001_11_00/blur/000007.png", "test/GOPR0003_11_01/sharp/000007.png"):
        (sound / name).write_bytes(b"")
    (sound / "train/GOPR0002_07_00/sharp/000008.png").unlink()
    rewrite(sound / "train/GOPR0002_07_00/blur/000007.png", lambda image: image[::-1])
    steps: list[tuple[int, int]] = []
    findings = verify(sound, VerifyConfig(jobs=1))
    assert len(findings) >= 4
    again = verify(sound, VerifyConfig(jobs=5), on_progress=lambda *step: steps.append(step))
    assert again == findings
    assert steps == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("where", ["", "train", "manifest.csv"])
def test_what_is_no_dataset_is_refused(tmp_path: Path, where: str) -> None:
    if where == "train":
        (tmp_path / "train").mkdir()
    elif where:
        (tmp_path / where).write_text("split,sequence,name\n")
    with pytest.raises(InputError, match="no dataset in the GOPRO layout"):
        verify(tmp_path)
    with pytest.raises(InputError, match="no dataset"):
        verify(tmp_path / "absent")


@pytest.mark.parametrize(
    "config", [{"max_shift_px": 0.0}, {"least_sharpness_ratio": 1.5}, {"jobs": -1}]
)
def test_config_is_checked(config: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(config))):
        VerifyConfig(**config)


def test_command(sound: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command(sound, VerifyConfig()) == 0
    assert capsys.readouterr().out == "severity,check,split,sequence,name,message\n"
    (sound / "train/GOPR0001_11_00/blur/000007.png").write_bytes(b"")
    out = tmp_path / "new" / "findings.csv"
    assert command(sound, VerifyConfig(), out) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 error(s), 0 warning(s)" in captured.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["severity"], row["check"]) for row in rows] == [("error", "unreadable")]
    assert exit_code_of(lambda: command(tmp_path, VerifyConfig())) == 2


def test_many_findings_of_one_kind_are_one_line_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a whole dataset is stored with 16 bits; the CSV keeps what each image says."""
    rng = np.random.default_rng(0)
    for number in range(1, 6):
        for kind in ("sharp", "blur"):
            image = rng.integers(0, 65535, (80, 80, 3), dtype=np.uint16)
            folder = tmp_path / "data/train/GOPR0001_07_00" / kind
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{number:06d}.png"), image)
    assert command(tmp_path / "data", VerifyConfig(), tmp_path / "found.csv") == 1
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said.count("bit") == 2
    assert said.count("(and 4 more like this; the CSV has them all)") == 2
    assert "10 error(s)" in said
    with (tmp_path / "found.csv").open() as file:
        names = [row["name"] for row in csv.DictReader(file) if row["check"] == "unreadable"]
    assert sorted(names) == [f"{number:06d}.png" for number in range(1, 6) for _ in range(2)]


def test_a_warning_alone_is_exit_code_0(sound: Path) -> None:
    (sound / "validation").mkdir()
    assert command(sound, VerifyConfig()) == 0


@pytest.mark.parametrize("length_px", [1, 5, 15, 30])
@pytest.mark.parametrize("moved_px", [0, 3, 7])
def test_shift_of_symmetrically_blurred_photographs(length_px: int, moved_px: int) -> None:
    for photograph in photographs():
        luma = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY).astype(np.float32)
        kernel = np.zeros((31, 31), np.float32)
        cv2.line(kernel, (15 - length_px // 2, 15), (15 + length_px // 2, 15), 1)
        blurred = cv2.filter2D(luma, -1, kernel / kernel.sum())
        moved = blurred[40:-40, 40 - moved_px : -40 - moved_px]
        shift = measure_shift(luma[40:-40, 40:-40], moved)
        assert shift.x_px == pytest.approx(moved_px, abs=1)
        assert shift.y_px == pytest.approx(0, abs=1)
        assert shift.agreement > 0.9


def test_textbook_phase_correlation_would_not_do() -> None:
    """Why `measure_shift` is its own: OpenCV's answers half the blur length for a centred blur."""
    luma = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = cv2.blur(luma, (31, 1))
    window = cv2.createHanningWindow((512, 512), cv2.CV_32F)
    (x, _), _ = cv2.phaseCorrelate(luma, blurred, window)
    assert abs(x) > 8
    shift = measure_shift(luma, blurred)
    assert np.hypot(shift.x_px, shift.y_px) < 1


@pytest.mark.shared
@pytest.mark.parametrize("name", ["Istanbul", "Flower"])
def test_real_pairs_are_centred_and_sharper(name: str) -> None:
    if not SHARED_PAIRS.is_dir():
        pytest.skip("the real GOPRO pairs are not beside the checkout")
    sharp, blurred = (
        read_rgb(SHARED_PAIRS / f"{name}_{kind}.png") for kind in ("sharp", "blurred")
    )
    shift = measure_shift(
        *(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (sharp, blurred))
    )
    assert np.hypot(shift.x_px, shift.y_px) < 1
    assert shift.agreement > 0.99
    assert sharpness(sharp) > 2 * sharpness(blurred)


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (lambda image: image[..., ::-1], "with red and blue swapped"),
        (lambda image: image[:, ::-1], "mirrored left to right"),
        (lambda image: image[::-1, ::-1], "turned by 180 degrees"),
        (lambda image: 255 - image, "as negatives"),
        (lambda image: (255 * (image / 255.0) ** 2.2).astype(np.uint8), "with a second gamma"),
    ],
)
@pytest.mark.parametrize("moved", [False, True])
def test_a_mistake_in_how_sharp_images_were_saved(
    sound: Path, change: Callable[[Any], Any], mistake: str, moved: bool
) -> None:
    """Also in the layouts of others, which have no manifest."""
    without_hashes(sound)
    for path in sound.glob("train/*/sharp/*.png"):
        rewrite(path, change)
    folder = sound
    if moved:
        folder = sound.parent / "flat"
        for path in sorted(sound.glob("*/*/*/*.png")):
            split, sequence, kind = path.relative_to(sound).parts[:3]
            if kind != "blur_gamma":
                place = folder / split / ("target" if kind == "sharp" else "input")
                place.mkdir(parents=True, exist_ok=True)
                path.rename(place / f"{sequence}-{path.name}")
    found = [finding for finding in verify(folder) if finding.check == "saving"]
    assert [(f.severity, f.split) for f in found] == [("warning", "train")] * (1 if moved else 2)
    assert all(mistake in finding.message for finding in found)


@pytest.mark.parametrize("name", ["gopro_train_GOPR0372_07_00", "reds_020", "reds_027_quarter"])
def test_real_pairs_are_saved_without_mistakes(tmp_path: Path, name: str) -> None:
    source = SHARED_PAIRS.parent / "real" / name
    if not source.is_dir():
        pytest.skip("the real pairs are not beside the checkout")
    for kind in ("blur", "sharp"):
        for path in sorted((source / kind).iterdir())[::4]:
            (tmp_path / "test" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / "test" / kind / path.name).symlink_to(path)
    assert "saving" not in {finding.check for finding in verify(tmp_path)}


# --- what only shows across images ---------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 9 pairs by the program that makes them, with their frames and no manifest."""
    folder = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(("a.mp4", "b.mp4")):
        scene = Scene(SceneConfig(seed=seed, size_hw=(96, 128), n_objects=2))
        write_video(folder / "in" / name, render_frames(scene, 240, 100), 240, LOSSLESS)
    config = SynthesisConfig(test_fraction=0.5, latent=True)
    with ThreadPoolExecutor(2) as executor:
        synthesize([folder / "in"], config, out=folder / "out", executor=executor)
    for name in ("manifest.csv", "dataset.json"):
        (folder / "out" / name).unlink()
    return folder / "out"


@pytest.fixture
def foreign(clips: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clips, tmp_path / "dataset"))


def sequence_in(root: Path, split: str) -> Path:
    (folder,) = (root / split).iterdir()
    return folder


def test_clips_in_order_are_sound(foreign: Path) -> None:
    assert verify(foreign).findings == ()


@pytest.mark.parametrize(
    ("kind", "by", "said"),
    [("sharp", 1, "1 before"), ("sharp", -1, "1 after"), ("blur", 2, "2 after")],
)
def test_numbers_that_are_shifted(foreign: Path, kind: str, by: int, said: str) -> None:
    """However little moves between two images: no shift is large enough to be one by itself."""
    paths = sorted((sequence_in(foreign, "train") / kind).iterdir())
    images = [path.read_bytes() for path in paths]
    for path, image in zip(paths, images[by:] + images[:by], strict=True):
        path.write_bytes(image)
    found = [f for f in verify(foreign, VerifyConfig(max_shift_px=99)) if f.check == "frames"]
    kinds = ["blur"] if kind == "blur" else ["blur", "blur_gamma"]
    assert [f.message.split()[0] for f in found] == kinds
    assert {(f.severity, f.split) for f in found} == {("error", "train")}
    assert all(f"image {said} that of its own name" in f.message for f in found)


@pytest.mark.parametrize(("frame", "said"), [("000", "after"), ("010", "before")])
def test_sharp_images_that_are_not_the_middle(foreign: Path, frame: str, said: str) -> None:
    folder = sequence_in(foreign, "test")
    for path in (folder / "sharp").iterdir():
        shutil.copy(folder / "latent" / path.stem / f"{frame}.png", path)
    found = [f for f in verify(foreign) if f.check == "frames"]
    assert [(f.severity, f.split) for f in found] == [("warning", "test")] * 2
    assert all(f"the one {said} it" in f.message for f in found)


def test_blurred_images_of_another_sequence(foreign: Path) -> None:
    here, there = (sequence_in(foreign, split) / "blur" for split in ("train", "test"))
    here.rename(foreign / "x")
    there.rename(here)
    (foreign / "x").rename(there)
    found = [f for f in errors(foreign) if f.check == "scene"]
    assert [(f.split, f.message.split()[0]) for f in found] == [("train", "blur"), ("test", "blur")]
    assert all("blur shows " in f.message and "exchanged" in f.message for f in found)


def test_images_that_move_too_far_in_one_exposure_are_no_foreign_ones(tmp_path: Path) -> None:
    """Each frame shows something else, so that their mean is like none of them."""
    rng = np.random.default_rng(1)
    frames = [cv2.resize(image, (128, 96)) for image in rng.integers(0, 256, (44, 9, 12, 3), "u1")]
    write_video(tmp_path / "in/whip.mp4", frames, 240, LOSSLESS)
    synthesize([tmp_path / "in"], SynthesisConfig(test_fraction=0), out=tmp_path / "out")
    found = [f for f in verify(tmp_path / "out").findings if f.check == "scene" and not f.name]
    assert [(f.severity, "4 of 4" in f.message) for f in found] == [("warning", True)] * 2


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [1, 60])[1], cv2.IMREAD_COLOR),
        lambda image: image[1:-1, 1:-1],
        lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda image: image[:, ::-1],
    ],
)
def test_one_recording_under_two_names_is_in_both_splits(
    foreign: Path, change: Callable[[Any], Any]
) -> None:
    copy = foreign / "test/walk_11_00"
    shutil.copytree(sequence_in(foreign, "train"), copy)
    for path in copy.glob("*/*.png"):
        rewrite(path, change)
    found = only([f for f in verify(foreign) if f.check != "contrast"])
    assert (found.severity, found.check, found.sequence) == ("warning", "lookalike", "walk_11_00")
    assert "9 of its sharp images look like images of train" in found.message
    copy.rename(foreign / "test" / sequence_in(foreign, "train").name.replace("_00", "_01"))
    assert only(verify(foreign)).check == "recording"


@pytest.mark.parametrize("kind", ["sharp", "blur"])
def test_colours_that_one_kind_lost(foreign: Path, kind: str) -> None:
    for path in foreign.glob(f"*/*/{kind}/*.png"):
        rewrite(
            path, lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        )
    found = [f for f in verify(foreign) if f.check == "saving"]
    assert {f.split for f in found} == {"train", "test"}
    assert all(f.message.startswith(f"{kind} is grey") for f in found)


def test_sharp_images_that_were_jpeg_files(foreign: Path) -> None:
    for path in foreign.glob("test/*/sharp/*.png"):
        data = cv2.imencode(".jpg", cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        cv2.imwrite(str(path), cv2.imdecode(data, cv2.IMREAD_COLOR))
    found = only([f for f in verify(foreign) if f.check == "saving"])
    assert (found.severity, found.split) == ("info", "test")
    assert "JPEG" in found.message


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("{:04d}.png", "warning"),
        ("frame_{:06d}.png", "warning"),
        ("{:06d}.PNG", "error"),
        ("{:06d}.jpg", "error"),
    ],
)
def test_images_under_other_names_are_checked_all_the_same(
    foreign: Path, name: str, severity: str
) -> None:
    for path in foreign.glob("*/*/[bs]*/*.png"):
        path.rename(path.with_name(name.format(int(path.stem))))
    found = verify(foreign)
    assert [(f.severity, f.check) for f in found] == [(severity, "name")] * 2
    assert name.format(1) in found[0].message
    first = sequence_in(foreign, "test") / "blur" / name.format(1)
    first.write_bytes(b"")
    assert ("unreadable", first.name) in {(f.check, f.name) for f in verify(foreign)}
    first.unlink()
    assert ("missing", first.name) in {(f.check, f.name) for f in verify(foreign)}


def test_links_that_lead_nowhere_or_back(foreign: Path) -> None:
    folder = sequence_in(foreign, "train")
    (folder / "sharp/000001.png").unlink()
    for link, target in (
        (folder / "sharp/000001.png", "/absent/1.png"),
        (folder / "depth", "/absent/depth"),
        (foreign / "test/gone_11_00", "/absent/gone"),
        (foreign / "train/back_11_00", foreign / "train"),
    ):
        link.symlink_to(target)
    said = {
        "back": ("error", "layout", "back_11_00"),
        "depth": ("warning", "layout", folder.name),
        "/absent/1.png": ("error", "unreadable", folder.name),
        "/absent/gone": ("error", "layout", ""),
    }
    findings = [f for f in verify(foreign) if f.check != "name"]
    assert len(findings) == len(said)
    for word, expected in said.items():
        found = only([f for f in findings if "link" in f.message and word in f.message])
        assert (found.severity, found.check, found.sequence) == expected


def test_files_between_the_sequences(foreign: Path) -> None:
    (foreign / "train/list.txt").write_text("x")
    found = only(verify(foreign))
    assert (found.severity, found.check, found.split) == ("warning", "layout", "train")
    assert "list.txt" in found.message


# --- what the files beside the images promise ----------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset by the program that makes them."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(("a.mp4", "b.mp4")):
        scene = Scene(SceneConfig(seed=seed, size_hw=(96, 128), n_objects=1))
        write_video(folder / "in" / name, render_frames(scene, 240, 40), 240, LOSSLESS)
    config = SynthesisConfig(test_fraction=0.5)
    with ThreadPoolExecutor(2) as executor:
        synthesize([folder / "in"], config, out=folder / "out", executor=executor)
    return folder / "out"


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "dataset"))


def errors(root: Path) -> list[Finding]:
    return [finding for finding in verify(root) if finding.severity == "error"]


def test_a_dataset_of_ours_is_sound(dataset: Path) -> None:
    assert errors(dataset) == []
    assert "kinds" not in {finding.check for finding in verify(dataset)}


@pytest.mark.parametrize("copied", [False, True])
def test_kinds_of_blur_under_each_others_names(dataset: Path, copied: bool) -> None:
    """Results on the two differ by more than most papers gain."""
    for name in ("dataset.json", "manifest.csv"):
        (dataset / name).unlink()
    for folder in dataset.glob("*/*"):
        if folder.is_dir():
            (folder / "blur_gamma").rename(folder / "was_gamma")
            if copied:
                shutil.copytree(folder / "blur", folder / "blur_gamma")
                shutil.rmtree(folder / "was_gamma")
            else:
                (folder / "blur").rename(folder / "blur_gamma")
                (folder / "was_gamma").rename(folder / "blur")
    found = [finding for finding in verify(dataset) if finding.check == "kinds"]
    assert len(found) == len(list(dataset.glob("*/*/sharp")))
    message = "are the same image" if copied else "blur_gamma is darker than blur"
    assert all(message in finding.message for finding in found)


@pytest.mark.parametrize("column", MANIFEST_COLUMNS)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_wrong_value_in_any_column_is_found(dataset: Path, column: str, sealed: bool) -> None:
    """By the hash of the table, and, where there is none, from what the value must agree with."""
    path = dataset / "manifest.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    value = rows[1][column]
    try:
        rows[1][column] = f"{float(value) * 3 + 7:g}"
    except ValueError:
        rows[1][column] = f"{value[::-1]}x"
    text = io.StringIO()
    writer = csv.DictWriter(text, MANIFEST_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())
    if not sealed:  # as datasets of earlier versions are
        record = json.loads((dataset / "dataset.json").read_text())
        del record["seal_sha256"], record["files_sha256"], record["format"]
        (dataset / "dataset.json").write_text(json.dumps(record))
    found = errors(dataset)
    assert any(f.check == ("seal" if sealed else "manifest") or f.check == "hash" for f in found)
    assert all("Traceback" not in f.message for f in found)


def spoil_json(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / "dataset.json"
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    return spoil


def remove_a_set(root: Path) -> None:
    (root / "manifest.csv").unlink()
    for kind in KINDS:
        next((root / "train").rglob(f"{kind}/000002.png")).unlink()


def remove_a_kind(root: Path) -> None:
    (root / "manifest.csv").unlink()
    for folder in root.glob("*/*/blur"):
        shutil.rmtree(folder)


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "state folder": (lambda root: (root / ".synthesis").mkdir(), "unfinished"),
    "rebuild in hand": (lambda root: (root / ".unfinished").mkdir(), "unfinished"),
    "no seal": (lambda root: (root / "dataset.json").unlink(), "unfinished"),
    "emptied seal": (lambda root: (root / "dataset.json").write_text(""), "seal"),
    "half a seal": (
        lambda root: (root / "dataset.json").write_text((root / "dataset.json").read_text()[:500]),
        "seal",
    ),
    "another rate": (spoil_json(lambda record: record["sources"][0].update(rate_hz=120)), "seal"),
    "another count": (spoil_json(lambda record: record["n_pairs"].update(train=9)), "missing"),
    "another response": (
        spoil_json(lambda record: record["identity"]["config"].update(response="srgb")),
        "manifest",
    ),
    "no manifest": (lambda root: (root / "manifest.csv").unlink(), "seal"),
    "no manifest, a set gone": (remove_a_set, "missing"),
    "no manifest, a kind gone": (remove_a_kind, "missing"),
    "emptied manifest": (lambda root: (root / "manifest.csv").write_text(""), "seal"),
    "rejected.csv gone": (lambda root: (root / "rejected.csv").unlink(), "seal"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_spoiled_files_beside_the_images_are_found(dataset: Path, how: str) -> None:
    spoil, check = SPOILED[how]
    spoil(dataset)
    assert check in {finding.check for finding in errors(dataset)}
    assert exit_code_of(lambda: command(dataset, VerifyConfig())) == 1


def test_a_dataset_killed_before_its_first_image_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / ".synthesis").mkdir()
    (found,) = verify(tmp_path)
    assert (found.severity, found.check) == ("error", "unfinished")
