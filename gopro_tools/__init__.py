"""Make, check and score motion-deblurring datasets the GOPRO way.

``import gopro_tools`` costs nothing; what it offers is loaded when it is first used: the verbs of
`gopro_tools.api` (``synthesize, verify, evaluate, detect, compare, restore``) and `Pairs`, the
pairs of a dataset as arrays. Configs come from the modules: ``from gopro_tools.evaluate import
EvaluateConfig, Sources``.
"""

import importlib as _importlib
import os as _os
import signal as _signal
import sys as _sys

TYPE_CHECKING = False  # true for type checkers; importing typing takes longer than all the rest
if TYPE_CHECKING:
    from typing import Any

    from gopro_tools.api import compare, detect, evaluate, restore, synthesize, verify
    from gopro_tools.pairs import Pairs

__version__ = "0.1.0"

_OFFERED = {
    "Pairs": "gopro_tools.pairs",
    "compare": "gopro_tools.api",
    "restore": "gopro_tools.api",
}
_PACKAGES = ("detect", "evaluate", "synthesize", "verify")
"""Verbs that are packages too, which can be called (see `gopro_tools.verbs`)."""

__all__ = ["Pairs", "compare", "detect", "evaluate", "restore", "synthesize", "verify"]


def __getattr__(name: str) -> "Any":
    """Load what is asked for the first time (PEP 562)."""
    if name in _PACKAGES:
        return _importlib.import_module(f"gopro_tools.{name}")
    if name in _OFFERED:
        return getattr(_importlib.import_module(_OFFERED[name]), name)
    raise AttributeError(f"module 'gopro_tools' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _end_quietly_while_importing() -> None:
    """Let Ctrl-C end a command of ours that is still loading its parts without a traceback.

    Only where this process was started as one; `gopro_tools.console` takes over from here.
    """
    words = _sys.orig_argv
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    ours = module.split(".")[0] in ("gopro_tools", "baselines", "benchmarks")
    ours = ours or _os.path.basename(_sys.argv[0]).startswith("gopro-")  # noqa: PTH119
    if ours and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, lambda *_: _os._exit(130))


_end_quietly_while_importing()
