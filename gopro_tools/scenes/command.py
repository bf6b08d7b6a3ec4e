"""The command line of scenes."""

import sys
from itertools import count
from typing import Annotated

import tyro

from gopro_tools.console import EXIT_FINDINGS, progress_bar, stderr
from gopro_tools.files import claimed
from gopro_tools.scenes.config import ClipsConfig


def command(config: Annotated[ClipsConfig, tyro.conf.arg(name="")]) -> int:
    """Render short clips: a photograph seen by a shaking camera, with objects moving in front.

    Writes OUT/handheld_NAME.mp4 and, beside each, a JSON file with what is known of it. Prints the
    clips' paths.
    """
    from gopro_tools.scenes.clips import render_clips

    n_done, n_frames = count(1), config.clips * config.n_frames
    with claimed(config.out), progress_bar("frames", "Rendering") as bar:
        clips, left_out = render_clips(config, on_frame=lambda: bar.show(next(n_done), n_frames))
    height, width = config.size_hw
    for clip in clips:
        background, *objects = (f"{speed:.2f}" for speed in clip.speed_px)
        moving = f", objects by {', '.join(objects)}" if objects else ""
        stderr.print(
            f"{clip.path}: {config.n_frames} frames of {width}x{height} at {config.rate_hz:g} Hz; "
            f"from frame to frame the background moves by {background} px{moving}"
        )
        sys.stdout.write(f"{clip.path}\n")
    for reason in left_out:
        stderr.print(f"left out: {reason}", style="yellow")
    return EXIT_FINDINGS if any(reason.failed for reason in left_out) else 0
