"""What an ONNX file says about its input and classes, read without an ONNX package.

OpenCV runs ONNX files but tells neither the shape of the input nor the metadata. Both are a few
fields of the protocol buffer (`ModelProto` in onnx.proto3), so they are read here.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gopro_tools.errors import InputError
from gopro_tools.faults import system_message
from gopro_tools.signatures import kind_of

_MAX_FILE_BYTES = 2**31
_MAX_METADATA = 1_000_000
_MAX_AXES = 8
_DAMAGE = (
    ValueError, IndexError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OnnxHeader:
    """The input of a network, and the names of its classes."""

    input_shape: tuple[int | None, ...]
    """Shape of the first input that is not a weight; None for a size left open."""
    class_names: tuple[str, ...] | None
    """From the metadata that ultralytics writes."""
    task: str | None = None
    """From the same: detect, segment, pose, obb or classify."""


def read_onnx_header(path: Path) -> OnnxHeader:
    """Read the shape of the input and the class names.

    Raises:
        InputError: The file cannot be read or is not an ONNX file.
    """
    data = b""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError("larger than the 2 GB that the format allows")
        data = path.read_bytes()
        return _header(memoryview(data))
    except OSError as error:
        raise InputError(system_message(error)) from error
    except _DAMAGE as error:
        if kind := kind_of(data):
            raise InputError(f"{path}: an ONNX file was expected, found {kind}.") from error
        raise InputError(
            f"{path}: not an ONNX file, or cut off ({str(error)[:200]}); export or download it "
            "again."
        ) from error


def _header(model: memoryview) -> OnnxHeader:
    names: tuple[str, ...] | None = None
    task: str | None = None
    graph: memoryview | None = None
    for field, value in _fields(model):
        if field == 7 and isinstance(value, memoryview):  # graph
            graph = value
        elif field == 14 and isinstance(value, memoryview):  # metadata_props
            entry = {
                f: bytes(v[:_MAX_METADATA]).decode()
                for f, v in _fields(value)
                if isinstance(v, memoryview)
            }
            if entry.get(1) == "names":
                names = _class_names(entry.get(2, "{}"))
            elif entry.get(1) == "task":
                task = entry.get(2, "")[:40]
    if graph is None:
        raise ValueError("no graph")
    weights = {
        bytes(name)
        for field, tensor in _fields(graph)
        if field == 5 and isinstance(tensor, memoryview)  # initializer
        for part, name in _fields(tensor)
        if part == 8 and isinstance(name, memoryview)
    }
    for field, value in _fields(graph):
        if field == 11 and isinstance(value, memoryview):  # input
            entry_name, kind = _one(value, 1), _one(value, 2)
            if bytes(entry_name) not in weights:
                tensor_type = _one(kind, 1)
                dimensions = [
                    d
                    for f, d in _fields(_one(tensor_type, 2))
                    if f == 1 and isinstance(d, memoryview)
                ]
                if len(dimensions) > _MAX_AXES:
                    raise ValueError(f"an input of {len(dimensions)} axes")
                shape = tuple(map(_size, dimensions))
                return OnnxHeader(input_shape=shape, class_names=names, task=task)
    raise ValueError("no input")


def _class_names(text: str) -> tuple[str, ...]:
    """Names written as a dict from 0, {0: 'person', ...}, or as a list, of Python or of JSON."""
    try:
        listed = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"its names are neither a dict nor a list: {text[:60]!r}") from error
    if isinstance(listed, dict):
        by_number = {str(number): name for number, name in listed.items()}
        listed = [by_number.get(str(i)) for i in range(len(by_number))]
    if (
        not listed
        or not isinstance(listed, list | tuple)
        or not all(isinstance(name, str) for name in listed)
    ):
        raise ValueError(f"its names are not text, numbered from 0: {text[:60]!r}")
    return tuple(listed)


def _size(dimension: memoryview) -> int | None:
    """dim_value, or None where the dimension has a name instead."""
    for field, value in _fields(dimension):
        if field == 1 and isinstance(value, int) and value > 0:
            return value
    return None


def _one(message: memoryview, wanted: int) -> memoryview:
    for field, value in _fields(message):
        if field == wanted and isinstance(value, memoryview):
            return value
    raise ValueError(f"field {wanted} is missing")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a protocol buffer message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if position + length > len(message):
            raise ValueError("a field goes beyond the end")
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
