"""Whether what a JSON file or a caller gives has the types that a dataclass declares.

Command lines are converted and checked as they are read. From Python, people pass text for a path,
a list for a tuple, a dict for a config: that is converted, and what cannot be converted is named.
"""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, TypeVar

from gopro_tools.errors import InputError

Config = TypeVar("Config")

_NO_LIST = (str, bytes, PurePath, Mapping)


def misfits(value: object) -> list[str]:
    """Fields of a dataclass instance that do not match their annotations.

    Annotations may be made of text, numbers, None, ``Literal``, ``Mapping``, ``Sequence``,
    tuples of one type, and unions of these.
    """
    hints = typing.get_type_hints(type(value))
    names = [field.name for field in dataclasses.fields(value)]  # type: ignore[arg-type]
    return [name for name in names if not fits(getattr(value, name), hints[name])]


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON matches a type hint; a whole number is a float too."""
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


def config_from(kind: type[Config], given: Any) -> Config:
    """A config that was passed as one, as a mapping of its fields, or as None: all defaults.

    Raises:
        InputError: It is none of these, or a field is unknown, missing or of another type.
    """
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping | None):
        raise InputError(f"{kind.__name__}(...) was expected, not {_shown(given)}.")
    try:
        return kind(**(given or {}))
    except TypeError as error:  # Python names what is unknown or missing
        raise InputError(f"{kind.__name__}: {str(error).partition('() ')[2]}.") from error


def path_from(given: Any, what: str) -> Path:
    """A path that was passed as one or as text.

    Raises:
        InputError: It is neither.
    """
    if not isinstance(given, str | PathLike):
        raise InputError(f"{what} is {_shown(given)}; a path was expected.")
    return Path(given)


def convert_fields(config: object) -> None:
    """Convert each field of a frozen dataclass, as it is created, to its annotated type.

    Raises:
        InputError: A field holds something else.
    """
    for name, hint in _hints(type(config)).items():
        given = getattr(config, name)
        try:
            object.__setattr__(config, name, _converted(given, hint))
        except TypeError as error:
            what = type(config).__name__
            raise InputError(
                f"{what}: {name} is {_shown(given)}; {_named(hint)} was expected."
            ) from error


def _hints(kind: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _converted(value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    is_bool = isinstance(value, bool)
    if origin in (typing.Union, types.UnionType):
        for argument in arguments:
            try:
                return _converted(value, argument)
            except TypeError:
                continue
        raise TypeError
    if origin is tuple and arguments[1:] == (...,):
        if isinstance(value, _NO_LIST) or not isinstance(value, Iterable):
            raise TypeError
        return tuple(_converted(item, arguments[0]) for item in value)
    if hint is Path and isinstance(value, str | PathLike):
        return Path(value)
    if hint is int and isinstance(value, Integral) and not is_bool:
        return int(value)
    if hint is float and isinstance(value, Real) and not is_bool:
        return float(value)
    is_checked = hint in (Path, int, float, bool, str, type(None)) or origin is typing.Literal
    if is_checked and not (isinstance(value, str | bool | None) and fits(value, hint)):
        raise TypeError
    return value


def _named(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_named, arguments))
    if origin is tuple:
        return f"a tuple of {_named(arguments[0])}"
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text[:60]}{'...' if len(text) > 60 else ''} ({type(value).__name__})"
