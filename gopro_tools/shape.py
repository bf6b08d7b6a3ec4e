"""Whether what a JSON file holds has the types that a dataclass says."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


def misfits(value: object) -> list[str]:
    """Fields of a dataclass instance that hold something else than their annotation says.

    Annotations may be made of text, numbers, None, ``Literal``, ``Mapping``, ``Sequence``,
    tuples of one type, and unions of these.
    """
    hints = typing.get_type_hints(type(value))
    names = [field.name for field in dataclasses.fields(value)]  # type: ignore[arg-type]
    return [name for name in names if not fits(getattr(value, name), hints[name])]


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is what a type hint asks for; a whole number is a float too."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            isinstance(key, str) and fits(item, arguments[1]) for key, item in value.items()
        )
    if origin in (Sequence, tuple):
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return is_list and all(fits(item, arguments[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
