"""PSNR, SSIM and company, each under a name that says exactly what is computed.

"SSIM" alone is not a metric: one GOPRO pair gives 0.695 to 0.796 under the definitions that papers
of this field used, more than separates ten years of methods. So every definition has a name here,
and no function has options::

    from gopro_tools.metrics import psnr_rgb, ssim_gauss
    psnr_db = psnr_rgb(sharp, restored)

Images are (H, W, 3) uint8 RGB, so the range is 255 by definition and never guessed from the data.
Round a network's output to uint8 first, as saving it does. Every function is symmetric unless it
says otherwise, and raises InputError for another type, shape or size. Identical images have a PSNR
of infinity, as in MATLAB; what a mean over such images is, the caller has to say.

Several protocols share most of their work (window averages, luma, an alignment): `score` computes
several of them at once, each shared part once.
"""

import math
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

__all__ = [
    "BUNDLES",
    "METRICS",
    "Bundle",
    "Metric",
    "koehler",
    "metrics_of",
    "psnr_aligned",
    "psnr_rgb",
    "psnr_y",
    "score",
    "ssim_aligned",
    "ssim_gauss",
    "ssim_matlab_rgb3d",
    "ssim_uniform7",
    "ssim_uniform7_range2",
    "ssim_y",
]


def psnr_rgb(sharp: Rgb, restored: Rgb) -> float:
    """PSNR in dB over all pixels and channels, on uint8.

    A folder's figure is the mean of the images' dB, not the dB of the mean error. Nearly every
    GOPRO table: SRN, MPRNet, Restormer, HINet, NAFNet, BasicSR (crop 0), DeepDeblur-PyTorch. The
    Torch7 DeepDeblur, MIMO-UNet and Uformer do not round first, worth 0.004 dB at 29 dB.
    """
    return combine_psnr_rgb(Statistics(sharp, restored))


def psnr_y(sharp: Rgb, restored: Rgb) -> float:
    """PSNR in dB of BT.601 luma, not rounded, peak 255 although luma spans 16..235.

    BasicSR's ``test_y_channel``, a habit of super-resolution. 1.4 dB above `psnr_rgb` on GOPRO, so
    never beside it in a table.
    """
    return combine_psnr_y(Statistics(sharp, restored))


def ssim_gauss(sharp: Rgb, restored: Rgb) -> float:
    """SSIM as its authors define it, per channel: 11x11 Gaussian of σ 1.5, windows inside only.

    Population covariance, K 0.01 and 0.03 (Wang et al., TIP 2004); the mean over channels. Equal to
    scikit-image with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False`` and to
    BasicSR. DeepDeblur-PyTorch; without the alignment also RealBlur and RSBlur.

    Raises:
        InputError: Also for images under 11 pixels.
    """
    return combine_ssim_gauss(Statistics(sharp, restored))


def ssim_uniform7(sharp: Rgb, restored: Rgb) -> float:
    """SSIM with a flat 7x7 window and sample covariance: scikit-image's default, per channel.

    Equal to scikit-image given uint8 images, or floats with ``data_range`` stated. Code that gives
    it floats without: see `ssim_uniform7_range2`.

    Raises:
        InputError: Also for images under 7 pixels.
    """
    return combine_ssim_uniform7(Statistics(sharp, restored))


def ssim_uniform7_range2(sharp: Rgb, restored: Rgb) -> float:
    """`ssim_uniform7` with constants for twice the range of the data, as Uformer computed it.

    Uformer's test script gives scikit-image floats in [0, 1] and no ``data_range``; before version
    0.20 that took the range of the type, -1 to 1, hence 2. The constants are four times too large
    and the score is higher: 0.8116 where `ssim_uniform7` has 0.6954. Uformer's .967 on GOPRO.

    Raises:
        InputError: Also for images under 7 pixels.
    """
    return combine_ssim_uniform7_range2(Statistics(sharp, restored))


def ssim_matlab_rgb3d(sharp: Rgb, restored: Rgb) -> float:
    """SSIM of the RGB array taken as a volume, as MATLAB's ``ssim(rgb, rgb)`` computes it.

    The Gaussian (σ 1.5, 11 taps, edges replicated) runs over the channel axis too, and every pixel
    counts. It is 0.08 to 0.09 above `ssim_gauss` on GOPRO. Nah et al. (CVPR 2017) published this;
    so did SRN, MPRNet, HINet, Restormer, NAFNet and most tables that set themselves beside them.
    Written after the definition; not checked against MATLAB itself.
    """
    return combine_ssim_matlab_rgb3d(Statistics(sharp, restored))


def ssim_y(sharp: Rgb, restored: Rgb) -> float:
    """`ssim_gauss` of BT.601 luma, not rounded, with constants for a range of 255.

    BasicSR's ``test_y_channel``; a habit of super-resolution.

    Raises:
        InputError: Also for images under 11 pixels.
    """
    return combine_ssim_y(Statistics(sharp, restored))


def psnr_aligned(sharp: Rgb, restored: Rgb) -> float:
    """PSNR in dB after alignment, over the pixels that the warped image covers. Not symmetric.

    `alignment.align` says how: brightness factor, ECC homography, cubic warp. RealBlur (Rim et al.,
    ECCV 2020), RSBlur; for Köhler's set see `koehler`. Their script leaves the blurred input as it
    is; here every image is treated alike. It pins scikit-image 0.17.2 and OpenCV 4.2.0; ECC's last
    digits depend on the OpenCV version.

    Raises:
        InputError: Also where the pair cannot be aligned.
    """
    return combine_psnr_aligned(Statistics(sharp, restored))


def ssim_aligned(sharp: Rgb, restored: Rgb) -> float:
    """`ssim_gauss` after the alignment of `psnr_aligned`, where the mask holds a window's centre.

    RealBlur, RSBlur. Both images are 0 outside the mask, so windows that reach out compare zeros.

    Raises:
        InputError: Also for images under 11 pixels, or where the pair cannot be aligned.
    """
    return combine_ssim_aligned(Statistics(sharp, restored))


def koehler(sharp_candidates: Iterable[Rgb], restored: Rgb) -> tuple[float, float]:
    """`psnr_aligned` and `ssim_aligned` against the best of several sharp images.

    Köhler et al. (ECCV 2012) recorded the whole camera path, many sharp images a blurred one; the
    score is the largest over all of them, each with its own alignment. Naive use of their images
    gave SRN 19.4 dB.

    Args:
        sharp_candidates: The sharp images along the path, (H, W, 3) uint8; may be a generator.
        restored: The same shape.

    Returns:
        The largest PSNR in dB and the largest SSIM; they may come from two candidates.

    Raises:
        InputError: There is no candidate, or none can be aligned.
    """
    best = (-math.inf, -math.inf)
    failure = InputError("no sharp candidate was given; at least one was expected.")
    for sharp in sharp_candidates:
        pair = Statistics(sharp, restored)
        try:
            scores = combine_psnr_aligned(pair), combine_ssim_aligned(pair)
        except InputError as error:
            failure = error
        else:
            best = max(best[0], scores[0]), max(best[1], scores[1])
    if best[0] == -math.inf:
        raise failure
    return best


# --- the same as data: what a command lists, runs and writes beside its numbers ------------------


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
    """What is looked at: code values of R, G and B, BT.601 luma, or grey of full range."""
    needs_sharp: bool = True
    """Whether it compares with the sharp image."""
    needs_before: bool = False
    """Whether it compares motion since the image before, in the same sequence."""
    ssim_kind: str = ""
    """Window, covariance and borders; empty where it is no SSIM."""
    rounding: str = "uint8"
    """How values were brought to code values before."""
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
    """Whose, and how it differs from what they ran."""


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
            note="all that need no sequence; seconds an image",
        ),
        "no_reference": Bundle(
            metrics=("niqe", "blur_effect"), note="for images whose sharp ones nobody has"
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
                f"{name!r} is no protocol. Bundles: {', '.join(BUNDLES)}. "
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
        The score under each name; NaN where it is not defined, as that of a motion without an image
        before.

    Raises:
        InputError: The pair, or the machine, does not do for one of them.
    """
    chosen = [METRICS[name] for name in metrics]
    if sharp is None and any(metric.needs_sharp for metric in chosen):
        needing = [metric.name for metric in chosen if metric.needs_sharp]
        raise InputError(f"{', '.join(needing)}: the sharp image is needed, and there is none.")
    pair = Statistics(restored if sharp is None else sharp, restored, before=before)
    return {metric.name: metric.combine(pair) for metric in chosen}
