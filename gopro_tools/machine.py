"""What a result depends on besides its input: the machine, the installed packages, the code."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from gopro_tools.threads import n_cores

_PACKAGES = (
    "gopro-tools", "numpy", "scipy", "opencv-python", "numba", "av", "scikit-image",
    "torch", "torchvision", "safetensors", "spandrel", "ultralytics", "onnxruntime", "lpips",
    "imageio-ffmpeg",
)  # fmt: skip


def machine_facts() -> dict[str, Any]:
    """What a timing depends on: processor, cores this process may use, memory, GPUs, system."""
    gpus: list[str] = []
    if torch := sys.modules.get("torch"):  # importing it only to ask would cost seconds
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        gpus = [torch.cuda.get_device_name(index) for index in range(count)]
    return {
        "cpu": _cpu_name(),
        "n_cores": n_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Python's version and those of the packages that decide results, where installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code_revision() -> str | None:
    """Commit of the checkout these modules lie in, ``+changes`` if edited; None without git.

    The environment variable ``GOPRO_TOOLS_REVISION`` states it where git cannot know, as on a
    machine that holds a copy of the files; the record then says ``<value> (stated)``.
    """
    if stated := os.environ.get("GOPRO_TOOLS_REVISION"):
        return f"{stated} (stated)"
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():  # a repository around it would be another program's
        return None
    try:
        revision = _git(here, "rev-parse", "HEAD")
        changes = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{revision}+changes" if changes else revision


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.strip()


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
