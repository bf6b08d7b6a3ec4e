"""Packages that load their contents on first use, and can be called like a verb.

``gopro_tools.evaluate`` has to be two things: the package with `EvaluateConfig`, and the verb. A
package of the second class below is both, whichever is imported first.
"""

import importlib
import pkgutil
import sys
from types import ModuleType
from typing import Any


class _LazyPackage(ModuleType):
    def __getattr__(self, name: str) -> Any:
        """Load what is offered on first use."""
        module = self.__dict__["__offered__"].get(name)
        if module is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module), name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.__dict__["__offered__"]})


class _CallablePackage(_LazyPackage):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.__verb__(*arguments, **options)

    @property
    def __verb__(self) -> Any:
        return pkgutil.resolve_name(self.__dict__["__verb_name__"])

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(self.__verb__)


def lazy_package(name: str, **offered: str) -> None:
    """Let a package load what it offers on first use.

    Args:
        name: ``__name__`` of the package.
        offered: Names that the package offers, by the module each is in.
    """
    _become(name, _LazyPackage, offered)


def callable_package(name: str, verb: str, **offered: str) -> None:
    """The same for a package that can be called.

    Args:
        name: ``__name__`` of the package.
        verb: The function that a call calls, as ``module:function``; imported then.
        offered: As `lazy_package`.
    """
    _become(name, _CallablePackage, offered)
    sys.modules[name].__dict__["__verb_name__"] = verb


def _become(name: str, kind: type[_LazyPackage], offered: dict[str, str]) -> None:
    module = sys.modules[name]
    module.__dict__["__offered__"] = offered
    module.__class__ = kind
