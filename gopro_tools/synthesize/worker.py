"""The processes of a synthesis: started first, so that they load while this one does.

This module loads next to nothing itself.
"""

from concurrent.futures import Executor

from gopro_tools.processes import Workers
from gopro_tools.threads import n_cores


def started_workers(jobs: int | None, executor: Executor | None = None) -> Workers:
    """Processes that look at sources and make segments; one per core by default."""
    workers = Workers(jobs or n_cores(), executor, prepare=_prepare, warm_up=_warm_up)
    workers.start()
    return workers


def _prepare() -> None:
    """Load what looking at a source needs, the most of it all."""
    import cv2

    import gopro_tools.synthesize.plan  # noqa: F401

    cv2.setNumThreads(1)


def _warm_up() -> None:
    """Load what making segments needs beyond that."""
    import gopro_tools.synthesize.segment  # noqa: F401
    from gopro_tools.averaging import load_loops

    load_loops()
