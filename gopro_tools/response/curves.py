"""Curves by name or from a measured table, exact in both directions."""

import io
import re
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import pixel_hash

Float = NDArray[np.float64]

GAMMA = 2.2
_MAX_FILE_BYTES = 1_000_000
_MOST_LIGHT = 1e30


@dataclass(frozen=True, eq=False)
class Response:
    """The response of a camera, one curve per colour channel.

    Attributes:
        name: ``gamma2.2``, ``srgb``, ``linear`` or the name of a measured table's file.
        linear_of_code: (256, 3) float64 in [0, 1], increasing: linear light of each code, RGB.
    """

    name: str
    linear_of_code: Float
    _code_of_linear: Callable[[Float, int], Float]

    @classmethod
    def named(cls, name: str) -> "Response":
        """The response called ``name``.

        Args:
            name: ``gamma2.2`` (Nah et al. 2017: g(x) = x ** (1 / 2.2)) or another exponent from 1
                to 4, ``srgb`` (IEC 61966-2-1), ``linear`` (code values are taken as light: GOPRO's
                ``blur`` folder), ``log100`` and ``log316`` (ITU-T H.273, transfers 9 and 10), or
                the path of a ``.npy`` file with a measured inverse response.

        Raises:
            InputError: No such response, or the file holds no usable table.
        """
        if (pair := _curve(name)) is not None:
            decode, encode = pair
            curve = decode(np.arange(256) / 255)
            return cls(name, np.repeat(curve[:, None], 3, axis=1), lambda x, _: encode(x) * 255)
        if name.endswith(".npy"):
            return cls.from_file(Path(name))
        raise InputError(
            f"response {name!r}: expected gamma2.2 (or another number), {', '.join(_CURVES)} or a "
            ".npy file with a measured table (256x3)."
        )

    @classmethod
    def from_file(cls, path: Path) -> "Response":
        """A measured inverse response, such as the GoPro 6 table of the REDS page.

        The file holds 256x3 or 256x1x3 numbers in OpenCV's channel order (BGR), relative light for
        each code, as `cv2.createCalibrateRobertson` writes them. Codes above 250 are noise there:
        the line through codes 249 and 251 replaces them (the author's own rule); then dips are
        flattened, so that the curve can be inverted, and each channel is scaled to end at 1.

        Raises:
            InputError: The file is missing, not an array of that shape, or not finite and positive.
        """
        try:
            stored = _read_table(path)
        except Exception as error:  # NumPy's reader of headers raises anything at all
            raise InputError(
                f"{path}: cannot be read as a response table; a NumPy file with 256x3 numbers was "
                f"expected ({' '.join(str(error).split())[:200] or type(error).__name__})."
            ) from error
        if stored.shape not in ((256, 3), (256, 1, 3)) or stored.dtype.kind not in "iuf":
            raise InputError(
                f"{path}: a table of 256x3 (or 256x1x3) numbers was expected, found "
                f"{'x'.join(map(str, stored.shape))} of {stored.dtype}."
            )
        with np.errstate(all="ignore"):  # NaN is refused below
            table = stored.astype(np.float64).reshape(256, 3)[:, ::-1]
        usable = np.isfinite(table).all() and (table >= 0).all() and (table <= _MOST_LIGHT).all()
        if not usable or (table[250] <= table[0] + 1 / _MOST_LIGHT).any():
            raise InputError(
                f"{path}: relative light must be finite, non-negative and rise with the code."
            )
        return cls.measured(path.name, table)

    @classmethod
    def measured(cls, name: str, table: Float) -> "Response":
        """A response from (256, 3) relative light for each code, RGB, made smooth and rising."""
        table = table.copy()
        step = (table[251] - table[249]) / 2
        table[251:] = table[250] + step * np.arange(1, 6)[:, None]
        table = np.maximum.accumulate(table, axis=0)
        # Equal neighbours could not be told apart on the way back: lift each by a hair.
        table += np.linspace(0, 1e-9, 256)[:, None] * table[-1]
        table /= table[-1]

        def code_of_linear(x: Float, channel: int) -> Float:
            codes: Float = np.interp(x, table[:, channel], np.arange(256.0))
            return codes

        return cls(name, table, code_of_linear)

    def encode(self, linear: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Codes of linear light: clipped to [0, 1], encoded, rounded half to even.

        Args:
            linear: (..., 3) float in linear light, 1 where the camera saturates.

        Returns:
            The same shape, uint8.
        """
        clipped = np.clip(np.asarray(linear, dtype=np.float64), 0, 1)
        channels = [np.rint(self._code_of_linear(clipped[..., c], c)) for c in range(3)]
        return np.stack(channels, axis=-1).astype(np.uint8)

    def decode(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Linear light in [0, 1] of (..., 3) uint8 codes, float64."""
        return np.stack([self.linear_of_code[image[..., c], c] for c in range(3)], axis=-1)

    @cached_property
    def thresholds(self) -> Float:
        """(255, 3) float64: smallest linear light that `encode` maps to code c + 1, c = 0..254.

        Found by bisection over the doubles themselves, so that comparing with a threshold gives
        what `encode` gives, the rounding of ties included.
        """
        result = np.empty((255, 3))
        target = np.arange(1, 256, dtype=np.float64)
        for channel in range(3):
            # Doubles >= 0 sort as their bit patterns do.
            low = np.zeros(255, dtype=np.int64)
            high = np.full(255, np.float64(1.0).view(np.int64))
            while (high - low > 1).any():
                middle = (low + high) // 2
                reached = np.rint(self._code_of_linear(middle.view(np.float64), channel)) >= target
                high = np.where(reached, middle, high)
                low = np.where(reached, low, middle)
            result[:, channel] = high.view(np.float64)
        return result

    @property
    def fingerprint(self) -> str:
        """Hash of the decoding table: two responses with the same name may differ."""
        return pixel_hash(self.linear_of_code.view(np.uint8).reshape(256, 8, 3))


def _read_table(path: Path) -> NDArray[Any]:
    """The array in a NumPy file that is no larger than a table can be."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise ValueError("no file")
    if status.st_size > _MAX_FILE_BYTES:
        raise ValueError(f"{status.st_size:,} bytes are too large for a table")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about a damaged header
        found = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    if not isinstance(found, np.ndarray):
        raise ValueError("an archive of arrays")
    return found


def _srgb_to_linear(code: Float) -> Float:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _linear_to_srgb(linear: Float) -> Float:
    return np.where(linear <= 0.04045 / 12.92, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


_Curves = tuple[Callable[[Float], Float], Callable[[Float], Float]]


def _logarithmic(decades: float) -> _Curves:
    """ITU-T H.273 logarithmic: V = 1 + log10(L) / decades, 0 below 10 ** -decades."""
    darkest = 10.0**-decades
    return (
        lambda code: 10 ** ((code - 1) * decades),
        lambda linear: 1 + np.log10(np.maximum(linear, darkest)) / decades,
    )


_CURVES: dict[str, _Curves] = {
    "srgb": (_srgb_to_linear, _linear_to_srgb),
    "linear": (lambda code: code, lambda linear: linear),
    "log100": _logarithmic(2),
    "log316": _logarithmic(2.5),
}


def _curve(name: str) -> _Curves | None:
    """Decoding and encoding of a response that is a formula."""
    match = re.fullmatch(r"gamma(\d(?:\.\d{1,3})?)", name)
    if match is None:
        return _CURVES.get(name)
    exponent = float(match[1])
    if not 1 <= exponent <= 4:
        return None
    return (lambda code: code**exponent, lambda linear: linear ** (1 / exponent))
