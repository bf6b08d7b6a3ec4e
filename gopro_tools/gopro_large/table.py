"""Which images GOPRO_Large has, which frames each was made of, and how."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np

from gopro_tools.averaging import average_exposure
from gopro_tools.dataset import SequenceName, Split, gopro_large_rows
from gopro_tools.errors import InputError
from gopro_tools.findings import Finding, Severity
from gopro_tools.gopro_large.config import KINDS, Kind
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.response import Response
from gopro_tools.text import size_text

RESPONSE = Response.named("gamma2.2")


@dataclass(frozen=True, kw_only=True, slots=True)
class LargeSequence:
    """One of the 33 sequences of GOPRO_Large: a row of ``sequences.csv``."""

    split: Split
    sequence: str
    first_image: int
    """Number in the name of its first image."""
    last_image: int
    first_middle_frame: int
    """Number in the name of the first image's sharp frame."""
    last_middle_frame: int
    n_unreleased: int
    """Images at its beginning whose frames were not all released."""

    @property
    def n_frames(self) -> int:
        """Frames averaged into one image (M), which is also the distance between images."""
        name = SequenceName.parse(self.sequence)
        assert name is not None
        return name.n_frames

    def images(self) -> Iterator["LargeImage"]:
        """Its images in order."""
        for number in range(self.first_image, self.last_image + 1):
            index = number - self.first_image
            middle = self.first_middle_frame + index * self.n_frames
            half = self.n_frames // 2
            yield LargeImage(
                split=self.split,
                sequence=self.sequence,
                number=number,
                frames=range(middle - half, middle + half + 1),
                released=index >= self.n_unreleased,
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class LargeImage:
    """One image of GOPRO_Large and the frames of GOPRO_Large_all it was made of."""

    split: Split
    sequence: str
    number: int
    frames: range
    """Numbers of the frames, the sharp one in the middle."""
    released: bool
    """Whether all its frames are in GOPRO_Large_all."""

    @property
    def middle_frame(self) -> int:
        """Number of the sharp frame."""
        return self.frames[len(self.frames) // 2]

    @property
    def name(self) -> str:
        """File name, the same for all kinds."""
        return f"{self.number:06d}.png"

    @property
    def key(self) -> tuple[str, str, str]:
        """Split, sequence and file name."""
        return self.split, self.sequence, self.name

    def path(self, root: Path, kind: str) -> Path:
        """Where the image of a kind lies in a copy of GOPRO_Large."""
        return root / self.split / self.sequence / kind / self.name

    def frame_path(self, frames_root: Path, number: int) -> Path:
        """Where a frame lies in GOPRO_Large_all."""
        return frames_root / self.split / self.sequence / f"{number:06d}.png"


def recipe(sequences: Sequence[str] = ()) -> list[LargeSequence]:
    """The sequences of GOPRO_Large, train first.

    Args:
        sequences: Names of those wanted; all 33 if empty.

    Raises:
        InputError: A name is not one of the 33.
    """
    table = [
        LargeSequence(
            split=cast(Split, row.pop("split")),
            sequence=row.pop("sequence"),
            **{column: int(value) for column, value in row.items()},
        )
        for row in gopro_large_rows()
    ]
    known = {row.sequence for row in table}
    if unknown := [name for name in sequences if name not in known]:
        raise InputError(
            f"{', '.join(unknown)}: no sequence of GOPRO_Large; its {len(table)} are "
            f"{', '.join(sorted(known))}."
        )
    return [row for row in table if not sequences or row.sequence in sequences]


def images_of(image: LargeImage, frames: Mapping[int, Rgb]) -> dict[Kind, Rgb]:
    """All kinds of an image, made of its frames (by number)."""
    exposure = average_exposure([frames[number] for number in image.frames], RESPONSE)
    return {
        "sharp": frames[image.middle_frame],
        "blur": exposure.blur,
        "blur_gamma": exposure.blur_gamma,
    }


def read_frames(image: LargeImage, frames_root: Path) -> tuple[dict[int, Rgb], list[Finding]]:
    """The frames that can be read, by number, and if the image cannot be made, why.

    The check is ``unreleased``, a mere note, for the 14 images whose first frames were never
    released. Their middle frames were, so what is missing from there on is missing from this copy.
    """
    frames: dict[int, Rgb] = {}
    missing: list[int] = []
    problems: list[Finding] = []

    def report(severity: Severity, check: str, message: str) -> None:
        problems.append(Finding(severity, check, message, *image.key))

    for number in image.frames:
        path = image.frame_path(frames_root, number)
        if not path.is_file():
            missing.append(number)
            continue
        try:
            frames[number] = read_rgb(path)
        except InputError as error:
            what = str(error).removeprefix(f"{path}: ")
            report("error", "unreadable", f"frame {path.name}: {what}")
    unreleased = [n for n in missing if n < image.middle_frame and not image.released]
    if lost := [n for n in missing if n not in unreleased]:
        report("error", "missing", f"frames {ranges(lost)} are missing")
    if unreleased:
        what = f"cannot be rebuilt: frames {ranges(unreleased)} were never released"
        report("info", "unreleased", what)
    if len({frame.shape for frame in frames.values()}) > 1:
        sizes = sorted({size_text(frame.shape) for frame in frames.values()})
        report("error", "size", f"its frames {ranges(image.frames)} differ in size: {sizes}")
    return frames, problems


def refuse_images(frames: Path, sequences: Sequence[str], advice: str) -> None:
    """Refuse GOPRO_Large, whose folders have the same names, where its frames are wanted.

    Raises:
        InputError: It lies there; ``advice`` ends the message.
    """
    for sequence in recipe(sequences):
        folder = frames / sequence.split / sequence.sequence
        if any((folder / kind).is_dir() for kind in KINDS):
            raise InputError(
                f"{frames}: holds GOPRO_Large itself ({folder / KINDS[0]} and so on); the frames "
                f"of GOPRO_Large_all were expected there. {advice}"
            )


def present_sequences(
    root: Path, names: Sequence[str], what: str
) -> tuple[list[LargeSequence], list[Finding]]:
    """Sequences with a folder in ``root``, and a finding for each of the others."""
    wanted = recipe(names)
    present = [row for row in wanted if (root / row.split / row.sequence).is_dir()]
    if not present:
        for inner in sorted(root.glob("*/")):
            places = [inner / row.split / row.sequence for row in wanted]
            has_images = any((place / KINDS[0]).is_dir() for place in places)
            if any(place.is_dir() for place in places) and has_images == (what == "images"):
                raise InputError(f"{root}: the sequences are one below; name {inner} instead.")
        raise InputError(
            f"{root}: none of the {len(wanted)} sequences is there; {wanted[0].split}/"
            f"{wanted[0].sequence} and so on were expected ({what} of GOPRO_Large"
            f"{'_all' if what == 'frames' else ''})."
        )
    absent = [
        Finding(
            "error",
            "missing",
            f"{root.name} has no {what} of this sequence (name those it has with --sequences)",
            row.split,
            row.sequence,
        )
        for row in wanted
        if row not in present
    ]
    return present, absent


def ranges(numbers: Iterable[int]) -> str:
    """``000001-000004, 000007``."""
    ordered = sorted(numbers)
    breaks = [i for i, (a, b) in enumerate(pairwise(ordered), start=1) if b != a + 1]
    runs = np.split(np.array(ordered), breaks)
    return ", ".join(
        f"{run[0]:06d}-{run[-1]:06d}" if len(run) > 1 else f"{run[0]:06d}" for run in runs
    )
