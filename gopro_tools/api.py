"""The verbs of `gopro_tools` as one calls them from Python.

Each is ``verb(input, config, *, out=..., on_progress=...)`` and returns a result that shows itself:
``.to_dataframe()``, ``.to_markdown()``, and a table in a notebook. They are offered by the package
itself, and loaded when they are first used::

    import gopro_tools

    gopro_tools.verify("dataset")
    gopro_tools.evaluate(Sources(dataset=Path("dataset"), restored=("mine=restored",)))
"""

from gopro_tools.detect import detect
from gopro_tools.evaluate import evaluate
from gopro_tools.restoring import restore
from gopro_tools.synthesize import synthesize
from gopro_tools.tables import compare
from gopro_tools.verify import verify

__all__ = ["compare", "detect", "evaluate", "restore", "synthesize", "verify"]
