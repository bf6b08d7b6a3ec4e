"""One measured contender, and the table that sets it against its rivals."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What one contender took for a stated amount of work."""

    name: str
    """What ran, as a reader would say it."""
    seconds: float
    """Wall-clock time of the whole work, the median where it was repeated."""
    n_units: float
    """How much work that was."""
    unit: str
    """Of what: frames, images, patches, megapixels."""
    peak_mib: float | None = None
    """Largest resident memory of the contender's processes, in MiB, where it was watched."""
    n_repeats: int = 1
    """How often it ran."""
    note: str = ""
    """What a reader must know to trust the figure."""

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.n_units / self.seconds

    @property
    def unit_time(self) -> str:
        """Time for one unit of work, so that contenders with unequal work can be compared."""
        seconds = self.seconds / self.n_units
        return f"{seconds:.3f} s" if seconds >= 1 else f"{1e3 * seconds:.3f} ms"


def ratio_table(title: str, timings: Sequence[Timing], ours: str) -> Table:
    """A table with a column that says how many times as fast ``ours`` is as each contender."""
    our_rate = next(timing.rate for timing in timings if timing.name == ours)
    table = Table(title=title)
    unit = re.sub(r"(?<=ch)es$|s$", "", timings[0].unit)
    columns = ("contender", f"time per {unit}", "rate", "ours is ... times as fast", "peak MiB",
               "note")  # fmt: skip
    for column in columns:
        table.add_column(column, justify="left" if column in ("contender", "note") else "right")
    for timing in timings:
        table.add_row(
            timing.name,
            timing.unit_time,
            f"{timing.rate:.2f} {timing.unit}/s",
            f"{our_rate / timing.rate:.2f}",
            "" if timing.peak_mib is None else f"{timing.peak_mib:.0f}",
            timing.note,
        )
    return table
