"""What command lines share: choices, and lists as ``--kinds a b`` or ``--kinds a,b``."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

DrawnUnit = Literal["sequence", "image"]
"""What a bootstrap draws."""
DetectorRuntime = Literal["auto", "ultralytics", "onnxruntime", "opencv"]
"""What runs a detector's weight file."""

LISTS = ConstructorRegistry()
"""For `tyro.cli`: options of the type ``tuple[X, ...]``, where X is a text, number or choice."""


def words_of(arguments: Sequence[str]) -> list[str]:
    """Split arguments at their commas.

    A comma before a space belongs to a name (``SRN, released model``), and an argument that names a
    file or folder stays whole.
    """
    return [
        word
        for argument in arguments
        for word in ([argument] if Path(argument).exists() else re.split(r",(?!\s)", argument))
        if word
    ]


@LISTS.primitive_rule
def _list_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    arguments = get_args(info.type)
    if get_origin(info.type) is not tuple or len(arguments) != 2 or arguments[1] is not Ellipsis:
        return None
    if tyro.conf.UseAppendAction in info.markers:  # given once per element: NAME=DIR
        return None
    read = _reader(arguments[0])
    if read is None:
        return None
    convert, metavar = read
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"[{metavar} [{metavar} ...]]",
        instance_from_str=lambda words: tuple(convert(word) for word in words_of(words)),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda values: [str(value) for value in values],
    )


def _reader(element: Any) -> tuple[Callable[[str], Any], str] | None:
    """How an element is read, and what stands for it in the help; None for other types."""
    if element in (str, int, float):
        return element, element.__name__.upper()
    if get_origin(element) is not Literal or not all(isinstance(c, str) for c in get_args(element)):
        return None
    choices = get_args(element)

    def chosen(word: str) -> str:
        if word not in choices:
            raise ValueError(f"{word!r} is not one of {', '.join(choices)}")
        return word

    return chosen, f"{{{','.join(choices)}}}"
