"""Loops that numba compiled once, called as machine code, without numba.

Importing numba takes the better part of a second and its compiler more, in every process; what it
makes of plain loops over arrays needs neither. So the machine code is stored in the user's cache,
or beside Python's own (`__pycache__`) where there is none, and where it lies there, only llvmlite's
linker is loaded, in 50 ms. Where it does not (first use on a machine, another processor, another
version of numba or of the loops), numba makes it, once for all checkouts and environments.

The loops lie in modules of their own, which import numba; `Loop` names them and is what others
call. They take arrays and numbers and return nothing. `OPTIONS` keeps numba's runtime out of them,
and so whatever allocates memory: an attempt is an error when they are compiled.
"""

import ctypes
import hashlib
import importlib.util
import pkgutil
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gopro_tools.files import user_cache, write_atomic

INNER_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"nogil": True, "_nrt": False, "error_model": "numpy"}
)
"""For ``numba.njit`` of what a loop calls."""
OPTIONS: Mapping[str, Any] = MappingProxyType(
    {**INNER_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
)
"""For ``numba.njit`` of a loop."""

_TYPE = re.compile(r"(?P<scalar>\w+)(\[(?P<axes>[:,]+)(?P<contiguous>1?)\])?")
_OURS = re.compile(r"^from (gopro_tools[\w.]*) import", re.MULTILINE)
_lock = threading.RLock()


class Loop:
    """A function of a module of loops for arguments of given types.

    Calling it releases the interpreter's lock. Arguments are the caller's responsibility: types are
    checked, indices are not.
    """

    def __init__(self, name: str, *types: str) -> None:
        """Load nothing yet.

        Args:
            name: ``package.module:function``.
            types: Of the arguments, as numba writes them: ``uint8[:,:,::1]``, ``int64``.
        """
        self._name = name
        self._types = types
        self._arguments = [_Argument(text) for text in types]
        self._call: Any = None

    def __call__(self, *arguments: Any) -> None:
        """Run the loop.

        Raises:
            TypeError: An argument is of another type.
        """
        if self._call is None:
            self.load()
        words: list[Any] = [ctypes.byref(ctypes.c_void_p()), ctypes.byref(ctypes.c_void_p())]
        for kind, value in zip(self._arguments, arguments, strict=True):
            words += kind.words(value)
        status = self._call(*words)
        if status:
            raise RuntimeError(f"{self._name} ended with status {status}")

    def load(self) -> None:
        """Load the machine code, or make it; later calls do nothing."""
        with _lock:
            if self._call is not None:
                return
            symbol, code = self._stored() or self._compiled()
            engine = _engine()
            engine.add_object_file(_linker().ObjectFileRef.from_data(code))
            engine.finalize_object()
            # As numba passes arguments: where a result would go, where an error would go, then all.
            types = [ctypes.c_void_p, ctypes.c_void_p]
            types += [word for kind in self._arguments for word in kind.word_types()]
            prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *types)
            self._call = prototype(engine.get_function_address(symbol))

    def _stored(self) -> tuple[str, bytes] | None:
        """What `_compiled` stored, if it is whole."""
        for path in self._paths():
            with suppress(OSError, ValueError):
                digest, symbol, code = path.read_bytes().split(b"\n", 2)
                if digest.decode() == hashlib.sha256(symbol + code).hexdigest():
                    return symbol.decode(), code
        return None

    def _compiled(self) -> tuple[str, bytes]:
        """Name and object code of the loop, compiled by numba and stored for later."""
        dispatcher: Any = pkgutil.resolve_name(self._name)
        dispatcher.compile(f"void({', '.join(self._types)})")
        made = next(reversed(dispatcher.overloads.values()))
        symbol, code = made.fndesc.llvm_func_name, made.library._get_compiled_object()
        digest = hashlib.sha256(symbol.encode() + code).hexdigest()
        for path in self._paths():
            with suppress(OSError):  # where nothing can be stored, each process compiles
                write_atomic(path, b"\n".join([digest.encode(), symbol.encode(), code]))
                break
        return symbol, code

    def _paths(self) -> Iterator[Path]:
        """Where the machine code may be stored: in the user's cache, or beside the module."""
        source = _source_of(self._name.partition(":")[0])
        text = source.read_text(encoding="utf-8")
        linker = _linker()
        made_of = [
            self._name,
            text,
            *(_source_of(module).read_text(encoding="utf-8") for module in _OURS.findall(text)),
            self._types,
            version("numba"),
            version("llvmlite"),
            linker.get_host_cpu_name(),
            linker.get_host_cpu_features().flatten(),
        ]
        digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:24]
        name = f"{source.stem}.{self._name.partition(':')[2]}-{digest}.o"
        with suppress(RuntimeError):  # no home
            yield user_cache() / "machine_code" / name
        yield source.parent / "__pycache__" / name


class _Argument:
    """How one argument is passed: as numba takes arrays and numbers apart."""

    def __init__(self, text: str) -> None:
        match = _TYPE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a type such as uint8[:,::1] or int64")
        self._text = text
        self._dtype = np.dtype(match["scalar"])
        self._n_axes = match["axes"].count(",") + 1 if match["axes"] else 0
        self._contiguous = bool(match["contiguous"])

    def word_types(self) -> list[Any]:
        if not self._n_axes:
            return [np.ctypeslib.as_ctypes_type(self._dtype)]
        return [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_ssize_t] * 2, ctypes.c_void_p] + [
            ctypes.c_ssize_t
        ] * (2 * self._n_axes)

    def words(self, value: Any) -> list[Any]:
        if not self._n_axes:
            return [value]
        fits = isinstance(value, np.ndarray) and value.dtype == self._dtype
        if not fits or value.ndim != self._n_axes:
            raise TypeError(f"{self._text} expected, found {getattr(value, 'dtype', type(value))}")
        if self._contiguous and not value.flags.c_contiguous:
            raise TypeError(f"{self._text} expected, found an array that is not contiguous")
        address = value.ctypes.data
        return [None, None, value.size, value.itemsize, address, *value.shape, *value.strides]


def _source_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"there is no module {module}")
    return Path(spec.origin)


def _linker() -> Any:
    # This is half the time of loading a stored loop.
    import llvmlite.binding

    return llvmlite.binding


@cache
def _engine() -> Any:
    """What holds the machine code of this process, for as long as it runs."""
    linker = _linker()
    linker.initialize_native_target()
    linker.initialize_native_asmprinter()
    machine = linker.Target.from_default_triple().create_target_machine(jit=True)
    return linker.create_mcjit_compiler(linker.parse_assembly(""), machine)
