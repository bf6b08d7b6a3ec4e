"""Reading files of our encoder: the same pixels, and nothing that is not whole."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gopro_tools import images, png
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.png import decode_fpng

pytest.importorskip("isal")
pytest.importorskip("fpng")

MOST = 1 << 20


def drawn(height: int, width: int, kind: str) -> Rgb:
    rng = np.random.default_rng(height * 1000 + width)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "noise":  # fpng stores it as it is
        return noise
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 4)) if kind == "smooth" else noise * 0 + 9


@pytest.mark.parametrize("kind", ["noise", "smooth", "flat"])
@pytest.mark.parametrize("size_hw", [(1, 1), (3, 7), (7, 3), (64, 1), (1, 65), (90, 160)])
def test_the_pixels_are_those_of_the_general_reader(size_hw: tuple[int, int], kind: str) -> None:
    image = drawn(*size_hw, kind)
    data = encode_png(image)
    found = decode_fpng(data, MOST)
    assert found is not None
    assert np.array_equal(found, image)
    general = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(found, general)
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_a_file_with_any_byte_changed_lost_or_added_is_not_taken(kind: str) -> None:
    data = encode_png(drawn(6, 9, kind))
    for position in range(len(data)):
        for change in (1, 0x20, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= change
            assert decode_fpng(bytes(damaged), MOST) is None, position
        assert decode_fpng(data[:position], MOST) is None, position
        assert decode_fpng(data[:position] + data[position + 1 :], MOST) is None, position
    assert decode_fpng(data + b"\0", MOST) is None


def test_damage_is_said_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_png(drawn(20, 30, "smooth"))
    path = tmp_path / "image.png"
    for position in range(8, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        assert outcome(path) == without(monkeypatch, outcome, path)


def outcome(path: Path) -> str | bytes:
    try:
        return read_rgb(path).tobytes()
    except InputError as error:
        return str(error)


def without(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], str | bytes], path: Path
) -> str | bytes:
    with monkeypatch.context() as patched:
        patched.setattr(images, "decode_fpng", lambda *_: None)
        return read(path)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def made(
    raw: bytes, *, header: tuple[int, ...] = (2, 2, 8, 2, 0, 0, 0), more: bytes = b"", cut: int = 0
) -> bytes:
    """A file of 2x2 pixels with fpng's mark, right in all its checksums."""
    compressed = zlib.compress(raw)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
        + chunk(b"fdEC", bytes(5))
        + more
        + chunk(b"IDAT", compressed[: len(compressed) - cut])
        + chunk(b"IEND", b"")
    )


ROWS = bytes([0, 1, 2, 3, 4, 5, 6, 2, 255, 1, 1, 1, 1, 1])


def test_rows_as_they_are_and_from_above() -> None:
    found = decode_fpng(made(ROWS), MOST)
    assert found is not None
    assert found.tolist() == [[[1, 2, 3], [4, 5, 6]], [[0, 3, 4], [5, 6, 7]]]


@pytest.mark.parametrize(
    "data",
    [
        made(ROWS[:-1]),
        made(ROWS + b"\0"),
        made(ROWS * 1000),
        made(ROWS, cut=1),
        made(bytes([1, *ROWS[1:]])),
        made(bytes([*ROWS[:7], 4, *ROWS[8:]])),
        made(ROWS, header=(2, 0, 8, 2, 0, 0, 0)),
        made(ROWS, header=(2, 2, 16, 2, 0, 0, 0)),
        made(ROWS, header=(2, 2, 8, 6, 0, 0, 0)),
        made(ROWS, header=(2, 2, 8, 2, 0, 0, 1)),
        made(ROWS, header=(2000, 2000, 8, 2, 0, 0, 0)),
        made(ROWS, more=chunk(b"eXIf", b"MM")),
        made(ROWS, more=chunk(b"IDAT", zlib.compress(ROWS))),
    ],
)
def test_what_fpng_does_not_write_is_left_to_the_general_reader(data: bytes) -> None:
    assert decode_fpng(data, MOST) is None


def test_without_isal_the_general_reader_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "_isal", None)
    image = drawn(20, 30, "smooth")
    (tmp_path / "image.png").write_bytes(encode_png(image))
    assert decode_fpng(encode_png(image), MOST) is None
    assert np.array_equal(read_rgb(tmp_path / "image.png"), image)


def saved_by_pillow(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(drawn(90, 160, "smooth")).save(file, "PNG", **options)
    return file.getvalue()


def test_libpng_writes_nothing_of_damage_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = saved_by_pillow()
    path = tmp_path / "image.png"
    for position in range(0, len(data), len(data) // 40):
        damaged = bytearray(data)
        damaged[position] ^= 0x55
        for content in (bytes(damaged), data[:position], data[: len(data) - 12]):
            path.write_bytes(content)
            with pytest.raises(InputError, match=r"image\.png: "):
                read_rgb(path)
    assert capfd.readouterr() == ("", "")


def test_libpng_writes_nothing_of_what_decides_about_no_pixel(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = PngInfo()
    for _ in range(2):
        more.add(b"gAMA", struct.pack(">I", 45455))  # once is enough
    path = tmp_path / "image.png"
    path.write_bytes(saved_by_pillow(pnginfo=more, icc_profile=b"none of a screen" * 20))
    cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert "iCCP" in capfd.readouterr().err
    assert np.array_equal(read_rgb(path), drawn(90, 160, "smooth"))
    assert capfd.readouterr() == ("", "")
