"""A plan on paper, from what was measured: a thousand hours of video on a hundred machines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import schedule, synthesize
from benchmarks.speed.timing import Timing
from gopro_tools.records import RunRecord, iterate_runs
from gopro_tools.text import markdown_table

PLAN_FILE = "plan.md"

HOURS, RATE_HZ = 1000, 240
N_MACHINES, N_CORES = 100, 8
_SHORT_SEGMENT_FRAMES, _LONG_SEGMENT_FRAMES = 150, 1200  # `synthesize.plan` cuts between these
_NETWORK_BIT_S = 10e9


def plan_page(results: Path) -> str | None:
    """The page: a pure function of the newest records; None as long as one of them is missing."""
    newest = [list(iterate_runs(results, f"speed-{suite}")) for suite in ("synthesize", "schedule")]
    if not all(newest):
        return None
    (made_in, making), (scheduled_in, scheduling) = (runs[-1] for runs in newest)
    ours = schedule.timing_of(_timings(making), synthesize.OURS, "frames")
    timings = _timings(scheduling)
    png_bytes = schedule.timing_of(timings, schedule.PNG, schedule.BYTES).n_units
    per_core_hz = ours.rate / making.machine["n_cores"]
    overhead_s = schedule.overhead_s(timings, schedule.DASK)
    peak_mib = schedule.timing_of(timings, schedule.DASK, schedule.SEGMENTS).peak_mib or 0.0

    n_frames = HOURS * 3600 * RATE_HZ
    work_s = n_frames / (per_core_hz * N_MACHINES * N_CORES)
    n_pairs = n_frames / synthesize.N_FRAMES
    n_bytes = n_pairs * len(synthesize.TWO_KINDS) * png_bytes
    read_bytes = HOURS * 3600 * (synthesize.ACTION_CAMERA.bit_rate or 0) / 8
    coordinator_s = {
        length: n_frames / length * overhead_s
        for length in (_LONG_SEGMENT_FRAMES, _SHORT_SEGMENT_FRAMES)
    }
    needs = {
        "the cores (decoding, averaging, PNG)": work_s,
        f"the coordinator, segments of {_LONG_SEGMENT_FRAMES} frames (long videos)": coordinator_s[
            _LONG_SEGMENT_FRAMES
        ],
        f"the coordinator, segments of {_SHORT_SEGMENT_FRAMES} frames (short clips)": coordinator_s[
            _SHORT_SEGMENT_FRAMES
        ],
        "writing, if all goes through one link of 10 Gbit/s": n_bytes * 8 / _NETWORK_BIT_S,
        "reading, over the same": read_bytes * 8 / _NETWORK_BIT_S,
    }
    slowest = max(needs, key=lambda name: needs[name])
    rows = [[name, f"{seconds / 3600:.1f}"] for name, seconds in needs.items()]
    write_rate = n_bytes / work_s / 1e9
    n_segments = schedule.timing_of(timings, schedule.DASK, schedule.SEGMENTS).n_units
    parts = [
        f"# {HOURS:,} hours of {RATE_HZ} fps video on {N_MACHINES} machines of {N_CORES} cores",
        "A plan on paper, made with `results/speed.md` from two records, "
        f"`{_place(made_in, results)}` ({_machine(making.machine)}) and "
        f"`{_place(scheduled_in, results)}` ({_machine(scheduling.machine)}). That a hundred "
        "machines do a hundred times as much is assumed: segments need no word from each other, "
        "but nobody has measured it.",
        f"{n_frames / 1e6:,.0f} million frames of 720p as an action camera stores them "
        f"({(synthesize.ACTION_CAMERA.bit_rate or 0) / 1e6:.0f} Mbit/s of playback at {RATE_HZ} "
        f"fps, {read_bytes / 1e12:.0f} TB) become {n_pairs / 1e6:.1f} million pairs of "
        f"{synthesize.N_FRAMES} frames in two kinds: {n_bytes / 1e12:.0f} TB at "
        f"{png_bytes / 1e6:.2f} MB an image, which is that of a noisy sharp frame; blurred ones "
        f"are smaller. A core makes {per_core_hz:.0f} frames a second.",
        markdown_table(["what takes how long, alone", "hours"], rows),
        f"**Cost:** {work_s * N_MACHINES * N_CORES / 3600:,.0f} core hours, which are "
        f"{work_s * N_MACHINES / 3600:,.0f} machine hours. **Time:** {work_s / 3600:.1f} hours "
        f"where everything else keeps up: storage has to take {write_rate:.1f} GB/s. "
        f"**Bottleneck:** {slowest}.",
        f"The coordinator spends {1e3 * overhead_s:.2f} ms of CPU time on a segment (Dask, with "
        f"the scheduler in the same process) and held {peak_mib:.0f} MiB with {n_segments:,.0f} "
        "segments planned. Its plan holds every window of every video, so its memory grows with "
        "their number: make several datasets of such a collection.",
    ]
    return "\n\n".join(parts) + "\n"


def _timings(run: RunRecord) -> Sequence[Timing]:
    return [Timing(**timing) for timing in run.results["timings"]]


def _place(folder: Path, results: Path) -> str:
    return folder.relative_to(results).as_posix()


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['n_cores']} cores"
