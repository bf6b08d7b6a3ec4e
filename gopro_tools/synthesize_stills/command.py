"""The command line of pairs made from photographs."""

from typing import Annotated

import tyro

from gopro_tools.console import EXIT_FINDINGS, progress_bar, stderr
from gopro_tools.synthesize_stills.config import StillsConfig


def command(config: Annotated[StillsConfig, tyro.conf.arg(name="")]) -> int:
    """Make blurred/sharp pairs from photographs with random motion kernels (DeblurGAN's Synth).

    Together with pairs from video this is DeblurGAN's Comb: copy the folders of train/ together.
    """
    from gopro_tools.synthesize_stills.run import synthesize_stills

    with progress_bar("photographs", "blur") as bar:
        summary = synthesize_stills(config, on_progress=bar.show)
    for note in summary.notes:
        stderr.print(note, markup=False)
    for failure in summary.failures:
        stderr.print(f"failed: {failure}", markup=False, style="red")
    done = "complete already" if summary.already_complete else "made"
    stderr.print(f"{config.out}: {done}, {summary.n_pairs} pairs.", markup=False)
    return EXIT_FINDINGS if summary.failures else 0
