"""Plugins, named ``package.module:factory`` wherever a built-in part can be named.

Options follow the name, as in FFmpeg's filters: ``package.module:factory:sigma=3:name=wide``. A
value that reads as a Python number, boolean or None becomes one; all others stay text. A URL keeps
its port: ``address=tcp://10.0.0.1:8786``.
"""

import ast
import hashlib
import importlib
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError

_NAME = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<factory>[^\W\d]\w*)")
_OPTION = re.compile(r":(?P<key>[^\W\d]\w*)=(?P<value>\w+://[^:]*(:\d+)?[^:]*|[^:]*)")

FOREIGN_FAULTS = (Exception, SystemExit)
"""What plugins may raise; a script that calls ``sys.exit`` must not silently end the run."""


@dataclass(frozen=True, kw_only=True)
class PluginKind:
    """One kind of plugin."""

    what: str
    """What the factory makes, for messages: ``restorer``."""
    option: str
    """Option that names it: ``--method``."""
    signature: str
    """How the factory is called: ``factory(weights, device) -> restorer``."""
    needs: tuple[str, ...]
    """Attributes that the object must have."""
    example: str
    """A whole module that works, shown in errors."""

    def load(self, name: str, *arguments: object) -> Any:
        """Import a factory and call it.

        Args:
            name: ``package.module:factory``, with ``:name=value`` for each option. Modules in the
                working folder are found.
            arguments: Passed to the factory before the options.

        Raises:
            InputError: The name, the module, the factory, its signature or what it makes is not
                as expected; the message shows an example.
        """
        factory, options = self.imported(name)
        if not callable(factory):
            raise self._error(name, f"it names a {type(factory).__name__}, not a factory")
        try:
            inspect.signature(factory).bind(*arguments, **options)
        except TypeError as error:
            raise self._error(name, f"the factory cannot be called that way ({error})") from error
        except ValueError:  # compiled code without a signature
            pass
        try:
            part = factory(*arguments, **options)
        except InputError:
            raise
        except FOREIGN_FAULTS as error:
            raise self._error(name, f"the factory failed: {described(error)}") from error
        if isinstance(part, type):
            raise self._error(name, f"the factory gave the class {part.__name__}, not an object")
        missing = [need for need in self.needs if not hasattr(part, need)]
        if missing:
            raise self._error(
                name, f"the {type(part).__name__} it made has no {', '.join(missing)}"
            )
        return part

    def imported(self, name: str) -> tuple[Any, dict[str, Any]]:
        """The factory of a name, and the options written after it; nothing is called.

        Raises:
            InputError: It cannot be imported, or the name cannot be read.
        """
        match = _NAME.match(name)
        rest = name[match.end() :] if match else ""
        if match is None or (rest and not rest.startswith(":")):
            raise self._error(name, "the name cannot be read")
        options: dict[str, Any] = {}
        while rest:
            option = _OPTION.match(rest)
            if option is None:
                text = rest[1:].partition(":")[0]
                raise self._error(name, f"{text!r} is not an option name=value")
            options[option["key"]] = _value(option["value"])
            rest = rest[option.end() :]
        try:
            with _working_folder_importable():
                importlib.invalidate_caches()
                factory = pkgutil.resolve_name(match[0])
        except ModuleNotFoundError as error:
            raise self._error(name, f"there is no module {error.name}") from error
        except AttributeError as error:
            raise self._error(name, f"{match['module']} has no {match['factory']}") from error
        except FOREIGN_FAULTS as error:
            raise self._error(name, f"importing it failed: {described(error)}") from error
        return factory, options

    def _error(self, name: str, what: str) -> InputError:
        indented = self.example.replace("\n", "\n    ")
        return InputError(
            f"{self.option} {name}: {what}. Expected package.module:factory[:name=value...] with "
            f"{self.signature}, importable from the working folder or PYTHONPATH. For example, "
            f"my_{self.what}.py named as my_{self.what}:make:\n    {indented}"
        )


def is_plugin_name(text: str) -> bool:
    """Whether a text names a plugin as ``package.module:factory``; an existing path does not."""
    return ":" in text and not Path(text).exists() and not re.match(r"[A-Za-z]:[\\/]", text)


def described(error: BaseException) -> str:
    """An exception of foreign code in one line: type, message and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}{where}" if message else type(error).__name__ + where


def source_sha256(module_name: str) -> str:
    """Hash of a module's source: all Python files of its package, or the lone file.

    Stored results are keyed by it, so that they do not outlive a change of the code. Options and
    imported packages are not covered.
    """
    module = importlib.import_module(module_name)
    file = Path(getattr(module, "__file__", None) or "")
    files = [file] if file.suffix == ".py" else []
    if module.__package__:
        files = sorted(file.parent.rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(file.parent).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def imports_sha256(modules: Iterable[str]) -> str:
    """Hash of modules and all that they import, even late, from their own top-level packages.

    Imports for type checkers alone do not count, and imports by a computed name are not seen.
    """
    names = list(modules)
    folders: dict[str, Path] = {}
    for top in {name.partition(".")[0] for name in names}:
        module = importlib.import_module(top)
        if place := next(iter(getattr(module, "__path__", ())), getattr(module, "__file__", None)):
            folders[top] = Path(place).parent
    sources: dict[str, bytes] = {}
    while names:
        parts = names.pop().split(".")
        for end in range(1, len(parts) + 1 if parts[0] in folders else 1):
            place = "/".join(parts[:end])
            for inside in (f"{place}.py", f"{place}/__init__.py"):
                path = folders[parts[0]] / inside
                if inside not in sources and path.is_file():
                    sources[inside] = path.read_bytes()
                    names += _imported_names(sources[inside], inside)
    digest = hashlib.sha256()
    for inside, source in sorted(sources.items()):
        digest.update(f"{inside}\n".encode() + source)
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _imported_names(source: bytes, file: str) -> tuple[str, ...]:
    """Modules that a module imports, and names in them, which may be modules too."""
    tree = ast.parse(source)
    names: list[str] = []
    for_type_checkers = {
        id(statement)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for statement in branch.body
    }
    for node in ast.walk(tree):
        if id(node) in for_type_checkers:
            continue
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = file.split("/")[: -node.level] if node.level else []
            module = ".".join([*package, node.module] if node.module else package)
            names += (f"{module}.{alias.name}" for alias in node.names)
    return tuple(names)


def _value(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float | None) else text


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    """Let an installed command find a module in the working folder too."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
