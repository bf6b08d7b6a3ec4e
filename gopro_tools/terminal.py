"""What is shown on a terminal, by rich: messages, logs, progress. See `gopro_tools.console`."""

import logging
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from gopro_tools.text import printable


class _PlainConsole(Console):
    """Prints text as it is: nothing in a file name is markup, an emoji or a command."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text
            safe = text if segment.control else printable(text)
            yield segment if safe == text else segment._replace(text=safe)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


CONSOLE: Console = _PlainConsole(
    stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False
)

LOG: logging.Handler = RichHandler(console=CONSOLE, show_time=False, show_path=False, markup=False)
LOG.setFormatter(logging.Formatter("%(message)s"))


class _RateColumn(ProgressColumn):
    """Computes the speed when it is shown, ten times a second, not with every image."""

    def render(self, task: Task) -> Text:
        rate = task.fields["rate"]
        if rate is None:
            rate = f"{task.speed:.1f}/s" if task.speed else ""
        return Text(rate)


class ProgressBar(Progress):
    """See `gopro_tools.console.progress_bar`."""

    def __init__(self, unit: str, title: str) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=CONSOLE,
        )
        self._shown = self.add_task(title, total=None, rate=None)

    @property
    def speed(self) -> float:
        """Recently done per second; 0 while that is unknown."""
        return self.tasks[0].speed or 0.0

    def show(self, done: int, total: int) -> None:
        """Show how many are done, out of how many."""
        self.show_task(None, done, total)

    def show_task(
        self, title: str | None, done: int, total: int | None, *, rate: str | None = None
    ) -> None:
        """Also show another title; None keeps the title or total, or lets the bar find the rate."""
        self.update(self._shown, description=title, completed=done, total=total, rate=rate)
