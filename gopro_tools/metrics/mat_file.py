"""Matrices of numbers in MATLAB's files of level 5, read without trusting a byte of them.

SciPy's reader crashes on some damaged files, and takes the process with it. The format: MathWorks,
"MAT-File Format", chapter 1.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 128
_MOST_BYTES = 2**24
"""Limit on a decompressed matrix; NIQE's have 10 KB."""
_COMPRESSED, _MATRIX, _INT32, _INT8 = 15, 14, 5, 1
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
            13: "u8"}  # fmt: skip
"""How elements of each type are stored."""


def read_mat(data: bytes) -> dict[str, NDArray[Any]]:
    """The real matrices of numbers in a MAT-file, by name, as (rows, columns); others are left out.

    Raises:
        ValueError: It is not of level 5, or is cut off or damaged.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or len(data) < _HEADER_BYTES:
        raise ValueError("not a MAT-file of level 5")
    return dict(_matrices(data[_HEADER_BYTES:], order))


def _matrices(data: bytes, order: str) -> Iterator[tuple[str, NDArray[Any]]]:
    for kind, body in _elements(data, order):
        if kind == _COMPRESSED:
            kind, body = next(_elements(_unpacked(body), order), (0, b""))
        if kind == _MATRIX and (found := _matrix(body, order)):
            yield found


def _unpacked(body: bytes) -> bytes:
    try:
        unpacking = zlib.decompressobj()
        unpacked = unpacking.decompress(body, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from error
    if not unpacking.eof:
        raise ValueError("cut off, or a matrix of many megabytes")
    return unpacked


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each element; small ones share the eight bytes of their tag."""
    at = 0
    while at + 8 <= len(data):
        kind, size = np.frombuffer(data, f"{order}u4", 2, at).tolist()
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise ValueError(f"damaged: {size} bytes where four fit")
            start, after = at + 4, at + 8
        else:
            start = at + 8
            after = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("cut off")
        yield kind, data[start : start + size]
        at = after


def _matrix(body: bytes, order: str) -> tuple[str, NDArray[Any]] | None:
    parts = list(_elements(body, order))
    if [kind for kind, _ in parts[1:3]] != [_INT32, _INT8] or len(parts) != 4:
        return None  # complex, sparse, a structure, ...
    (_, shape), (_, name), (kind, values) = parts[1:]
    rows_columns = np.frombuffer(shape, f"{order}i4").tolist()
    if kind not in _NUMBERS or len(rows_columns) != 2:
        return None
    numbers = np.frombuffer(values, order + _NUMBERS[kind])
    return name.decode("latin-1"), numbers.reshape(rows_columns, order="F")
