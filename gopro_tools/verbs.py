"""Packages that are called like the verb of their name.

``gopro_tools.evaluate`` has to be two things: the package with `EvaluateConfig`, and the verb. A
package of the class below is both, whichever is imported first.
"""

import pkgutil
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.__verb__(*arguments, **options)

    @property
    def __verb__(self) -> Any:
        return pkgutil.resolve_name(self.__dict__["__verb_name__"])

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(self.__verb__)


def callable_package(name: str, verb: str) -> None:
    """Let a package be called.

    Args:
        name: ``__name__`` of the package.
        verb: The function that a call calls, as ``module:function``; imported then.
    """
    module = sys.modules[name]
    module.__class__ = _CallablePackage
    module.__dict__["__verb_name__"] = verb
