"""From stored samples to the picture a viewer sees: crop, square pixels, upright."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType

from gopro_tools.images import Rgb

_TOLERANCE_DEG = 1.0
"""Some writers round the display matrix: 89.99 degrees count as 90 (also FFmpeg's tolerance)."""
_WIDEST_PIXEL = 4
"""A pixel more oblong than this is a mistake in the header."""

Matrix = tuple[float, float, float, float]
"""a, b, c, d of a display matrix: x' = a x + c y, y' = b x + d y; y points down."""
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """How stored samples become the picture shown: cropped, resampled, then rotated."""

    stored_hw: tuple[int, int]
    crop_trbl: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Samples that are not shown: top, right, bottom, left (MP4 clean aperture, Matroska crop)."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel divided by its height. Pictures are shrunk to square pixels: nothing is
    invented."""
    transposed: bool = False
    """Rows become columns; before the flips."""
    flipped_x: bool = False
    flipped_y: bool = False

    def __post_init__(self) -> None:
        """Check that something is left to see.

        Raises:
            ValueError: The crop leaves nothing, or pixels are absurdly oblong.
        """
        height, width = self.cropped_hw
        if height < 1 or width < 1:
            raise ValueError(
                f"a crop of {self.crop_trbl} (top, right, bottom, left) leaves nothing"
            )
        if not 1 / _WIDEST_PIXEL <= self.pixel_aspect <= _WIDEST_PIXEL:
            raise ValueError(f"pixels of {self.pixel_aspect} (width : height) are not a camera's")

    @property
    def cropped_hw(self) -> tuple[int, int]:
        """Size after cropping."""
        top, right, bottom, left = self.crop_trbl
        return self.stored_hw[0] - top - bottom, self.stored_hw[1] - left - right

    @property
    def square_hw(self) -> tuple[int, int]:
        """Size after resampling to square pixels."""
        height, width = self.cropped_hw
        if self.pixel_aspect > 1:
            return max(1, round(height / self.pixel_aspect)), width
        return height, max(1, round(width * self.pixel_aspect))

    @property
    def size_hw(self) -> tuple[int, int]:
        """Size of the upright picture."""
        height, width = self.square_hw
        return (width, height) if self.transposed else (height, width)

    @property
    def matrix(self) -> Matrix:
        """The display matrix that rotates and flips in this way."""
        to_x, to_y = -1.0 if self.flipped_x else 1.0, -1.0 if self.flipped_y else 1.0
        return (0.0, to_y, to_x, 0.0) if self.transposed else (to_x, 0.0, 0.0, to_y)

    @property
    def changes_nothing(self) -> bool:
        """Whether the picture shown is what is stored."""
        turned = self.transposed or self.flipped_x or self.flipped_y
        return self.square_hw == self.stored_hw and not turned

    @property
    def notes(self) -> tuple[str, ...]:
        """What is done to the samples beyond rotating them, in words."""
        said = []
        if any(self.crop_trbl):
            (height, width), (shown_height, shown_width) = self.stored_hw, self.cropped_hw
            said.append(
                f"cropped as the file says: {shown_width}x{shown_height} of {width}x{height} shown"
            )
        if self.square_hw != self.cropped_hw:
            aspect = f"{self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}"
            height, width = self.square_hw
            said.append(f"pixels of {aspect} shrunk to square ones: {width}x{height}")
        return tuple(said)

    def record(self) -> dict[str, Any]:
        """For dataset.json."""
        return {
            "stored_height": self.stored_hw[0],
            "stored_width": self.stored_hw[1],
            "crop_top_right_bottom_left": list(self.crop_trbl),
            "pixel_aspect": f"{self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}",
            "transposed": self.transposed,
            "flipped_x": self.flipped_x,
            "flipped_y": self.flipped_y,
        }

    def apply(self, stored: Rgb) -> Rgb:
        """The picture shown, (H, W, 3) uint8, of the stored samples."""
        image = stored
        if any(self.crop_trbl):
            top, right, bottom, left = self.crop_trbl
            height, width = image.shape[:2]
            image = image[top : height - bottom, left : width - right]
        if self.square_hw != self.cropped_hw:
            height, width = self.square_hw
            image = cv2.resize(
                np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_AREA
            ).astype(np.uint8, copy=False)
        if self.transposed:
            image = image.transpose(1, 0, 2)
        if self.flipped_x:
            image = image[:, ::-1]
        if self.flipped_y:
            image = image[::-1]
        return image if image is stored else np.ascontiguousarray(image)


def geometry_of(
    height: int,
    width: int,
    matrix: Matrix,
    crop_trbl: tuple[int, int, int, int],
    pixel_aspect: Fraction | None,
) -> Geometry:
    """Geometry of a decoded frame and what its container says.

    Raises:
        ValueError: The geometry is nonsense, or cannot be shown upright without resampling.
    """
    transposed, flipped_x, flipped_y = orientation(matrix)
    return Geometry(
        stored_hw=(height, width),
        crop_trbl=crop_trbl,
        pixel_aspect=pixel_aspect or Fraction(1),
        transposed=transposed,
        flipped_x=flipped_x,
        flipped_y=flipped_y,
    )


def display_matrix(frame: av.VideoFrame) -> Matrix | None:
    """The frame's display matrix; None where it has none, the identity for one of zeros."""
    # Not `frame.side_data`: it and the frame would keep each other alive until Python collects such
    # cycles, and the decoder would need new memory for each frame. It is typed as a mapping, which
    # iterates over its values.
    container: Any = SideDataContainer(frame)  # type: ignore[call-arg]
    found = [data for data in container if data.type == SideDataType.DISPLAYMATRIX]
    if not found:
        return None
    values = np.frombuffer(bytes(found[0]), np.int32) / 65536
    a, b, c, d = (float(values[i]) for i in (0, 1, 3, 4))
    return (a, b, c, d) if any((a, b, c, d)) else IDENTITY


def _unnamed(kind: type[SideDataType], value: object) -> SideDataType:
    member = object.__new__(kind)
    member._name_ = f"UNNAMED_{value}"
    member._value_ = value  # type: ignore[assignment]
    return member


# PyAV raises on a frame with any side data that it has no name for, such as a JPEG's EXIF.
SideDataType._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


def orientation(matrix: Matrix) -> tuple[bool, bool, bool]:
    """Whether to transpose, then flip left and right, then flip up and down.

    Raises:
        ValueError: The matrix is neither a rotation by a multiple of 90 degrees nor a mirroring.
    """
    a, b, c, d = matrix
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    to_x, to_y = (c, b) if transposed else (a, d)
    stray_x, stray_y = (a, d) if transposed else (c, b)
    limit = math.tan(math.radians(_TOLERANCE_DEG))
    if abs(stray_x) > limit * abs(to_x) or abs(stray_y) > limit * abs(to_y) or not to_x or not to_y:
        turn = math.degrees(math.atan2(b, a)) % 360
        raise ValueError(
            f"turned by {turn:.4g} degrees or slanted (display matrix {a:.4g} {b:.4g} {c:.4g} "
            f"{d:.4g}); a multiple of 90 degrees or a mirror image expected"
        )
    return transposed, to_x < 0, to_y < 0


def crop_of(lines: Sequence[str]) -> tuple[int, int, int, int]:
    """Top, right, bottom, left that the container hides, from lines of ``dumps_format()``."""
    for line in lines:
        name, _, value = line.strip().partition(":")
        if name.casefold() == "frame cropping":
            left, right, top, bottom = (int(part) for part in value.split("/"))
            return top, right, bottom, left
    return 0, 0, 0, 0
