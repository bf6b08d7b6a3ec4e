"""Results that were saved or named wrongly are doubted by name, and others are not."""

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_dataset import smooth_image

from gopro_tools.evaluate import EvaluateConfig, Evaluation, Sources, evaluate
from gopro_tools.images import Rgb, encode_png
from gopro_tools.jpeg_traces import LEAST_TRACE, jpeg_trace
from gopro_tools.records import read_record

SIZE_HW = (96, 96)
N_IMAGES = 12
FAST = EvaluateConfig(protocol=("psnr_rgb",), n_resamples=10)


def codes(values: np.ndarray) -> Rgb:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def blurred(image: Rgb, sigma: float) -> Rgb:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))


def textured(rng: np.random.Generator) -> Rgb:
    fine = cv2.resize(rng.normal(0, 25, (48, 48, 3)), SIZE_HW, interpolation=cv2.INTER_NEAREST)
    return codes(smooth_image(rng, SIZE_HW) * 0.8 + 25 + fine)


@pytest.fixture(scope="module")
def sharp() -> list[Rgb]:
    rng = np.random.default_rng(0)
    return [textured(rng) for _ in range(N_IMAGES)]


def write(folder: Path, images: Iterable[Rgb]) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images, start=1):
        (folder / f"{number:06d}.png").write_bytes(encode_png(np.ascontiguousarray(image)))
    return folder


def doubts(
    tmp_path: Path,
    sharp: list[Rgb],
    results: Iterable[Rgb],
    blur: Callable[[Rgb], Rgb] = lambda image: blurred(image, 3),
) -> Evaluation:
    sources = Sources(
        sharp=write(tmp_path / "sharp", sharp),
        blurred=write(tmp_path / "blurred", map(blur, sharp)),
        restored=(f"m={write(tmp_path / 'm', results)}",),
    )
    return evaluate(sources, FAST, out=tmp_path / "out")


def moved(image: Rgb, right: int, down: int) -> Rgb:
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return np.asarray(cv2.warpAffine(image, matrix, SIZE_HW[::-1], borderMode=cv2.BORDER_REPLICATE))


MISTAKES: dict[str, Callable[[Rgb], Rgb]] = {
    "red and blue swapped": lambda image: image[..., ::-1],
    "mirrored left to right": lambda image: image[:, ::-1],
    "mirrored top to bottom": lambda image: image[::-1],
    "turned by 180 degrees": lambda image: image[::-1, ::-1],
    "turned left by 90": lambda image: np.rot90(image),
    "turned right by 90": lambda image: np.rot90(image, -1),
    "negatives": lambda image: 255 - image,
    r"in limited range \(16 to 235\)": lambda image: codes(image * (219 / 255) + 16),
    "stretched as if": lambda image: codes((image - 16.0) * (255 / 219)),
    "not multiplied by 255": lambda image: (image / 255).astype(np.uint8),
    "from -1 to 1 saved as if from 0": lambda image: codes(2.0 * image - 255),
    "from 0 to 1 saved as if from -1": lambda image: codes((image + 255.0) / 2),
    "second gamma": lambda image: codes(255 * (image / 255) ** (1 / 2.2)),
    "linear light": lambda image: codes(255 * (image / 255) ** 2.2),
    "channels in the order BRG": lambda image: image[..., [2, 0, 1]],
    "channels in the order RBG": lambda image: image[..., [0, 2, 1]],
    "as Y, Cr and Cb": lambda image: np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)),
    "in other brightness, contrast or colours": lambda image: codes(image * [1.2, 1.0, 0.7] + 9),
    "moved 2 px right and 1 px up": lambda image: moved(image, 2, -1),
    "moved 9 px down": lambda image: moved(image, 0, 9),
}


@pytest.mark.parametrize("said", MISTAKES)
@pytest.mark.parametrize("left_px", [0.0, 0.45])
def test_a_mistake_is_named(tmp_path: Path, sharp: list[Rgb], said: str, left_px: float) -> None:
    bright = [codes(image * 0.5 + 120) for image in sharp] if "multiplied" in said else sharp
    bright = [np.maximum(image, np.where(image > 240, 255, 0)).astype(np.uint8) for image in bright]
    restored = [blurred(image, left_px) if left_px else image for image in bright]
    evaluation = doubts(tmp_path, bright, map(MISTAKES[said], restored))
    with_it = evaluation.doubts
    assert len(with_it) == 1, with_it
    assert re.search(rf"m: more like the sharp images .*{said}", with_it[0])
    # It is said in the record and to people, and the score stays what it is.
    assert read_record(tmp_path / "out").results["doubts"] == list(with_it)
    assert f"Doubtful: {with_it[0]}" in (tmp_path / "out/summary.md").read_text()
    expected = [
        10 * np.log10(255**2 / np.square(MISTAKES[said](a).astype(float) - b).mean())
        for a, b in zip(restored, bright, strict=True)
    ]
    assert evaluation.scores[1, :, 0] == pytest.approx(expected)


@pytest.mark.parametrize("order", ["one on", "as text", "backwards"])
def test_results_of_other_images_are_named(tmp_path: Path, sharp: list[Rgb], order: str) -> None:
    numbers = list(range(N_IMAGES))
    taken = {
        "one on": numbers[1:] + numbers[:1],
        "as text": sorted(numbers, key=lambda i: str(i + 1)),
        "backwards": numbers[::-1],
    }[order]
    (said,) = doubts(tmp_path, sharp, (blurred(sharp[i], 0.6) for i in taken)).doubts
    looked_at = next(i for i in (0, 3, 6, 8, 11) if taken[i] != i)
    expected = f"{looked_at + 1:06d}.png is like {taken[looked_at] + 1:06d}.png"
    assert f"of other names ({expected}" in said


METHODS: dict[str, Callable[[Rgb], Rgb]] = {
    "restores": lambda image: blurred(image, 0.7),
    "nearly nothing done": lambda image: blurred(image, 2.9),
    "blurs more": lambda image: blurred(image, 8),
    "blurs much more": lambda image: blurred(image, 20),
    "noisy": lambda image: codes(
        blurred(image, 3) + np.random.default_rng(1).normal(0, 40, image.shape)
    ),
    "brighter": lambda image: codes(blurred(image, 3) + 8.0),
    "more contrast": lambda image: codes((blurred(image, 1) - 128.0) * 1.05 + 128),
    "a tenth of a pixel off": lambda image: shifted(image, 0.1),
}


def shifted(image: Rgb, by_px: float) -> Rgb:
    matrix = np.array([[1, 0, by_px], [0, 1, by_px]], np.float32)
    return np.asarray(cv2.warpAffine(image, matrix, SIZE_HW[::-1], borderMode=cv2.BORDER_REFLECT))


@pytest.mark.parametrize("name", METHODS)
def test_a_bad_method_is_no_mistake(tmp_path: Path, sharp: list[Rgb], name: str) -> None:
    assert doubts(tmp_path, sharp, map(METHODS[name], sharp)).doubts == ()


def test_images_of_one_value_are_named(tmp_path: Path, sharp: list[Rgb]) -> None:
    assert doubts(tmp_path, sharp, (np.full_like(image, 7) for image in sharp)).doubts == (
        "m: 11 of 12 images are copies of others.",
        "m: nothing but one value in each of 5 images looked at.",
    )


def without_tile(image: Rgb) -> Rgb:
    tile = np.zeros((24, 24, 3), np.uint8)
    return np.vstack([np.hstack([tile, image[:24, 24:]]), image[24:]])


def padded(image: Rgb) -> Rgb:
    return np.pad(image[8:-8, 8:-8], ((8, 8), (8, 8), (0, 0)))


def resized(image: Rgb, height: int, width: int) -> Rgb:
    """As a network sees it that takes other sizes, and is resized to fit."""
    inside = np.pad(image, ((0, 40), (0, 40), (0, 0)), mode="edge")[:height, :width]
    return np.asarray(cv2.resize(inside, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC))


FAULTS: dict[str, Callable[[Rgb], Rgb]] = {
    r"worse than one flat value in \d\.\d % of the area": without_tile,
    r"worse than one flat value in \d\d\.\d % of the area": padded,
    r"flat value in \d+\.\d % of the area, .*values that wrapped": lambda image: (
        image.astype(int) + 60
    ).astype(np.uint8),
    "a fraction of a pixel too far right and down": lambda image: shifted(image, 0.5),
    r"only \d+ colours where": lambda image: codes(image // 64 * 64.0 + 32),
    "grey, where the sharp images have colours": lambda image: np.dstack([image[..., 1]] * 3),
    "cut to 95x95 and resized": lambda image: resized(image, 95, 95),
    "cut to 64x64 and resized": lambda image: resized(image, 64, 64),
    "padded to 128x128 and resized": lambda image: resized(image, 128, 128),
}


@pytest.mark.parametrize("said", FAULTS)
def test_what_is_wrong_with_every_image_is_named(
    tmp_path: Path, sharp: list[Rgb], said: str
) -> None:
    found = doubts(tmp_path, sharp, (FAULTS[said](blurred(image, 0.6)) for image in sharp)).doubts
    assert any(re.search(said, line) for line in found), found


UNLIKE: dict[str, Callable[[Rgb], Rgb]] = {
    "no more detail than at half the size": lambda image: np.asarray(
        cv2.resize(cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA), SIZE_HW[::-1])
    ),
    "none of the usual mistakes explains it": lambda image: np.random.default_rng(
        int(image.sum())
    ).integers(0, 256, image.shape, np.uint8),
    "than the blurred images: so close to the sharp ones": lambda image: codes(
        image + np.random.default_rng(1).integers(-1, 2, image.shape)
    ),
}


@pytest.mark.parametrize("said", UNLIKE)
def test_what_no_method_makes_is_named(tmp_path: Path, sharp: list[Rgb], said: str) -> None:
    rng = np.random.default_rng(2)
    sharp = [codes(image + rng.normal(0, 15, image.shape)) for image in sharp]
    found = doubts(
        tmp_path, sharp, map(UNLIKE[said], sharp), lambda image: np.asarray(cv2.blur(image, (7, 1)))
    ).doubts
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize("size_wh", [(3, 1), (1, 3), (5, 1), (1, 5), (3, 3), (5, 5)])
@pytest.mark.parametrize("noise", [0, 20])
def test_results_that_are_merely_soft_are_not_doubted(
    tmp_path: Path, sharp: list[Rgb], size_wh: tuple[int, int], noise: float
) -> None:
    """Resizing softens as well, so rests of motion blur make results like resized ones."""
    rng = np.random.default_rng(1)
    grainy = [codes(image + rng.normal(0, noise, image.shape)) for image in sharp]
    assert doubts(tmp_path, grainy, (cv2.blur(image, size_wh) for image in grainy)).doubts == ()


def test_single_images_that_fail_are_named(tmp_path: Path, sharp: list[Rgb]) -> None:
    restored = [blurred(image, 0.6) for image in sharp]
    restored[1] = restored[1] // 255
    evaluation = doubts(tmp_path, sharp, restored)
    scores = evaluation.scores[:, 1, 0]
    assert evaluation.doubts == (
        "m: 1 of 12 images are more than 10 dB below their blurred ones, such as 000002.png "
        f"({scores[1]:.2f} and {scores[0]:.2f} dB).",
    )


def test_copies_are_named(tmp_path: Path, sharp: list[Rgb]) -> None:
    """Results that are the truth, the input, each other, or one image under many names."""
    input_images = [blurred(image, 3) for image in sharp]
    good = [blurred(image, 0.6) for image in sharp]
    folders = {
        "truth": sharp,
        "input": input_images,
        "partly": input_images[:2] + good[2:],
        "one": [good[3]] * N_IMAGES,
        "good": good,
        "again": good,
    }
    sources = Sources(
        sharp=write(tmp_path / "sharp", sharp),
        blurred=write(tmp_path / "blurred", input_images),
        restored=tuple(f"{name}={write(tmp_path / name, of)}" for name, of in folders.items()),
    )
    found = evaluate(sources, FAST).doubts
    assert [line for line in found if "more like" not in line and "below" not in line] == [
        "truth: 12 of 12 images are the sharp ones themselves.",
        "input: 12 of 12 images are the blurred ones, unchanged.",
        "partly: 2 of 12 images are the blurred ones, unchanged.",
        "one: 11 of 12 images are copies of others.",
        "good: all images are those of again.",
    ]


def test_moments_without_motion_are_no_copies(tmp_path: Path, sharp: list[Rgb]) -> None:
    """There the input is the truth, and may repeat."""
    images = [sharp[0]] * 3 + sharp[:3]
    sources = Sources(
        sharp=write(tmp_path / "sharp", images),
        blurred=write(tmp_path / "blurred", images),
        restored=(f"m={write(tmp_path / 'm', images)}",),
    )
    assert evaluate(sources, FAST).doubts == ()


LOSSY: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG (steps of up to 61)": (".jpg", {"quality": 75}),
    "JPEG (steps of up to 12)": (".jpeg", {"quality": 95}),
    "lossy WebP": (".webp", {"quality": 90}),
    "lossy WebP ": (".webp", {"quality": 90, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
    "TIFF (jpeg)": (".tif", {"compression": "jpeg", "quality": 80}),
    "": (".jpg", {"quality": 100}),
    " ": (".webp", {"lossless": True}),
    "  ": (".tif", {"compression": "tiff_lzw"}),
    "   ": (".bmp", {}),
}


@pytest.mark.parametrize("said", LOSSY)
def test_files_that_lose_detail_are_named(tmp_path: Path, sharp: list[Rgb], said: str) -> None:
    suffix, options = LOSSY[said]
    (tmp_path / "m").mkdir()
    for number, image in enumerate(sharp, start=1):
        result = Image.fromarray(blurred(image, 0.6))
        result.save(tmp_path / "m" / f"{number:06d}{suffix}", **options)
    sources = Sources(
        sharp=write(tmp_path / "sharp", sharp),
        blurred=write(tmp_path / "blurred", (blurred(image, 3) for image in sharp)),
        restored=(f"m={tmp_path / 'm'}",),
    )
    found = [line for line in evaluate(sources, FAST).doubts if "lost detail" in line]
    expected = f"m: {said.strip()} files that lost detail as they were saved"
    assert [line.partition(";")[0] for line in found] == ([expected] if said.strip() else [])


def through_jpeg(image: Rgb, quality: int) -> Rgb:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=quality)
    return np.array(Image.open(data))


@pytest.mark.parametrize("quality", [95, 85, 60])
def test_jpeg_files_turned_into_png_are_named(
    tmp_path: Path, sharp: list[Rgb], quality: int
) -> None:
    softer = [blurred(image, 0.6) for image in sharp]
    assert not any(jpeg_trace(image) > LEAST_TRACE for image in softer)
    found = doubts(tmp_path, sharp, [through_jpeg(image, quality) for image in softer]).doubts
    assert any("JPEG files that were later" in line for line in found)


def test_traces_of_jpeg_in_the_blurred_images_are_no_doubt(
    tmp_path: Path, sharp: list[Rgb]
) -> None:
    """What a network that changes little leaves of them."""
    results = [through_jpeg(blurred(image, 1), 80) for image in sharp]
    found = doubts(tmp_path, sharp, results, lambda image: through_jpeg(blurred(image, 1.2), 80))
    assert not any("JPEG" in line for line in found.doubts)


def test_images_smaller_than_a_block_are_looked_at(tmp_path: Path) -> None:
    small = [image[:5, :30] for image in map(textured, map(np.random.default_rng, range(3)))]
    assert doubts(tmp_path, small, (blurred(image, 0.7) for image in small)).doubts == ()
