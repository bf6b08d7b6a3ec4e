"""Ending in time: Ctrl-C, SIGTERM and SIGHUP end a command and its processes within two seconds."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, Self

import psutil

_GRACE_S = 1.2
"""What a command has to clean up after the first signal."""
_SECOND_GRACE_S = 0.4
"""The same after the second, and for one that handles the first itself."""
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class EndingSignals:
    """While open, the first of the three signals raises KeyboardInterrupt, and the process ends.

    A command that installs a handler of its own (to save before it ends) has all the time it wants
    after the first signal. After the second, or where the exception does not get through (a long
    call into a library, threads that are waited for), a watching thread kills the child processes
    and ends this one. Whatever is written then is written whole or not at all, as everywhere here.
    Python drops an exception raised where nothing can catch it, as in ``__del__``: the same thread
    ends the process then, and the traceback that Python would print is left out.
    """

    first: int | None = None
    """Number of the first signal that came."""
    _has_raised = False

    def __enter__(self) -> Self:
        """Take over the signals, where this is the main thread: others get none."""
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in _SIGNALS:
            # One that is ignored stays so: nohup and a shell's background jobs ask for that.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._raise)
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        # Handlers run between two lines of Python; a byte is sent at once.
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()
        sys.unraisablehook, self._hook_before = self._drop_interrupts, sys.unraisablehook
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back; after one, the watching thread stays, as ending may hang too."""
        if self._before and self.first is None:
            signal.set_wakeup_fd(self._wakeup_before)
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._writer.close()
            sys.unraisablehook = self._hook_before

    def _drop_interrupts(self, raised: "sys.UnraisableHookArgs") -> None:
        if raised.exc_type is not KeyboardInterrupt:
            self._hook_before(raised)

    def _raise(self, number: int, _frame: FrameType | None) -> None:
        self.first = self.first or number
        # Only once: the next would come while this one is reported; the thread ends the process.
        if not self._has_raised:
            self._has_raised = True
            raise KeyboardInterrupt

    def _watch(self) -> None:
        n_signals = 0
        while True:
            numbers = self._reader.recv(64)
            if not numbers:
                self._reader.close()
                return
            for number in numbers:
                if number not in _SIGNALS:
                    continue
                n_signals += 1
                self.first = self.first or number
                if n_signals > 1:
                    self._end_after(_SECOND_GRACE_S)
                elif signal.getsignal(number) == self._raise:
                    self._end_after(_GRACE_S)

    def _end_after(self, seconds: float) -> None:
        def end() -> None:
            time.sleep(seconds)
            end_at_once(self.first or signal.SIGTERM)

        threading.Thread(target=end, daemon=True).start()


def end_at_once(number: int) -> None:
    """Kill the child processes and end this one as signal ``number`` would, without cleaning up."""
    with suppress(psutil.Error):
        kill_all(psutil.Process().children(recursive=True))
    with suppress(OSError, ValueError):
        cursor = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # a progress bar had hidden it
        os.write(2, f"{cursor}Stopped.\n".encode())
    os._exit(128 + number)


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """End processes that may have ended already."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
