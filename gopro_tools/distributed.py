"""Executors on other machines: Dask's, for ``--executor gopro_tools.distributed:dask``.

Without options, Dask starts processes on this machine; with an address or a scheduler file, the
work goes to a cluster that is running. Its workers need this package, in the same version, and must
see the same files under the same absolute paths.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from gopro_tools.errors import InputError, installs
from gopro_tools.machine import versions
from gopro_tools.threads import n_cores

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

Result = TypeVar("Result")

_COUNT_AGAIN_S = 5.0
_CONNECT_S = 15.0


class DaskExecutor(Executor):
    """Runs tasks on Dask workers.

    Args:
        client: Connected to the scheduler; closed by `shutdown`.
        cluster: Closed by `shutdown` too.
    """

    def __init__(self, client: "Client", cluster: "LocalCluster | None" = None):
        from distributed import KilledWorker

        self.worker_died = (KilledWorker,)
        """Raised for a task that took down more workers than the scheduler's setting
        ``distributed.scheduler.allowed-failures`` allows; until then Dask tries another worker."""
        self._client, self._cluster = client, cluster
        # Tasks write files, so the result of an equal one that ran before cannot stand in for it.
        self._executor = client.get_executor(pure=False, retries=0)
        self._n_slots, self._counted_at = 0, -_COUNT_AGAIN_S

    @property
    def n_slots(self) -> int:
        """Threads of all workers that are connected; counted anew every few seconds."""
        if time.monotonic() - self._counted_at >= _COUNT_AGAIN_S:
            self._n_slots = sum(self._client.nthreads().values())
            self._counted_at = time.monotonic()
        return self._n_slots

    def submit(
        self, function: Callable[..., Result], /, *arguments: Any, **options: Any
    ) -> "Future[Result]":
        """Schedule ``function(*arguments, **options)`` on a worker."""
        future: Future[Result] = self._executor.submit(function, *arguments, **options)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks, or drop them, and disconnect; a cluster started here is shut down."""
        with suppress(OSError, TimeoutError):  # a scheduler that went away
            self._executor.shutdown(wait=wait and not cancel_futures)
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def dask(address: str = "", scheduler_file: str = "", workers: int = 0) -> Executor:
    """Connect to a running Dask scheduler, or start worker processes here.

    Args:
        address: Of a scheduler, such as ``tcp://10.0.0.1:8786``.
        scheduler_file: File that ``dask scheduler --scheduler-file`` wrote, instead of an address.
        workers: Processes to start here where neither is given; 0 starts one per core.

    Raises:
        InputError: Dask is not installed, no scheduler answers, or a worker has other versions of
            what decides the results.
    """
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError(
            f"--executor gopro_tools.distributed:dask needs Dask: {installs('distributed')}."
        ) from error
    if not (address or scheduler_file):
        # Patient with a busy machine, where a new worker takes longer than Dask's 15 s to start;
        # a task that took two workers down has crashed them.
        config.set({"distributed.deploy.lost-worker-timeout": "1h"})
        config.set({"distributed.scheduler.allowed-failures": 1})
        # One thread per process: a crash takes one task with it.
        cluster = LocalCluster(
            n_workers=workers or n_cores(),
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,  # a worker that ends is reported once, by us
        )
        return DaskExecutor(Client(cluster), cluster)
    try:
        client = Client(address or None, scheduler_file=scheduler_file or None, timeout=_CONNECT_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"{address or scheduler_file}: no Dask scheduler answers there ({error}). Start one "
            "with `dask scheduler` and workers with `dask worker ADDRESS --nthreads 1 --nworkers "
            "auto`, or leave the option out to use this machine."
        ) from error
    try:
        _check_versions(client)
    except InputError:
        client.close()
        raise
    return DaskExecutor(client)


def _check_versions(client: "Client") -> None:
    """Refuse a worker whose results could differ from those of the others."""
    ours = versions()
    try:
        found = client.run(versions)
    except ImportError as error:
        raise InputError(
            f"A Dask worker cannot import this package ({error}). Install the same environment "
            "everywhere."
        ) from error
    for worker, theirs in found.items():
        differing = [
            f"{name} {theirs.get(name, 'missing')} instead of {version}"
            for name, version in ours.items()
            if theirs.get(name) != version
        ]
        if differing:
            raise InputError(
                f"The Dask worker {worker} has {', '.join(differing)}: results would depend on "
                "which worker made them. Install the same environment everywhere."
            )
