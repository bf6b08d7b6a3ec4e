"""The metrics as data: what a command lists, runs and writes beside its numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.metrics.dists import dists_absent, dists_distance
from gopro_tools.metrics.no_reference import (
    blur_effect,
    niqe_absent,
    niqe_distance,
    niqe_settings,
)
from gopro_tools.metrics.perceptual import lpips_absent, lpips_distance, vmaf_absent, vmaf_score
from gopro_tools.metrics.statistics import (
    Statistics,
    combine_psnr_aligned,
    combine_psnr_rgb,
    combine_psnr_y,
    combine_ssim_aligned,
    combine_ssim_gauss,
    combine_ssim_matlab_rgb3d,
    combine_ssim_uniform7,
    combine_ssim_uniform7_range2,
    combine_ssim_y,
    combine_tof_farneback,
)


def _never_absent() -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A protocol: what is computed, and what a table must say about it."""

    name: str
    """The column it fills."""
    combine: Callable[[Statistics], float]
    """The score of a pair."""
    unit: Literal["dB", "px", ""] = ""
    """Unit of the score; empty for an index."""
    digits: int = 4
    """Decimals to print."""
    higher_is_better: bool = True
    """Direction."""
    color_space: Literal["RGB", "Y", "grey"] = "RGB"
    """What is compared: code values of R, G and B, BT.601 luma, or full-range grey."""
    needs_sharp: bool = True
    """Whether it compares with the sharp image."""
    needs_before: bool = False
    """Whether it compares motion since the image before, in the same sequence."""
    ssim_kind: str = ""
    """Window, covariance and borders; empty unless it is an SSIM."""
    rounding: str = "uint8"
    """How images were turned into code values beforehand."""
    used_by: str = ""
    """Papers and code that report it."""
    citation: str = ""
    """Where it is defined."""
    absent: Callable[[], str | None] = _never_absent
    """Why it cannot be computed here, or None."""
    settings: Callable[[], str] = lambda: ""
    """What else decides the number, such as the model a user named; numbers with other settings are
    not comparable."""

    @property
    def may_be_absent(self) -> bool:
        """Whether it needs parts that a base install lacks."""
        return self.absent is not _never_absent

    def __call__(self, sharp: Rgb, restored: Rgb) -> float:
        """The score of one pair of (H, W, 3) uint8 images."""
        return self.combine(Statistics(sharp, restored))


_WANG = "Wang et al., TIP 2004"
_RIM = "Rim et al., ECCV 2020"

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                name="psnr_rgb",
                combine=combine_psnr_rgb,
                unit="dB",
                digits=2,
                used_by="SRN, MPRNet, Restormer, HINet, NAFNet, BasicSR, DeepDeblur-PyTorch",
            ),
            Metric(
                name="psnr_y",
                combine=combine_psnr_y,
                unit="dB",
                digits=2,
                color_space="Y",
                used_by="BasicSR with test_y_channel",
                citation="ITU-R BT.601; MATLAB rgb2ycbcr, not rounded",
            ),
            Metric(
                name="ssim_gauss",
                combine=combine_ssim_gauss,
                ssim_kind="Gaussian 11x11 sigma 1.5 a channel, population covariance, inside only",
                used_by="DeepDeblur-PyTorch, BasicSR, scikit-image with gaussian_weights",
                citation=_WANG,
            ),
            Metric(
                name="ssim_uniform7",
                combine=combine_ssim_uniform7,
                ssim_kind="flat 7x7 a channel, sample covariance, inside only",
                used_by="scikit-image's defaults with the range stated",
                citation=_WANG,
            ),
            Metric(
                name="ssim_uniform7_range2",
                combine=combine_ssim_uniform7_range2,
                ssim_kind="flat 7x7 a channel, sample covariance, inside only, constants for "
                "twice the range",
                used_by="Uformer; scikit-image before 0.20 on floats in [0, 1], no range stated",
                citation=_WANG,
            ),
            Metric(
                name="ssim_matlab_rgb3d",
                combine=combine_ssim_matlab_rgb3d,
                ssim_kind="Gaussian 11x11x11 sigma 1.5 over channels too, edges replicated",
                used_by="Nah et al., SRN, MPRNet, HINet, Restormer, NAFNet, ID-Blau",
                citation="MATLAB ssim applied to an RGB array",
            ),
            Metric(
                name="ssim_y",
                combine=combine_ssim_y,
                color_space="Y",
                ssim_kind="Gaussian 11x11 sigma 1.5, population covariance, inside only",
                used_by="BasicSR with test_y_channel",
                citation=_WANG,
            ),
            Metric(
                name="psnr_aligned",
                combine=combine_psnr_aligned,
                unit="dB",
                digits=2,
                rounding="uint8, then warped in float32",
                used_by="RealBlur, RSBlur; Köhler with the best of many sharp images",
                citation=_RIM,
            ),
            Metric(
                name="ssim_aligned",
                combine=combine_ssim_aligned,
                ssim_kind="ssim_gauss after ECC alignment, masked",
                rounding="uint8, then warped in float32",
                used_by="RealBlur, RSBlur; Köhler with the best of many sharp images",
                citation=_RIM,
            ),
            Metric(
                name="lpips",
                combine=lambda pair: lpips_distance(pair.sharp, pair.restored),
                higher_is_better=False,
                citation="Zhang et al., CVPR 2018; version 0.1, AlexNet",
                absent=lpips_absent,
            ),
            Metric(
                name="vmaf",
                combine=lambda pair: vmaf_score(pair.sharp, pair.restored),
                digits=2,
                color_space="Y",
                citation="Li et al., Netflix 2016; FFmpeg's libvmaf, default model, a still",
                absent=vmaf_absent,
            ),
            Metric(
                name="dists",
                combine=lambda pair: dists_distance(pair.sharp, pair.restored),
                higher_is_better=False,
                citation="Ding et al., TPAMI 2020; VGG16, images not shrunk",
                absent=dists_absent,
            ),
            Metric(
                name="niqe",
                combine=lambda pair: niqe_distance(pair.restored),
                digits=2,
                higher_is_better=False,
                color_space="grey",
                needs_sharp=False,
                citation="Mittal et al., SPL 2013, with the model that was named",
                absent=niqe_absent,
                settings=niqe_settings,
            ),
            Metric(
                name="blur_effect",
                combine=lambda pair: blur_effect(pair.restored),
                higher_is_better=False,
                color_space="grey",
                needs_sharp=False,
                used_by="scikit-image",
                citation="Crete et al., HVEI 2007; 0 sharp to 1 blurred",
            ),
            Metric(
                name="tof_farneback",
                combine=combine_tof_farneback,
                unit="px",
                digits=3,
                higher_is_better=False,
                color_space="grey",
                needs_before=True,
                used_by="TecoGAN, without the two frames at each end",
                citation="Chu et al., TOG 2020; none for the first image of a sequence",
            ),
        )
    }
)
"""Every metric by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """Metrics that a paper, a code base or a habit reports together."""

    metrics: tuple[str, ...]
    """Names in `METRICS`."""
    note: str
    """Whose it is, and how it differs from what they ran."""


_MATLAB_LINE = ("psnr_rgb", "ssim_matlab_rgb3d")
_UNALIGNED = ("psnr_rgb", "psnr_y", "ssim_gauss", "ssim_uniform7", "ssim_matlab_rgb3d", "ssim_y")

BUNDLES: Mapping[str, Bundle] = MappingProxyType(
    {
        "standard": Bundle(
            metrics=(*_UNALIGNED, "lpips", "vmaf"),
            note="every protocol that needs no alignment; LPIPS and VMAF where their parts are",
        ),
        "all": Bundle(
            metrics=tuple(name for name in METRICS if not METRICS[name].needs_before),
            note="all that need no sequence; seconds per image",
        ),
        "no_reference": Bundle(
            metrics=("niqe", "blur_effect"), note="for images without a sharp original"
        ),
        "nah2017": Bundle(
            metrics=_MATLAB_LINE,
            note="Nah et al., CVPR 2017; their PSNR was taken before rounding (0.004 dB)",
        ),
        "deepdeblur_pytorch": Bundle(
            metrics=("psnr_rgb", "ssim_gauss"), note="DeepDeblur-PyTorch's README"
        ),
        "mprnet": Bundle(
            metrics=_MATLAB_LINE,
            note="the MATLAB line: SRN, MPRNet, HINet, Restormer, ID-Blau, on saved PNG",
        ),
        "nafnet": Bundle(
            metrics=_MATLAB_LINE, note="NAFNet, which emulates the MATLAB line on a GPU"
        ),
        "basicsr": Bundle(metrics=("psnr_rgb", "ssim_gauss"), note="BasicSR, crop_border 0"),
        "basicsr_y": Bundle(
            metrics=("psnr_y", "ssim_y"), note="BasicSR with test_y_channel, crop_border 0"
        ),
        "mimo": Bundle(metrics=("psnr_rgb",), note="MIMO-UNet, which does not round (0.004 dB)"),
        "uformer": Bundle(
            metrics=("psnr_rgb", "ssim_uniform7_range2"),
            note="Uformer, whose SSIM has constants for twice the range; it does not round "
            "(0.004 dB)",
        ),
        "realblur": Bundle(
            metrics=("psnr_aligned", "ssim_aligned"),
            note="RealBlur and RSBlur; they leave the blurred input unaligned",
        ),
    }
)
"""Metrics that go together, by name."""


def metrics_of(names: Sequence[str]) -> tuple[str, ...]:
    """Metric names for bundle and metric names, in order, each once.

    Raises:
        InputError: A name is neither, or there is none.
    """
    chosen: dict[str, None] = {}
    for name in names:
        if name in BUNDLES:
            chosen.update(dict.fromkeys(BUNDLES[name].metrics))
        elif name in METRICS:
            chosen[name] = None
        else:
            raise InputError(
                f"{name!r} is not a protocol. Bundles: {', '.join(BUNDLES)}. "
                f"Single ones: {', '.join(METRICS)}."
            )
    if not chosen:
        raise InputError("no protocol was named; name a bundle such as 'standard'.")
    return tuple(chosen)


def score(
    sharp: Rgb | None,
    restored: Rgb,
    metrics: Iterable[str],
    *,
    before: tuple[Rgb, Rgb] | None = None,
) -> dict[str, float]:
    """Several metrics of one pair, sharing what they have in common.

    Args:
        sharp: (H, W, 3) uint8; None where there is none, for metrics that need none.
        restored: The same shape.
        metrics: Names in `METRICS`.
        before: The sharp and the restored image before these, for metrics of sequences.

    Returns:
        The score under each name; NaN where it is undefined, such as for motion without an image
        before.

    Raises:
        InputError: One of them cannot be computed for this pair, or on this machine.
    """
    chosen = [METRICS[name] for name in metrics]
    if sharp is None and any(metric.needs_sharp for metric in chosen):
        needing = [metric.name for metric in chosen if metric.needs_sharp]
        raise InputError(f"{', '.join(needing)}: the sharp image is needed, and there is none.")
    pair = Statistics(restored if sharp is None else sharp, restored, before=before)
    return {metric.name: metric.combine(pair) for metric in chosen}
