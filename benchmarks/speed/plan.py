"""A plan on paper, from what was measured: a thousand hours of video on a hundred machines."""

from pathlib import Path

from benchmarks.keeping import newest
from benchmarks.speed import schedule, synthesize
from benchmarks.speed.timing import Timing
from gopro_tools.text import markdown_table

HOURS, RATE_HZ = 1000, 240
N_MACHINES, N_CORES = 100, 8
_SEGMENTS_FRAMES = {"short clips": 150, "long videos": 1200}
"""Frames of a segment: `synthesize.plan` cuts between these."""
_NETWORK_BIT_S = 10e9


def plan_page(results: Path) -> str | None:
    """The page: a pure function of the newest records; None as long as one of them is missing."""
    synthesis, simulation = newest(results, "speed-synthesize"), newest(results, "speed-schedule")
    if synthesis is None or simulation is None:
        return None
    (made_in, making), (scheduled_in, scheduling) = synthesis, simulation
    made, scheduled = (
        [Timing(**timing) for timing in run.results["timings"]] for run in (making, scheduling)
    )
    png_bytes = schedule.timing_of(scheduled, schedule.PNG, schedule.BYTES).n_units
    segments = schedule.timing_of(scheduled, schedule.DASK, schedule.SEGMENTS)
    overhead_s = schedule.overhead_s(scheduled, schedule.DASK)
    ours = schedule.timing_of(made, synthesize.OURS, "frames")
    per_core_hz = ours.rate / making.machine["n_cores"]

    n_frames = HOURS * 3600 * RATE_HZ
    core_s = n_frames / per_core_hz
    n_pairs = n_frames / synthesize.N_FRAMES
    written_bytes = n_pairs * len(synthesize.TWO_KINDS) * png_bytes
    read_bytes = HOURS * 3600 * (synthesize.ACTION_CAMERA.bit_rate or 0) / 8
    work_s = core_s / (N_MACHINES * N_CORES)
    needs_s = {
        "the cores (decoding, averaging, PNG)": work_s,
        **{
            f"the coordinator, segments of {length} frames ({of})": n_frames / length * overhead_s
            for of, length in _SEGMENTS_FRAMES.items()
        },
        "writing, if all goes through one link of 10 Gbit/s": written_bytes * 8 / _NETWORK_BIT_S,
        "reading, over the same": read_bytes * 8 / _NETWORK_BIT_S,
    }
    bottleneck = max(needs_s, key=lambda name: needs_s[name])
    figures = {
        "frames of 720p, in millions": f"{n_frames / 1e6:,.0f}",
        f"pairs of {synthesize.N_FRAMES} frames, in millions": f"{n_pairs / 1e6:.1f}",
        "read, TB, as an action camera stores it": f"{read_bytes / 1e12:.0f}",
        "written, TB, two kinds": f"{written_bytes / 1e12:.0f}",
        "MB per image (a noisy sharp one; blurred ones are smaller)": f"{png_bytes / 1e6:.2f}",
        "frames per second that a core makes": f"{per_core_hz:.0f}",
        "core hours": f"{core_s / 3600:,.0f}",
        f"machine hours, {N_CORES} cores each": f"{core_s / 3600 / N_CORES:,.0f}",
        "GB/s that storage has to take to keep up": f"{written_bytes / work_s / 1e9:.1f}",
        "CPU time of the coordinator per segment, ms": f"{1e3 * overhead_s:.2f}",
        f"its peak MiB with {segments.n_units:,.0f} segments": f"{segments.peak_mib or 0:.0f}",
    }
    records = [
        f"`{folder.relative_to(results).as_posix()}` ({run.machine['cpu']}, "
        f"{run.machine['n_cores']} cores)"
        for folder, run in ((made_in, making), (scheduled_in, scheduling))
    ]
    parts = [
        f"# {HOURS:,} hours of {RATE_HZ} fps video on {N_MACHINES} machines of {N_CORES} cores",
        f"A plan on paper, made with `results/speed.md` from {' and '.join(records)}. Nobody has "
        "measured that a hundred machines do a hundred times as much.",
        markdown_table(
            ["what takes how long, alone", "hours"],
            [[name, f"{seconds / 3600:.1f}"] for name, seconds in needs_s.items()],
        ),
        f"**Bottleneck:** {bottleneck}.",
        markdown_table(["what it comes to", ""], [list(row) for row in figures.items()]),
        "The coordinator is Dask's scheduler and ours in one process. Its plan holds every window "
        "of every video: make several datasets of such a collection.",
    ]
    return "\n\n".join(parts) + "\n"
