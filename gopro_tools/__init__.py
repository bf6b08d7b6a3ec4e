"""Make, check and score motion-deblurring datasets the GOPRO way.

Nothing is imported here, so that ``import gopro_tools`` costs nothing and needs no torch; each
module is imported by name (``from gopro_tools.synthesize import synthesize, SynthesisConfig``).
"""

import os as _os
import signal as _signal
import sys as _sys

__version__ = "0.1.0"


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
