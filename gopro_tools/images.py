"""8-bit RGB images on disk: the only module that knows OpenCV stores them as BGR.

Pixels are what a viewer shows: an image with an EXIF orientation is turned upright as it is read.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import xxhash
from numpy.typing import NDArray

from gopro_tools import png_encoder
from gopro_tools.errors import InputError
from gopro_tools.png import PNG_SIGNATURE, decode_plain_rows, plain_png

Rgb = NDArray[np.uint8]
"""An image as everything here passes it on: (H, W, 3) uint8, red first, sRGB-like code values."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

MAX_PIXELS = 2**27
"""134 million, four times an 8K frame: a file of 2 MB can name a size that takes gigabytes."""

_MAX_FILE_BYTES = 2**30

_MAX_DEPTH = 64

NO_CONTENT = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
"""Folders that archives, servers and systems put beside what people put there."""

_OTHER_COLOURS = frozenset({"CMYK", "LAB", "HSV"})
"""Modes with values that OpenCV would hand on as if they were red, green and blue."""
_UPRIGHT: Mapping[int, Callable[[Rgb], Rgb]] = MappingProxyType(
    {
        2: lambda image: image[:, ::-1],
        3: lambda image: image[::-1, ::-1],
        4: lambda image: image[::-1],
        5: lambda image: image.swapaxes(0, 1),
        6: lambda image: np.rot90(image, -1),
        7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
        8: lambda image: np.rot90(image),
    }
)
"""What each EXIF orientation asks a viewer to do; 1, and any other number, is nothing."""

# Its log repeats what the errors here say, over several lines.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_rgb(path: Path) -> Rgb:
    """Read an image file as a viewer shows it, refusing what would have to be converted silently.

    An EXIF orientation is applied. Colour profiles are not: code values are taken as they are.

    Args:
        path: A PNG, JPEG, BMP, TIFF or WebP file of at most `MAX_PIXELS`.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        InputError: The file is missing, empty, damaged, too large or no file at all, or it is
            greyscale, CMYK, has an alpha channel, several images or more than 8 bits: the message
            says which.
    """
    return decode_rgb(path, _read_bytes(path))


def decode_rgb(path: Path, data: bytes) -> Rgb:
    """The same of a file's bytes; ``path`` names them in errors."""
    image = _decode_upright(path, data)
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8 or channels != 3:
        found = f"{channels} channel(s) of {image.dtype}"
        raise InputError(
            f"{path}: 8-bit RGB was expected, found {found}. Convert it first; nothing here "
            "converts silently."
        )
    return image


def read_upright(path: Path) -> NDArray[Any]:
    """Read an image file of any depth as a viewer shows it; see `read_rgb`.

    Returns:
        (H, W) grey, (H, W, 3) RGB or (H, W, 4) with alpha, as stored: uint8, uint16 or floats.

    Raises:
        InputError: As `read_rgb`, but greyscale, alpha and depth are the caller's to judge.
    """
    return _decode_upright(path, _read_bytes(path))


def _decode_upright(path: Path, data: bytes) -> NDArray[Any]:
    ours = decode_plain_rows(data, MAX_PIXELS)
    if ours is not None:
        return ours
    # Loaded here, as datasets of ours do without it.
    from gopro_tools.image_headers import read_header

    header = read_header(path, data)
    if header.width * header.height > MAX_PIXELS:
        raise InputError(
            f"{path}: it names a size of {header.width}x{header.height} pixels; at most "
            f"{MAX_PIXELS // 1_000_000} million are read. Cut or shrink it first."
        )
    if header.mode in _OTHER_COLOURS:
        raise InputError(f"{path}: 8-bit RGB was expected, found {header.mode}. Convert it first.")
    if header.n_images > 1:
        raise InputError(
            f"{path}: one image was expected, found {header.n_images} (pages or an animation). "
            "Save each as a file of its own."
        )
    image = (
        _decoded_jpeg(path, data, grey=header.mode == "L")
        if header.is_jpeg
        else _decoded(path, data)
    )
    turn = _UPRIGHT.get(header.orientation)
    return np.ascontiguousarray(turn(image)) if turn else image


def _decoded(path: Path, data: bytes) -> NDArray[Any]:
    plain = plain_png(data) if data.startswith(PNG_SIGNATURE) else data
    try:
        image: Any = cv2.imdecode(np.frombuffer(plain or b"", np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        image = None
    if image is None:
        from gopro_tools.image_headers import unreadable

        raise unreadable(path, data)
    if image.ndim == 3 and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.asarray(image)


def _decoded_jpeg(path: Path, data: bytes, *, grey: bool) -> Rgb:
    """The pixels OpenCV gives, by a reader that does not keep libjpeg's complaints to itself.

    OpenCV and Pillow fill what is damaged with whatever decodes, and say nothing of it.
    """
    import simplejpeg

    try:
        image = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB", strict=True)
    except (ValueError, MemoryError) as error:
        raise InputError(
            f"{path}: the JPEG file is damaged or cut off ({error}); copy or make it again."
        ) from error
    return np.asarray(image[:, :, 0] if grey else image)


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise InputError(f"{path}: an image file was expected, found something that is none.")
        if status.st_size > _MAX_FILE_BYTES:
            raise InputError(
                f"{path}: the file has {status.st_size:,} bytes; at most {_MAX_FILE_BYTES:,} are "
                "read as one image."
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if path.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: a link to {path.readlink()}, which is not there; repair or remove it."
            ) from error
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read ({reason}).") from error
    if not data:
        raise InputError(f"{path}: the file is empty; an 8-bit RGB image was expected.")
    return data


def no_images(folder: Path) -> InputError:
    """The error for a folder without images, which names what lies there instead."""
    try:
        others = Counter(
            entry.suffix.lower() or "without suffix"
            for entry in folder.iterdir()
            if entry.is_file() and not entry.name.startswith(".")
        )
    except OSError:
        others = Counter()
    found = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(3))
    return InputError(
        f"{folder}: no images there ({', '.join(sorted(IMAGE_SUFFIXES))})"
        + (f"; found {found}. Convert or unpack these first." if found else ".")
    )


def find_images(folder: Path) -> dict[PurePosixPath, Path]:
    """`find_files` of `IMAGE_SUFFIXES`: the images in a folder, by their path inside it."""
    return find_files(folder, IMAGE_SUFFIXES)


def find_files(
    folder: Path, suffixes: frozenset[str], *, any_name: bool = False
) -> dict[PurePosixPath, Path]:
    """Files of some suffixes inside a folder at any depth, by their path inside it.

    Links are followed, and a folder that contains itself is entered once. What is hidden (a name
    that starts with a dot) and `NO_CONTENT` are left out. A link that leads nowhere is listed: it
    stands for an image, and reading it says what is wrong.

    Args:
        folder: Where to look.
        suffixes: In lower case, with the dot.
        any_name: Take names that no table could hold, too.

    Raises:
        InputError: There is no such folder, it cannot be looked into, or a name has control
            characters or is not UTF-8.
    """
    found: dict[PurePosixPath, Path] = {}
    _collect(folder, suffixes, PurePosixPath(), frozenset(), found)
    for inside, path in found.items():
        if not any_name and not (path.name.isprintable() and _is_utf8(str(inside))):
            raise InputError(
                f"{path.parent}: the name {path.name!r} has control characters or is not UTF-8; "
                "rename the file."
            )
    return found


def _collect(
    folder: Path,
    suffixes: frozenset[str],
    inside: PurePosixPath,
    above: frozenset[tuple[int, int]],
    found: dict[PurePosixPath, Path],
) -> None:
    try:
        status = folder.stat()
        place = (status.st_dev, status.st_ino)
        if place in above:
            return  # a link back to a folder that this one lies in
        if len(above) > _MAX_DEPTH:
            raise InputError(f"{folder}: more than {_MAX_DEPTH} folders deep.")
        entries = sorted(folder.iterdir())
    except OSError as error:
        if not folder.is_dir() and inside == PurePosixPath():
            what = "images" if suffixes == IMAGE_SUFFIXES else "files"
            raise InputError(
                f"{folder}: a folder of {what} was expected, and there is none."
            ) from error
        raise InputError(f"{folder}: cannot be looked into ({error.strerror}).") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name in NO_CONTENT:
            continue
        if os.path.isdir(entry):  # noqa: PTH112 - Path's own raises where a link leads to itself
            _collect(entry, suffixes, inside / entry.name, above | {place}, found)
        elif entry.suffix.lower() in suffixes:
            found[inside / entry.name] = entry


def other_kinds(folder: Path, known: frozenset[str]) -> list[str]:
    """Suffixes of the files at any depth of a folder that are not among ``known``."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return sorted({path.suffix.lower() for path in files} - known - {""})


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_png(image: Rgb) -> bytes:
    """PNG bytes of an (H, W, 3) uint8 RGB image, lossless, as fast as this machine can.

    The pixels are what counts: the bytes depend on the encoder, so compare `pixel_hash`.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"(H, W, 3) uint8 was expected, found {image.shape} {image.dtype}")
    return png_encoder.encode(image)


def encode_jpeg(image: Rgb, quality: int) -> bytes:
    """JPEG bytes of an (H, W, 3) uint8 RGB image, colours at full resolution."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def pixel_hash(image: Rgb) -> str:
    """XXH3-128 of the pixels (row by row, RGB) in hexadecimal: the same for any PNG encoder."""
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(image).data)


def sharpness(image: Rgb) -> float:
    """Variance of the Laplacian of the luma (BT.601): falls as an image blurs, rises with noise."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(gray, cv2.CV_16S)
    # What cv2.meanStdDev gives, in a seventh of its time: both sums are whole numbers.
    share = 1 / edges.size
    mean = cv2.sumElems(edges)[0] * share
    square = round(cv2.norm(edges, cv2.NORM_L2SQR))
    return float(np.sqrt(max(square * share - mean * mean, 0.0)) ** 2)
