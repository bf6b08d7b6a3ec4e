"""All methods in the order of the tables, and methods by name."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.deblurgan.method import DEBLURGAN
from baselines.deepdeblur.method import DEEPDEBLUR_K
from baselines.method import Imported, Method, NetworkKind
from baselines.options import RestoreOptions
from baselines.sun2015.method import SUN2015, SUN2015_PLUS
from gopro_tools.errors import InputError
from gopro_tools.plugins import is_plugin_name

if TYPE_CHECKING:
    from gopro_tools.restorers import Restorer

METHODS: tuple[Method, ...] = (SUN2015, SUN2015_PLUS, *DEEPDEBLUR_K, DEBLURGAN)
"""In the order of the tables."""

SPANDREL = Method(
    name="spandrel",
    title="a network of the zoo",
    open_untrained=Imported("baselines.zoo:open_network"),
)

OTHERS: tuple[Method, ...] = (SPANDREL,)
"""Known by name, and compared where they are asked for; they are not trained here."""

KINDS: tuple[NetworkKind, ...] = tuple(
    {method.kind.name: method.kind for method in METHODS if method.kind}.values()
)
"""The kinds of network in weight files of this project."""


def method_named(text: str) -> Method:
    """A method by name.

    Args:
        text: A name of `METHODS`; the name of a kind of network (``deepdeblur``: of any K); or
            ``package.module:factory[:name=value...]``, where ``package.module:NAME`` is a `Method`
            or a factory of a `Restorer`. ``NAME=package.module:factory`` names it in tables;
            ``NAME=method:weights=FILE`` is a method with weights that are there already.

    Raises:
        InputError: There is none, or it cannot be imported.
    """
    if (known := _known(text)) is not None:
        return known
    label, equals, rest = text.partition("=")
    if not (equals and re.fullmatch(r"[\w.-]+", label)):
        label, rest = re.sub(r"[^\w.-]+", "-", text), text
    name, has_weights, file = rest.partition(":weights=")
    if has_weights and (known := _known(name)) is not None:
        if not Path(file).is_file():
            raise InputError(f"--method {text}: {file}: no such weight file.")
        return replace(known, name=label, title=label, learner=None, weights=Path(file))
    from gopro_tools.restorers import RESTORERS

    if not is_plugin_name(rest):
        raise InputError(
            f"--method {text}: expected one of "
            f"{', '.join(method.name for method in (*METHODS, *OTHERS))}, or "
            f"package.module:factory with {RESTORERS.signature}."
        )
    part, options = RESTORERS.imported(rest)
    if isinstance(part, Method):
        if options:
            raise InputError(f"--method {rest}: a Method takes no options; its presets do.")
        return part if label == re.sub(r"[^\w.-]+", "-", text) else replace(part, name=label)

    def opened(weights: Path | None, how: RestoreOptions) -> "Restorer":
        if weights is not None and not weights.exists():
            raise InputError(f"{weights}: no such weight file or folder.")
        restorer: Restorer = RESTORERS.load(rest, weights, how.device)
        return restorer

    return Method(name=label, title=label, modules=(rest.partition(":")[0],), open_untrained=opened)


def _known(name: str) -> Method | None:
    """A method of this project, or a kind of network of any size."""
    for method in (*METHODS, *OTHERS):
        if name == method.name:
            return method
    for method in METHODS:
        if method.kind is not None and name == method.kind.name:
            return replace(method, name=name, title=name, architecture={})
    return None


def open_restorer(
    method: str, weights: Path | None, options: RestoreOptions | None = None
) -> "Restorer":
    """Make a restorer by name; see `method_named` and `Method.open`."""
    return method_named(method).open(weights, options or RestoreOptions())
