"""Synthesis against decoding alone and against the two ways people do it today, in one run.

The yardstick is FFmpeg decoding the video with its default threads and throwing the frames away:
what everybody knows, not a limit, as these threads leave part of two cores idle. The rivals are
FFmpeg's own averaging filter ``tmix`` (plain mean of code values, blurred images only; most of its
time is PNG compression, so it is timed at FFmpeg's default level and at the fastest) and the script
one finds in most repositories: imageio to read, numpy powers in float64 to average, imageio to
write PNG.
"""

import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np

from benchmarks.speed.timing import Contender, PeakMib, Timing, race, run_watched
from gopro_tools.processes import end_with_parent
from gopro_tools.scenes import Encoding, Scene, SceneConfig, render_frames, write_video
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize.config import Kind
from gopro_tools.synthesize.worker import prepare, warm_up
from gopro_tools.video import open_source

logger = logging.getLogger(__name__)

N_FRAMES = 11
TWO_KINDS: tuple[Kind, ...] = ("sharp", "blur_gamma")
THREE_KINDS: tuple[Kind, ...] = ("sharp", "blur_gamma", "blur")
DECODE = "FFmpeg, decoding only"
OURS = "ours, sharp + blur_gamma"
_SCRIPT_WINDOWS = 10
"""Windows that the usual script is timed on: its rate does not change with the length."""


def render_clip(path: Path, n_frames: int = 600) -> None:
    """A hand-held street-like scene as an action camera stores it: 720p240, H.264, 60 Mbit/s."""
    scene = Scene(SceneConfig(seed=3, size_hw=(720, 1280), photograph="motorcycle"))
    rng = np.random.default_rng(0)
    # Sensor noise: without it the encoder would not need its 60 Mbit/s.
    grain = rng.integers(-5, 6, (4, 720, 1280, 3), dtype=np.int16)
    frames = (
        np.clip(frame + grain[rng.integers(4), :: rng.choice((-1, 1))], 0, 255).astype(np.uint8)
        for frame in render_frames(scene, rate_hz=240, n_frames=n_frames)
    )
    write_video(path, frames, 240, Encoding(crf=None, bit_rate=60_000_000, gop_size=30))


def measure(video: Path | None = None, *, n_repeats: int = 3, jobs: int = 2) -> list[Timing]:
    """Time all contenders on one video, in turns.

    Args:
        video: What to decode; without it a clip is rendered (`render_clip`).
        n_repeats: Turns of each contender but the usual script, which is timed once.
        jobs: Our worker processes.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        outs = (folder / f"out-{number}" for number in itertools.count())
        if video is None:
            video = folder / "clip.mp4"
            logger.info("Rendering 600 frames of 1280x720 at 240 Hz ...")
            render_clip(video)
        n_frames = open_source(video).info.n_frames
        n_windows = min(_SCRIPT_WINDOWS, n_frames // N_FRAMES)
        with _warm_pool(jobs) as pool:
            with_pool, no_sharp = f"{jobs} running workers", "plain mean only, no sharp"
            ours = partial(_ours, video, pool, outs)
            contenders: list[tuple[str, Callable[[], object], str]] = [
                (DECODE, partial(_ffmpeg, video, "-f", "null", "-"), "its default threads"),
                (OURS, partial(ours, TWO_KINDS), with_pool),
                ("ours, sharp + blur_gamma + blur", partial(ours, THREE_KINDS), with_pool),
                (
                    "ours as a command, sharp + blur_gamma",
                    partial(_our_command, video, outs, jobs),
                    "with starting Python",
                ),
                ("FFmpeg tmix to PNG", partial(_tmix, video, outs), no_sharp),
                (
                    "FFmpeg tmix to PNG, least compression",
                    partial(_tmix, video, outs, "-compression_level", 1),
                    no_sharp,
                ),
            ]
            timings = race(
                [Contender(name, n_frames, run, note) for name, run, note in contenders],
                n_repeats,
                "frames",
            )
        script = Contender(
            "the usual script, sharp + blur_gamma",
            n_windows * N_FRAMES,
            partial(_usual_script, video, next(outs), n_windows),
            f"imageio, numpy, imageio; the first {n_windows} windows",
        )
        return timings + race([script], 1, "frames")


def _ffmpeg(video: Path, *arguments: object) -> PeakMib:
    quiet = (imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin")
    return run_watched(*quiet, "-i", video, *arguments)


def _tmix(video: Path, outs: Iterator[Path], *options: object) -> PeakMib:
    (out := next(outs)).mkdir()
    picture = f"tmix=frames={N_FRAMES},select=eq(mod(n\\,{N_FRAMES})\\,{N_FRAMES - 1})"
    each = ("-vf", picture, "-fps_mode", "passthrough")
    return _ffmpeg(video, *each, *options, out / "%06d.png")


def _ours(
    video: Path, pool: ProcessPoolExecutor, outs: Iterator[Path], kinds: tuple[Kind, ...]
) -> None:
    config = SynthesisConfig(kinds=kinds, allow_low_rate=True)
    synthesize([video], config, out=next(outs), executor=pool)


def _our_command(video: Path, outs: Iterator[Path], jobs: int) -> PeakMib:
    command = (sys.executable, "-m", "gopro_tools.synthesize", video, "--out", next(outs))
    return run_watched(*command, "--kinds", *TWO_KINDS, "--jobs", jobs, "--allow-low-rate")


def _usual_script(video: Path, out: Path, n_windows: int) -> None:
    """What most repositories do; one window at a time, float64, default PNG compression."""
    out.mkdir()
    with imageio.imopen(video, "r", plugin="FFMPEG") as reader:  # type: ignore[call-overload]
        each_frame = reader.iter()
        for number in range(n_windows):
            frames = list(itertools.islice(each_frame, N_FRAMES))
            light = np.mean([(image / 255.0) ** 2.2 for image in frames], axis=0)
            blurred = np.round(255 * light ** (1 / 2.2)).astype(np.uint8)
            imageio.imwrite(out / f"{number:06d}_blurred.png", blurred)
            imageio.imwrite(out / f"{number:06d}_sharp.png", frames[N_FRAMES // 2])


@contextmanager
def _warm_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Workers that have loaded and compiled all they need, as in the middle of a long run."""
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_prepare) as pool:
        wait([pool.submit(time.sleep, 1) for _ in range(jobs)])  # a pool starts those it needs
        yield pool


def _prepare() -> None:
    """Make a process what the workers of `synthesize` are."""
    end_with_parent()
    prepare()
    warm_up()
