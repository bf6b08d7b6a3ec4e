"""Scheduling alone: 1,000 sources and 10,000 segments that sleep instead of working.

What runs is what `synthesize` runs: sources are looked at in an executor, the plan is made of what
was seen, segments are packed, sent, and their records come back. Only decoding and writing are a
sleep, so short that the process that hands out the work never waits for it: what is left is that
process's own share, by which it limits how many machines it can keep busy.
"""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

import numpy as np

from benchmarks.speed.timing import Contender, Timing, in_own_process, race, resident_peak_mib
from gopro_tools.distributed import DaskExecutor
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png
from gopro_tools.processes import Workers
from gopro_tools.scenes import Encoding, Scene, SceneConfig, render_frames, write_video
from gopro_tools.synthesize import SynthesisConfig
from gopro_tools.synthesize.plan import Probe, make_plan, probe_source
from gopro_tools.synthesize.segment import SegmentRecord, SegmentTask, window_row
from gopro_tools.synthesize.sources import Source
from gopro_tools.synthesize.tasks import run_segments, tasks_of

THREADS = "threads of one process"
DASK = "Dask, LocalCluster of 2 processes"
ENGINES = (THREADS, DASK)
SLEEP = "nothing but the sleep"
SOURCES, SEGMENTS = "sources", "segments"
HANDED_OUT = "segments handed out, in CPU time of the coordinator"

_N_SLOTS = 100
_PROBE_S, _SEGMENT_S = 0.1, 0.05
_N_FRAMES = (1500, 1800, 1800)
"""Frames of the sources, in turns: 8, 12 and 12 segments."""
_LOOKING = Lock()
"""Held while a process looks at a video in earnest, which it does once."""


def measure(n_sources: int = 1000) -> list[Timing]:
    """Plan and run with every engine, each in a process of its own, whose memory is watched."""
    timings = race([_png()], 1, "bytes")
    with TemporaryDirectory() as folder:
        videos = {n_frames: Path(folder, f"{n_frames}.mp4") for n_frames in _N_FRAMES}
        for n_frames, video in videos.items():
            write_video(video, _frames(n_frames), 240, Encoding(crf=30, gop_size=30))
        sources = [
            Source(path=videos[n_frames], name=f"clip{number:05d}.mp4")
            for number, n_frames in enumerate(islice(cycle(_N_FRAMES), n_sources))
        ]
        for engine in ENGINES:
            timings += in_own_process(partial(_simulated, engine, sources, Path(folder, "out")))
    for unit, sleep_s in ((SOURCES, _PROBE_S), (SEGMENTS, _SEGMENT_S)):
        n_units = next(timing.n_units for timing in timings if timing.unit == unit)
        seconds, note = n_units * sleep_s / _N_SLOTS, f"{sleep_s:g} s each, {_N_SLOTS} at once"
        timings.append(Timing(name=SLEEP, seconds=seconds, n_units=n_units, unit=unit, note=note))
    return timings


def _png() -> Contender:
    scene = Scene(SceneConfig(seed=3, size_hw=(720, 1280), photograph="motorcycle"))
    frame = next(iter(render_frames(scene, rate_hz=240, n_frames=1)))
    grain = np.random.default_rng(0).integers(-5, 6, frame.shape)
    image = np.clip(frame + grain, 0, 255).astype(np.uint8)
    name = "PNG of a rendered frame with sensor noise, 1280x720"
    return Contender(name, len(encode_png(image)), partial(encode_png, image))


def _frames(n_frames: int) -> Iterator[Rgb]:
    """A small video: sources are as long as it, and nothing of them is decoded but a first look."""
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 256, (40, 60, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    return (np.roll(texture, (i, 2 * i), axis=(0, 1))[:48, :64] for i in range(n_frames))


def _simulated(engine: str, sources: list[Source], out: Path) -> list[Timing]:
    """Plan and run in one engine, as `synthesize` does."""
    with _engine(engine) as executor, Workers(_N_SLOTS, executor) as workers:
        # Workers load what it needs.
        workers.run(_look, sources[:_N_SLOTS], lambda *_: None, _never)
        begin = time.perf_counter()
        probes: dict[Source, Probe] = {}
        workers.run(_look, sources, probes.__setitem__, _never)
        plan = make_plan([probes[source] for source in sources], SynthesisConfig())
        planned = time.perf_counter()
        tasks = tasks_of(plan, out, _N_SLOTS)
        cpu_s = time.process_time()
        run_segments(workers, _sleep, tasks, tasks, None, on_crash=_never)
        made, cpu_s = time.perf_counter(), time.process_time() - cpu_s
    timed = partial(Timing, name=engine)
    return [
        timed(seconds=cpu_s, n_units=len(tasks), unit=HANDED_OUT),
        timed(seconds=planned - begin, n_units=len(sources), unit=SOURCES),
        timed(
            seconds=made - planned, n_units=len(tasks), unit=SEGMENTS, peak_mib=resident_peak_mib()
        ),
    ]


@contextmanager
def _engine(name: str) -> Iterator[Executor]:
    if name == THREADS:
        with ThreadPoolExecutor(_N_SLOTS) as pool:
            yield pool
        return
    from distributed import Client, LocalCluster

    # Sleeping threads: as many processes would load this machine instead of standing for others.
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=_N_SLOTS // 2, memory_limit=None, dashboard_address=":0"
    )
    executor = DaskExecutor(Client(cluster), cluster)
    yield executor
    executor.shutdown()


@cache
def _first_look(video: Path) -> Probe:
    return probe_source(Source(path=video, name=video.name), SynthesisConfig())


def _look(source: Source) -> Probe:
    time.sleep(_PROBE_S)
    with _LOOKING:
        probe = _first_look(source.path)
    digest = hashlib.sha256(source.name.encode()).hexdigest()  # no two are copies of each other
    return replace(probe, source=source, sha256=digest)


def _sleep(task: SegmentTask) -> SegmentRecord:
    time.sleep(_SEGMENT_S)
    rows = [
        window_row(split=task.split, sequence=task.sequence, source=task.source, window=window)
        for window in task.windows
    ]
    return SegmentRecord(name=task.name, fingerprint=task.fingerprint, pairs=rows)


def _never(task: object, *_: object) -> None:
    raise InputError(f"{task}: a worker crashed while it slept.")
