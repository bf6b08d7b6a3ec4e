"""What a command loads before it has anything to do, and what its workers load."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, environment

COMMANDS = (
    *("synthesize", "synthesize_stills", "verify", "gopro_large", "export", "evaluate", "detect"),
    *("tables", "response", "scenes", "rendered", "deblur", "report", "doctor"),
)
BENCHMARKS = (*("restore", "train", "table1", "table1.publish", "speed", "studies", "detection"),)
NEVER = {
    *("numba", "llvmlite", "pandas", "scipy", "skimage", "torch", "torchvision", "matplotlib"),
    *("onnxruntime", "ultralytics", "rich", "imageio_ffmpeg", "numpy", "cv2", "PIL", "av"),
}
"""What takes tens of milliseconds to seconds, and no help text needs."""


def _loaded(*arguments: str, path: Path = ROOT) -> set[str]:
    """Top-level modules that a run of Python loaded."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(path)])),
    )
    lines = (line.split("|") for line in result.stderr.splitlines() if "import time:" in line)
    return {parts[2].strip().split(".")[0] for parts in lines}


@pytest.mark.parametrize(
    "command",
    [
        *(f"gopro_tools.{name}" for name in COMMANDS),
        *(f"benchmarks.{name}" for name in BENCHMARKS),
        "baselines.checkpoints",
    ],
)
def test_help_loads_nothing_that_only_work_needs(command: str) -> None:
    loaded = _loaded("-m", command, "--help")
    assert "gopro_tools" in loaded
    assert not loaded & NEVER


def test_workers_load_no_command_line(tmp_path: Path) -> None:
    code = """
    import gopro_tools.synthesize
    import gopro_tools.synthesize.__main__
    from gopro_tools.synthesize.worker import prepare, warm_up
    prepare()
    warm_up()
    """
    script = tmp_path / "worker.py"
    script.write_text("\n".join(line.strip() for line in code.splitlines()))
    _loaded(str(script))  # compiles the loops where no run before did
    loaded = _loaded(str(script))
    needed = {"numpy", "cv2", "PIL", "av", "llvmlite"}
    assert needed <= loaded
    assert not loaded & (NEVER - needed | {"tyro"})


def test_scores_need_no_pandas_and_no_numba() -> None:
    code = (
        "import numpy as np; from gopro_tools.evaluate.run import EvaluateConfig\n"
        "from gopro_tools.metrics import score\n"
        "image = np.zeros((32, 32, 3), np.uint8)\n"
        "score(image, image, ('psnr_rgb', 'ssim_gauss', 'ssim_uniform7', 'ssim_y'))\n"
    )
    _loaded("-c", code)
    assert not _loaded("-c", code) & {"numba", "pandas", "scipy", "torch"}


NEW_PAGES = """
import resource
import numpy as np
from gopro_tools.synthesize.worker import prepare
prepare()
faults = []
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frames = [np.ones(3 << 20, np.uint8) for _ in range(12)]
    del frames
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_workers_keep_the_memory_of_frames_for_the_next_ones() -> None:
    result = subprocess.run(
        [sys.executable, "-c", NEW_PAGES],
        capture_output=True,
        text=True,
        check=True,
        env=environment(PYTHONPATH=str(ROOT)),
    )
    first, second = map(int, result.stdout.split())
    assert second < first / 10, (first, second)
