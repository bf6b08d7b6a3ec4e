"""Packages that are called like the verb of their name.

``gopro_tools.evaluate`` has to be two things: the package with `EvaluateConfig`, and the verb. A
package of the class below is both, whichever is imported first.
"""

import importlib
import pkgutil
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.__verb__(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        """Load what is offered when it is first asked for."""
        module = self.__dict__["__offered__"].get(name)
        if module is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module), name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.__dict__["__offered__"]})

    @property
    def __verb__(self) -> Any:
        return pkgutil.resolve_name(self.__dict__["__verb_name__"])

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(self.__verb__)


def callable_package(name: str, verb: str, **offered: str) -> None:
    """Let a package be called.

    Args:
        name: ``__name__`` of the package.
        verb: The function that a call calls, as ``module:function``; imported then.
        offered: Names that the package offers, by the module each is in; imported when it is first
            asked for.
    """
    module = sys.modules[name]
    module.__dict__["__verb_name__"] = verb
    module.__dict__["__offered__"] = offered
    module.__class__ = _CallablePackage
