"""Files of our encoder: any reader sees the same pixels, and ours takes none that is not whole."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gopro_tools import images, png
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.png import MARK, decode_plain_rows

pytest.importorskip("isal")

MOST = 1 << 20


def drawn(height: int, width: int, kind: str) -> Rgb:
    rng = np.random.default_rng(height * 1000 + width)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "noise":
        return noise
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 4)) if kind == "smooth" else noise * 0 + 9


@pytest.mark.parametrize("kind", ["noise", "smooth", "flat"])
@pytest.mark.parametrize("size_hw", [(1, 1), (3, 7), (7, 3), (64, 1), (1, 65), (90, 160)])
def test_the_pixels_are_those_of_the_general_reader(size_hw: tuple[int, int], kind: str) -> None:
    image = drawn(*size_hw, kind)
    data = encode_png(image)
    found = decode_plain_rows(data, MOST)
    assert found is not None
    assert np.array_equal(found, image)
    general = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(found, general)
    assert found.flags.c_contiguous
    assert found.flags.writeable


def read_by_all(data: bytes) -> list[Rgb]:
    """The image as OpenCV, Pillow, zlib with the rows' sums, and our own reader give it."""
    opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    pillow = np.asarray(Image.open(io.BytesIO(data)))
    height, width = pillow.shape[:2]
    at = data.index(b"IDAT")
    body = data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at])]
    stored = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)
    assert (stored[:, 0] == 2).all()
    summed = np.cumsum(stored[:, 1:], axis=0, dtype=np.uint8).reshape(height, width, 3)
    ours = decode_plain_rows(data, 1 << 27)
    assert ours is not None
    return [np.asarray(opencv, np.uint8), pillow, summed, ours]


@st.composite
def images_with_runs(draw: st.DrawFn) -> Rgb:
    """Noise of few or many values, in which rectangles and single pixels repeat the row above."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = rng.integers(0, draw(st.sampled_from([1, 2, 5, 40, 256])), (height, width, 3), np.uint8)
    for _ in range(draw(st.integers(0, 4))):
        top, left = rng.integers(0, height), rng.integers(0, width)
        image[top:, left : left + rng.integers(1, width + 1)] = image[top, left]
    return image


@given(images_with_runs())
def test_every_reader_gives_the_image_back(image: Rgb) -> None:
    data = encode_png(image)
    assert all(np.array_equal(found, image) for found in read_by_all(data))
    assert encode_png(image) == data


@pytest.mark.parametrize("n_zeros", [*range(1, 40), *range(250, 290), 510, 3000])
def test_runs_of_any_length(n_zeros: int) -> None:
    row = np.full((1, n_zeros + 25, 3), 200, np.uint8)
    row[0, 11:-11] = 0  # in the first row, values are stored as they are
    assert all(np.array_equal(found, row) for found in read_by_all(encode_png(row)))


@pytest.mark.parametrize("ratio", [1.0, 1.3, 1.6, 2.0, 3.0])
def test_symbols_that_are_much_rarer_than_others(ratio: float) -> None:
    """Huffman's codes would be longer than deflate allows, from Fibonacci's ratio on."""
    counts = np.minimum(ratio ** np.arange(30), 200_000).astype(np.int64)
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(1, 31), counts))
    steps = np.resize(values, (-(-len(values) // 300), 100, 3))
    image = np.cumsum(steps, axis=0).astype(np.uint8)
    assert all(np.array_equal(found, image) for found in read_by_all(encode_png(image)))


def test_sizes_are_those_of_what_the_image_holds() -> None:
    """A long image's codes are made from a sixteenth of it, wherever that is."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (720, 1280, 3), np.uint8)
    assert len(encode_png(noise)) < 1.01 * noise.size
    assert len(encode_png(np.full((720, 1280, 3), 77, np.uint8))) < 0.003 * noise.size
    steps = np.rint(rng.laplace(0, 6, noise.shape)).astype(np.int64)
    image = np.cumsum(steps, axis=0).astype(np.uint8)
    shares = np.unique(steps & 255, return_counts=True)[1] / noise.size
    least = -(shares * np.log2(shares)).sum() * noise.size / 8  # Shannon
    assert len(encode_png(image)) < 1.03 * least
    assert np.array_equal(decode_plain_rows(encode_png(image), MOST), image)


def test_images_that_are_none() -> None:
    for shape in ((0, 4, 3), (4, 0, 3), (4, 4), (4, 4, 4)):
        with pytest.raises(ValueError, match="uint8 was expected"):
            encode_png(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_a_file_with_any_byte_changed_lost_or_added_is_not_taken(kind: str) -> None:
    data = encode_png(drawn(6, 9, kind))
    for position in range(len(data)):
        for change in (1, 0x20, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= change
            assert decode_plain_rows(bytes(damaged), MOST) is None, position
        assert decode_plain_rows(data[:position], MOST) is None, position
        assert decode_plain_rows(data[:position] + data[position + 1 :], MOST) is None, position
    assert decode_plain_rows(data + b"\0", MOST) is None


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
        patched.setattr(images, "decode_plain_rows", lambda *_: None)
        return read(path)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def made(
    raw: bytes,
    *,
    mark: bytes = MARK,
    header: tuple[int, ...] = (2, 2, 8, 2, 0, 0, 0),
    more: bytes = b"",
    cut: int = 0,
) -> bytes:
    """A file of 2x2 pixels with our mark, right in all its checksums."""
    compressed = zlib.compress(raw)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
        + chunk(mark, b"")
        + more
        + chunk(b"IDAT", compressed[: len(compressed) - cut])
        + chunk(b"IEND", b"")
    )


ROWS = bytes([0, 1, 2, 3, 4, 5, 6, 2, 255, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("mark", [MARK, b"fdEC"])
def test_rows_as_they_are_and_from_above(mark: bytes) -> None:
    found = decode_plain_rows(made(ROWS, mark=mark), MOST)
    assert found is not None
    assert found.tolist() == [[[1, 2, 3], [4, 5, 6]], [[0, 3, 4], [5, 6, 7]]]


@pytest.mark.parametrize(
    "data",
    [
        made(ROWS, mark=b"upRx"),
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
def test_what_our_encoder_does_not_write_is_left_to_the_general_reader(data: bytes) -> None:
    assert decode_plain_rows(data, MOST) is None


def test_without_isal_the_general_reader_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "_isal", None)
    image = drawn(20, 30, "smooth")
    (tmp_path / "image.png").write_bytes(encode_png(image))
    assert decode_plain_rows(encode_png(image), MOST) is None
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
