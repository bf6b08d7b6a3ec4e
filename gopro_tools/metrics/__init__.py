"""PSNR, SSIM and company, each under a name that says exactly what is computed.

"SSIM" alone is not a metric: one GOPRO pair gives 0.695 to 0.796 under the definitions that papers
of this field used, more than separates ten years of methods. So every definition has a name here,
and no function has options::

    from gopro_tools.metrics import psnr_rgb, ssim_gauss
    psnr_db = psnr_rgb(sharp, restored)

Images are (H, W, 3) uint8 RGB, so the range is 255 by definition and never guessed from the data.
Round a network's output to uint8 first, as saving it does. Every function is symmetric unless it
says otherwise, and raises InputError for another type, shape or size. Identical images have a PSNR
of infinity, as in MATLAB; what a mean over such images is, the caller must decide.

Several protocols share most of their work (window averages, luma, an alignment): `score` computes
several of them at once, each shared part once.
"""

import math
from collections.abc import Iterable

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.metrics.catalogue import BUNDLES, METRICS, Bundle, Metric, metrics_of, score
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

    Köhler et al. (ECCV 2012) recorded the whole camera path, many sharp images per blurred one; the
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
