"""A folder of numbered images, one sequence of frames."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, read_upright
from gopro_tools.jpeg_traces import LEAST_TRACE, jpeg_trace
from gopro_tools.mistakes import chosen
from gopro_tools.video.geometry import Geometry
from gopro_tools.video.pictures import Look
from gopro_tools.video.source import FrameProblem, Problem, SourceInfo
from gopro_tools.video.stills import color_of_still


def frame_files(folder: Path) -> list[Path]:
    """Images of a folder, without hidden files such as the ``._`` files of macOS."""
    return [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
    ]


_SUFFIXES = " ".join(sorted(IMAGE_SUFFIXES))


class FrameFolder:
    """A folder of images whose names end in the frame's number; a missing number is a gap.

    Numbers may be signed: high-speed cameras count from the trigger.
    """

    def __init__(self, path: Path, fps: float | None, info: SourceInfo | None = None) -> None:
        self._path = path
        numbered = _one_sequence(path)
        self._files = list(numbered.values())
        if fps is None:
            raise InputError(f"{path}: a folder of frames has no frame rate; give it with --fps.")
        if info is not None:
            self.info = info
            return
        numbers = list(numbered)
        first, kind, notes = _read(self._files[0])
        color = color_of_still(self._files[0])
        if color.hdr:
            raise InputError(
                f"{self._files[0]}: {color.hdr} frames, which are converted only in videos "
                "(--hdr); make a video of them, or convert them to sRGB."
            )
        look = Look(
            geometry=Geometry(stored_hw=(first.shape[0], first.shape[1])),
            color=color,
            pixel_format=kind,
        )
        self.info = SourceInfo(
            path=path,
            kind="frames",
            look=look,
            ticks=np.array(numbers, dtype=np.int64),
            seconds_per_tick=1 / Fraction(fps).limit_denominator(100_000),
            keyframes=np.stack([np.arange(len(numbers)), np.array(numbers)], axis=1),
            frame_rate_from_header=fps,
            codec=self._files[0].suffix[1:].lower(),
            notes=(
                *notes,
                *look.notes,
                *_note_on_formats(self._files),
                *_notes_on_jpeg(self._files),
            ),
        )

    def read(self, start: int, stop: int, on_problem: Problem) -> Iterator[tuple[int, Rgb]]:
        """See `FrameSource.read`."""
        look = self.info.look
        before: tuple[Rgb, str] | None = None
        for index in range(start, stop):
            file = self._files[index]
            try:
                frame, kind, _ = _read(file)
                color = color_of_still(file)
            except InputError as error:
                on_problem(FrameProblem(str(error), index, "cannot be read"))
                continue
            found = Look(
                geometry=Geometry(stored_hw=(frame.shape[0], frame.shape[1])),
                color=color,
                # Some writers store the colourless frames of a colour sequence as grey.
                pixel_format=look.pixel_format if {kind, look.pixel_format} <= _ALIKE else kind,
            )
            fault = look.difference(found)
            if not fault and before and kind != before[1] and _lost_colours(before[0], frame):
                fault = "has colours and the one before has none, or the other way round"
            before = frame, kind
            if fault:
                on_problem(FrameProblem(f"{file}: frame {index} {fault}.", index, fault))
                continue
            yield index, frame


def _lost_colours(frame: Rgb, after: Rgb) -> bool:
    """Whether just one of two successive frames of the same scene is grey."""
    chroma = [float(np.ptp(image[::4, ::4], axis=2).mean()) for image in (frame, after)]
    luma = [image[::4, ::4] @ _LUMA for image in (frame, after)]
    is_one_scene = float(np.abs(luma[0] - luma[1]).mean()) < _ALIKE_CODES
    return is_one_scene and min(chroma) == 0 and max(chroma) > _COLOURED


def _note_on_formats(files: Sequence[Path]) -> tuple[str, ...]:
    counts = Counter(_FORMATS.get(name := file.suffix.lower(), name) for file in files)
    if len(counts) == 1:
        return ()
    found = " and ".join(f"{count} {name}" for name, count in counts.most_common())
    return (
        f"the frames are files of several formats ({found}): if they are two shots, move each into "
        "its own folder",
    )


def _notes_on_jpeg(files: Sequence[Path]) -> tuple[str, ...]:
    """A note on frames that lost something earlier, as JPEG files or a video of such images."""
    if files[0].suffix.lower() in _JPEG_SUFFIXES:
        return ()
    try:
        traces = [jpeg_trace(_read(files[index])[0]) for index in chosen(len(files))]
    except InputError:  # named where the frame is read
        return ()
    if min(traces) <= LEAST_TRACE:
        return ()
    return (
        "the frames were JPEG files, or a video of such images, before they were saved as "
        f"{files[0].suffix[1:].lower()}: sharp and blurred images keep the artefacts",
    )


def _one_sequence(folder: Path) -> dict[int, Path]:
    """Files by frame number, in order.

    Raises:
        InputError: There are no images, a name without a number, several sequences, or a number
            that occurs twice.
    """
    files = frame_files(folder)
    if not files:
        raise InputError(f"{folder}: no images there; numbered frames ({_SUFFIXES}) expected.")
    by_number: dict[int, Path] = {}
    prefixes: dict[str, Path] = {}
    for file in files:
        prefix, number = _prefix_and_number(file)
        prefixes.setdefault(prefix.casefold(), file)
        if number in by_number and len(prefixes) == 1:
            raise InputError(
                f"{folder}: {by_number[number].name} and {file.name} have the same number; one "
                "sequence per folder expected."
            )
        by_number[number] = file
    if len(prefixes) > 1:
        names = ", ".join(file.name for file in list(prefixes.values())[:4])
        raise InputError(
            f"{folder}: {len(prefixes)} sequences, by what comes before the number ({names}); one "
            "sequence per folder expected. Move each into its own folder."
        )
    return dict(sorted(by_number.items()))


_LARGEST_NUMBER = 2**62
"""Times in nanoseconds have fewer digits."""


def _prefix_and_number(path: Path) -> tuple[str, int]:
    # A minus belongs to the number if a separator, or nothing, precedes it.
    # Renaming many files at once, Windows puts numbers in brackets.
    stem = path.stem.removesuffix(")")
    match = re.fullmatch(r"(|.*?[^0-9A-Za-z])([-+]\d+)|(.*?)(\d+)", stem, flags=re.DOTALL)
    if match is None:
        raise InputError(
            f"{path}: the name of a frame should end in its number, such as 000001.png; rename it "
            "or move it out of the folder."
        )
    prefix, number = (match[1], match[2]) if match[2] else (match[3], match[4])
    if abs(int(number)) > _LARGEST_NUMBER:
        raise InputError(f"{path}: the number of a frame has too many digits; rename it.")
    return prefix, int(number)


_FORMATS = {".jpeg": ".jpg", ".tiff": ".tif"}
_JPEG_SUFFIXES = (".jpg", ".jpeg")
_DARK = 1 << 14
"""12-bit samples in a 16-bit file stay below it."""
_COLOURED = 3.0
"""Mean difference between the channels, in code values, above which a frame has colours."""
_ALIKE_CODES = 24.0
"""Largest mean luma difference between frames of one scene, in code values."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ALIKE = {"rgb24", "grey, 8 bit"}
_NOTES = {
    "grey, 8 bit": ("grey frames: three equal channels",),
    "grey, 16 bit": ("grey frames of 16 bit: to 8 bit by value / 257, three equal channels",),
    "RGB, 16 bit": ("frames of 16 bit: to 8 bit by value / 257",),
}


def _read(path: Path) -> tuple[Rgb, str, tuple[str, ...]]:
    """A frame as (H, W, 3) uint8 RGB, how it is stored, and notes for people."""
    stored = read_upright(path)
    n_channels = 1 if stored.ndim == 2 else stored.shape[2]
    if stored.dtype not in (np.uint8, np.uint16) or n_channels not in (1, 3):
        raise InputError(
            f"{path}: RGB or grey of 8 or 16 bit expected, found {n_channels} channel(s) of "
            f"{stored.dtype}. `magick mogrify -alpha off -depth 8 -format png FILES` converts."
        )
    bits = 8 * stored.dtype.itemsize
    kind = f"{'grey' if n_channels == 1 else 'RGB'}, {bits} bit"
    image: NDArray[Any] = stored
    notes: tuple[str, ...] = _NOTES.get(kind, ())
    if bits == 16:
        if (largest := int(stored.max())) < _DARK:
            notes += (
                f"the largest value of {path.name} is {largest} of 65535, nearly black: multiply "
                "12-bit samples by 16 first",
            )
        image = np.rint(stored / 257).astype(np.uint8)
    if n_channels == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return image, "rgb24" if kind == "RGB, 8 bit" else kind, notes
