"""Reading images: what a viewer shows, and a sentence for everything that is none."""

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from tiny_dataset import smooth_image

from gopro_tools.errors import InputError
from gopro_tools.images import (
    MAX_PIXELS,
    Rgb,
    encode_png,
    find_images,
    no_images,
    read_rgb,
    read_upright,
    sharpness,
)

SAVED: Mapping[str, Mapping[str, Any]] = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
}


def picture() -> Rgb:
    return smooth_image(np.random.default_rng(0), (24, 40))


def save_turned(path: Path, image: Rgb, fmt: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(path, fmt, exif=exif, **SAVED[fmt])


@pytest.mark.parametrize("fmt", SAVED)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_read_as_a_viewer_shows_it(tmp_path, fmt, orientation):
    path = tmp_path / "image"
    save_turned(path, picture(), fmt, orientation)
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    found = read_rgb(path)
    assert found.shape == shown.shape
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - shown).max() <= (1 if fmt == "JPEG" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_passed_over(tmp_path, orientation):
    save_turned(tmp_path / "a.png", picture(), "PNG", orientation)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), picture())


def test_an_orientation_after_the_pixels_of_a_png_counts(tmp_path):
    save_turned(tmp_path / "a.png", picture(), "PNG", 3)
    data = (tmp_path / "a.png").read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    rest = data[:start] + data[end:]
    (tmp_path / "a.png").write_bytes(rest[:-12] + data[start:end] + rest[-12:])
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), picture()[::-1, ::-1])


def test_damaged_exif_does_not_hide_an_image(tmp_path):
    Image.fromarray(picture()).save(
        tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\xff\xff", quality=99
    )
    assert read_rgb(tmp_path / "a.jpg").shape == picture().shape


@pytest.mark.parametrize(
    ("mode", "fmt", "says"),
    [
        ("L", "PNG", "1 channel"),
        ("L", "JPEG", "1 channel"),
        ("RGBA", "PNG", "4 channel"),
        ("I;16", "PNG", "uint16"),
        ("CMYK", "JPEG", "CMYK"),
        ("CMYK", "TIFF", "CMYK"),
        ("LAB", "TIFF", "LAB"),
        ("1", "PNG", "1 channel"),
    ],
)
def test_what_would_have_to_be_converted_is_refused_by_name(tmp_path, mode, fmt, says):
    path = tmp_path / "image"
    image = Image.new("I;16", (8, 8)) if mode == "I;16" else Image.new(mode, (8, 8))
    image.save(path, fmt)
    with pytest.raises(InputError, match=says):
        read_rgb(path)


@pytest.mark.parametrize("fmt", ["TIFF", "PNG", "WEBP"])
def test_several_images_in_one_file_are_refused(tmp_path, fmt):
    pages = [Image.fromarray(np.roll(picture(), i, axis=1)) for i in range(3)]
    pages[0].save(tmp_path / "pages", fmt, save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="found 3"):
        read_rgb(tmp_path / "pages")


def huge_png(side: int) -> bytes:
    """A few kilobytes that say they are side x side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10_000, 9)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def huge(fmt: str, side: int) -> bytes:
    """The header of a small file, with another size written over its own."""
    if fmt == "PNG":
        return huge_png(side)
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, fmt, **SAVED.get(fmt, {}))
    data = bytearray(buffer.getvalue())
    if fmt == "BMP":
        data[18:26] = struct.pack("<ii", side, side)
    elif fmt == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", side, side)
    elif fmt == "TIFF":
        for tag, old in ((256, 40), (257, 24)):
            for kind, packed in ((3, "<HHIHH"), (4, "<HHII")):
                entry = struct.pack(packed, *((tag, kind, 1, old, 0)[: 5 if kind == 3 else 4]))
                data = data.replace(entry, struct.pack("<HHII", tag, 4, 1, side))
    return bytes(data)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "BMP", "TIFF"])
def test_a_small_file_that_names_a_huge_size_takes_no_memory(tmp_path, fmt):
    path = tmp_path / "image"
    path.write_bytes(huge(fmt, 28_000))
    assert MAX_PIXELS < 28_000**2
    with pytest.raises(InputError, match="28000x28000"):
        read_rgb(path)


def test_a_pipe_a_folder_and_a_broken_link_are_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    for name, says in (("pipe", "none"), ("folder", "none"), ("link", "not there"), ("no", "read")):
        with pytest.raises(InputError, match=says):
            read_rgb(tmp_path / f"{name}.png")


@pytest.mark.parametrize("fmt", [*SAVED, "BMP"])
def test_a_damaged_image_is_one_sentence(tmp_path, fmt):
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, fmt, **SAVED.get(fmt, {}))
    data = buffer.getvalue()
    path = tmp_path / "image"
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data[: rng.integers(1, len(data))] if rng.random() < 0.5 else data)
        for at in rng.integers(0, len(damaged), 4):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            assert read_rgb(path).ndim == 3


def test_png_is_read_as_it_was_written(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(picture()))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), picture())


JPEGS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"quality": 90},
    "full colour": {"quality": 95, "subsampling": 0},
    "progressive": {"quality": 90, "progressive": True},
    "restart markers": {"quality": 90, "restart_marker_rows": 1},
    "stored as RGB": {"quality": 95, "keep_rgb": True},
}


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = smooth_image(np.random.default_rng(0), (64, 96))
    Image.fromarray(image).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", JPEGS)
def test_jpeg_has_the_pixels_that_opencv_reads(tmp_path, kind, mode):
    (tmp_path / "a.jpg").write_bytes(jpeg(mode, **JPEGS[kind]))
    found = read_upright(tmp_path / "a.jpg")
    expected = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, expected if mode == "L" else expected[:, :, ::-1])


def _cut_inside(data: bytearray, at: int) -> None:
    data[at : at + 2] = b"\xff\xd9"  # "end of image"


def _skip(data: bytearray, at: int) -> None:
    del data[at : at + 300]


def _repeat(data: bytearray, at: int) -> None:
    data[at:at] = data[at - 60 : at]


def _wrong_restart(data: bytearray, at: int) -> None:
    marker = data.index(b"\xff\xd2", at - 400)
    data[marker + 1] = 0xD5


@pytest.mark.parametrize("damage", [_cut_inside, _skip, _repeat, _wrong_restart])
def test_damaged_jpeg_data_that_decoders_patch_are_refused(tmp_path, damage):
    """OpenCV and Pillow read each of these as an image, without a word."""
    data = bytearray(jpeg(quality=95, restart_marker_rows=1))
    damage(data, len(data) * 2 // 3)
    (tmp_path / "a.jpg").write_bytes(data)
    assert cv2.imread(str(tmp_path / "a.jpg")) is not None
    with pytest.raises(InputError, match="damaged or cut off"):
        read_rgb(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"GIF89a", "GIF"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x18ftypmp42", "video"),
        (b"P6\n640 480\n255\n", "Netpbm"),
        (b"\x93NUMPY\x01\0", "NumPy"),
        (b"PK\3\4", "ZIP"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "git lfs pull"),
        (b"\r\n<!DOCTYPE html><html><title>Quota exceeded</title>", "web page"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path, start, kind):
    (tmp_path / "a.png").write_bytes(start + bytes(100))
    with pytest.raises(InputError, match=kind):
        read_rgb(tmp_path / "a.png")


def test_bigtiff_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", bigtiff=True)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), picture())


def test_tiff_in_tiles_with_an_orientation_is_refused(tmp_path):
    """libtiff turns each tile by itself."""
    image = smooth_image(np.random.default_rng(0), (96, 128))
    for orientation in (1, 6):
        tifffile.imwrite(tmp_path / f"{orientation}.tif", image, photometric="rgb", tile=(32, 32),
                         extratags=[(274, 3, 1, orientation, True)])  # fmt: skip
    np.testing.assert_array_equal(read_rgb(tmp_path / "1.tif"), image)
    with pytest.raises(InputError, match="a tiled TIFF"):
        read_rgb(tmp_path / "6.tif")


def test_a_folder_without_images_says_what_it_has(tmp_path):
    for name in ("a.npy", "b.npy", "c.zip", ".hidden"):
        (tmp_path / name).touch()
    assert "found 2 .npy, 1 .zip" in str(no_images(tmp_path))
    assert "found" not in str(no_images(tmp_path / "gone"))


def test_what_archives_and_servers_add_is_passed_over(tmp_path):
    for name in ("a.png", "._a.png", "__MACOSX/a.png", "x/@eaDir/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(map(str, find_images(tmp_path))) == ["a.png"]


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 257), (120, 90), (1000, 1400)])
def test_sharpness_is_the_variance_of_the_laplacian(size_hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3)).astype(np.uint8)
    edges = cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_16S)
    assert sharpness(image) == cv2.meanStdDev(edges)[1][0, 0] ** 2
    assert sharpness(image) == pytest.approx(edges.astype(np.float64).var())
