"""LPIPS and VMAF, which need parts that may be absent: each says which, and nothing is downloaded.

Torch and lpips are imported only when LPIPS is asked for.
"""

import functools
import importlib
import importlib.util
import os
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gopro_tools.errors import InputError, installs
from gopro_tools.files import sha256_of_file
from gopro_tools.images import Rgb
from gopro_tools.metrics.parts import given_parts

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
"""torchvision's name for its ImageNet weights; the digits start the file's SHA-256."""
ALEXNET_SHA256_PREFIX = "7be5be79"

VMAF_LEAST_PX = 17
"""Minimum height and width for libvmaf."""

_LPIPS_PACKAGES = ("torch", "torchvision", "lpips")
forward_lock = threading.Lock()
"""One forward pass at a time: torch has its own threads."""


def lpips_absent() -> str | None:
    """Why LPIPS cannot be computed here; None where it can."""
    try:
        _check_lpips(_alexnet_path())
    except InputError as error:
        return str(error)
    return None


def lpips_distance(sharp: Rgb, restored: Rgb) -> float:
    """Learned perceptual distance, 0 for equal images (Zhang et al., CVPR 2018), lower is better.

    Version 0.1 on AlexNet, the authors' default, on the GPU where torch has one.

    Args:
        sharp: (H, W, 3) uint8.
        restored: The same shape.

    Raises:
        InputError: A part is absent; the message says which.
    """
    torch = importlib.import_module("torch")
    with forward_lock, torch.inference_mode():
        model, device = _lpips_model(_alexnet_path())
        pair = torch.from_numpy(np.stack([sharp, restored])).to(device)
        pair = pair.permute(0, 3, 1, 2).float() / 127.5 - 1  # (2, 3, H, W) in [-1, 1]
        return float(model(pair[:1], pair[1:]).item())


def check_installed(packages: Sequence[str]) -> None:
    """Raise InputError unless packages of the extra ``train`` are installed; costs nothing."""
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    if lacking:
        raise InputError(f"needs {', '.join(lacking)}: {installs('train')}.")


def check_imports(packages: Sequence[str]) -> None:
    """Raise InputError unless packages of the extra ``train`` import; torch takes seconds."""
    try:
        for name in packages:
            importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        # A torchvision built for another torch raises RuntimeError, a broken CUDA library OSError.
        raise InputError(
            f"needs {', '.join(packages)} that import ({error}): {installs('train')}."
        ) from error


def _check_lpips(path: Path) -> None:
    """Raise InputError unless the packages work and ``path`` holds AlexNet's weights."""
    check_installed(_LPIPS_PACKAGES)
    if not path.is_file():
        raise InputError(
            f"needs AlexNet's weights, and {path.name} is not there: name torchvision's "
            f"{ALEXNET_FILE} with --lpips-weights, or put it into hub/checkpoints of torch's cache "
            "folder (TORCH_HOME); nothing is downloaded here."
        )
    if not sha256_of_file(path).startswith(ALEXNET_SHA256_PREFIX):
        raise InputError(
            f"needs AlexNet's weights, and {path.name} is damaged or holds others: its SHA-256 "
            f"does not start with {ALEXNET_SHA256_PREFIX}, as torchvision's {ALEXNET_FILE} does."
        )
    check_imports(_LPIPS_PACKAGES)


def _alexnet_path() -> Path:
    """The file given, or where torchvision would have put it."""
    given = given_parts().lpips_weights
    if given is not None:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    folder = Path(os.environ.get("TORCH_HOME", cache)).expanduser()  # torch.hub.get_dir()'s rule
    return folder / "hub" / "checkpoints" / ALEXNET_FILE


@functools.lru_cache(maxsize=1)
def _lpips_model(path: Path) -> tuple[Callable[[Any, Any], Any], Any]:
    _check_lpips(path)
    torch, lpips = importlib.import_module("torch"), importlib.import_module("lpips")
    # `pnet_rand` keeps the package from fetching the backbone; its weights are put in by hand.
    # The package's own small linear layers come with it.
    model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    # "slice2.3.weight" in the package is "features.3.weight" in torchvision's file.
    model.net.load_state_dict(
        {name: weights["features." + name.split(".", 1)[1]] for name in model.net.state_dict()}
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device), device


def vmaf_absent() -> str | None:
    """Why VMAF cannot be computed here; None where it can."""
    try:
        _ffmpeg_with_vmaf()
    except InputError as error:
        return str(error)
    return None


def vmaf_score(sharp: Rgb, restored: Rgb) -> float:
    """VMAF, 0 to 100 (Li et al., Netflix 2016), FFmpeg's libvmaf with its default model.

    The pair is scored as a still, so the model's motion feature is 0: an image's score then
    depends on the pair alone, as every other protocol's does, but it is not the score of the
    sequence played as video. Luma is BT.709, limited range.

    Args:
        sharp: (H, W, 3) uint8.
        restored: The same shape.

    Raises:
        InputError: No FFmpeg with libvmaf, images under 17 pixels, or FFmpeg failed on the pair.
    """
    height, width = sharp.shape[:2]
    if min(height, width) < VMAF_LEAST_PX:
        raise InputError(
            f"VMAF needs images of at least {VMAF_LEAST_PX}x{VMAF_LEAST_PX} pixels, these are "
            f"{width}x{height}. Name the protocols to compute, such as --protocol psnr_rgb."
        )
    # Both images go in as one frame of twice the height: one pipe, no temporary files.
    to_luma = "scale=out_color_matrix=bt709:out_range=limited,format=yuv444p"
    graph = (
        f"split[a][b];[a]crop={width}:{height}:0:0,{to_luma}[restored];"
        f"[b]crop={width}:{height}:0:{height},{to_luma}[sharp];"
        "[restored][sharp]libvmaf=n_threads=1"
    )
    command = [_ffmpeg_with_vmaf(), "-hide_banner", "-nostats", "-threads", "1"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{2 * height}", "-i", "-"]
    command += ["-filter_threads", "1", "-lavfi", graph, "-f", "null", "-"]
    result = subprocess.run(
        command, input=np.concatenate([restored, sharp]).tobytes(), capture_output=True, check=False
    )
    messages = result.stderr.decode(errors="replace")
    score = re.search(r"VMAF score: ([\d.]+)", messages)
    if result.returncode != 0 or score is None:
        last = messages.strip().splitlines()[-1:] or ["no message"]
        raise InputError(f"FFmpeg's libvmaf failed on a {width}x{height} pair: {last[0]}")
    return float(score[1])


@functools.cache
def _ffmpeg_with_vmaf() -> str:
    try:
        import imageio_ffmpeg

        program: str = imageio_ffmpeg.get_ffmpeg_exe()
        listed = subprocess.run(
            [program, "-hide_banner", "-filters"], capture_output=True, text=True, check=True
        )
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"needs FFmpeg ({error}): pip install imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE."
        ) from error
    if "libvmaf" not in listed.stdout:
        raise InputError(
            "needs an FFmpeg built with libvmaf, which this one is not: set IMAGEIO_FFMPEG_EXE "
            "to one that has."
        )
    return program
