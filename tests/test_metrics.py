"""Metrics against scikit-image, SciPy, torchmetrics, piq and the numbers of the literature."""

import hashlib
import math
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from benchmarks.speed.metrics import example_pair, one_core, score_in_turns
from gopro_tools import metrics
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.metrics import perceptual, statistics
from gopro_tools.metrics.alignment import Aligned, align
from gopro_tools.metrics.parts import MetricParts, parts_from
from gopro_tools.metrics.statistics import luma

PAIRS = Path(__file__).parents[2] / "shared" / "data" / "pairs"
SSIM = ("ssim_gauss", "ssim_uniform7", "ssim_uniform7_range2", "ssim_matlab_rgb3d", "ssim_y")
PSNR = ("psnr_rgb", "psnr_y")


def picture(seed: int = 0, size_hw: tuple[int, int] = (96, 128)) -> Rgb:
    """Blobs and edges with some grain: structure at several scales, different in each channel."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(*size_hw, 3)), (6, 6, 0))
    fine = ndimage.gaussian_filter(rng.normal(size=(*size_hw, 3)), (1, 1, 0))
    image = 128 + 700 * coarse + 60 * fine
    image[size_hw[0] // 3 : size_hw[0] // 2, size_hw[1] // 4 :] += 60
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def smeared(image: Rgb, length_px: int = 7) -> Rgb:
    mean = ndimage.uniform_filter1d(image.astype(float), length_px, axis=1)
    return np.rint(mean).astype(np.uint8)


def scikit_image(x: Rgb, y: Rgb, name: str) -> float:
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    options = {} if "uniform7" in name else gaussian
    data_range = 510 if name == "ssim_uniform7_range2" else 255
    return float(structural_similarity(x, y, channel_axis=2, data_range=data_range, **options))


def direct_rgb3d(x: Rgb, y: Rgb) -> float:
    """MATLAB's definition, written out: a Gaussian over all three axes with replicated edges."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def average(volume: NDArray[np.float64]) -> NDArray[np.float64]:
        for axis in range(3):
            volume = ndimage.correlate1d(volume, taps, axis=axis, mode="nearest")
        return volume

    a, b = x.astype(float), y.astype(float)
    mean_a, mean_b = average(a), average(b)
    var_a, var_b = average(a * a) - mean_a**2, average(b * b) - mean_b**2
    covariance = average(a * b) - mean_a * mean_b
    c1, c2 = 2.55**2, 7.65**2
    index = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    index /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(index.mean())


def images(minimum: int = 11, maximum: int = 20) -> st.SearchStrategy[tuple[Rgb, Rgb]]:
    sides = st.integers(minimum, maximum)

    def pair_of(size_hw: tuple[int, int]) -> st.SearchStrategy[tuple[Rgb, Rgb]]:
        one = hnp.arrays(np.uint8, (*size_hw, 3), elements=st.integers(0, 255))
        return st.tuples(one, one)

    return st.tuples(sides, sides).flatmap(pair_of)


# --- oracles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ssim_gauss", "ssim_uniform7", "ssim_uniform7_range2"])
@settings(max_examples=60, deadline=None)
@given(pair=images())
def test_ssim_equals_scikit_image(name: str, pair: tuple[Rgb, Rgb]) -> None:
    ours = metrics.METRICS[name](*pair)
    assert ours == pytest.approx(scikit_image(*pair, name), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(pair=images(minimum=1))
def test_ssim_matlab_rgb3d_equals_the_direct_form(pair: tuple[Rgb, Rgb]) -> None:
    assert metrics.ssim_matlab_rgb3d(*pair) == pytest.approx(direct_rgb3d(*pair), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "size_hw"),
    [
        ("ssim_gauss", (11, 11)),
        ("ssim_gauss", (41, 12)),
        ("ssim_gauss", (97, 131)),
        ("ssim_uniform7", (7, 9)),
        ("ssim_uniform7", (97, 131)),
    ],
)
def test_ssim_of_odd_sizes(name: str, size_hw: tuple[int, int]) -> None:
    x, y = picture(1, size_hw), picture(2, size_hw)
    assert metrics.METRICS[name](x, y) == pytest.approx(scikit_image(x, y, name), abs=1e-9)


@pytest.mark.parametrize("values", [(0, 255), (255, 254), (255, 155), (0, 1), (250, 250)])
def test_flat_images_where_cancellation_is_worst(values: tuple[int, int]) -> None:
    x, y = (np.full((20, 24, 3), value, np.uint8) for value in values)
    for name in ("ssim_gauss", "ssim_uniform7", "ssim_uniform7_range2"):
        assert metrics.METRICS[name](x, y) == pytest.approx(scikit_image(x, y, name), abs=1e-7)
    assert metrics.ssim_matlab_rgb3d(x, y) == pytest.approx(direct_rgb3d(x, y), abs=1e-7)


def test_torchmetrics_and_piq_agree() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.image")
    piq = pytest.importorskip("piq")
    sharp = picture()
    blurred = smeared(sharp)
    x, y = (torch.from_numpy(i).permute(2, 0, 1)[None].double() for i in (sharp, blurred))
    ours = metrics.score(sharp, blurred, ["psnr_rgb", "ssim_gauss"])
    psnr = functional.peak_signal_noise_ratio(x, y, data_range=(0.0, 255.0))
    assert ours["psnr_rgb"] == pytest.approx(psnr.item(), abs=1e-5)
    # Its mean counts windows over reflected borders; its map is the same inside.
    _, whole = functional.structural_similarity_index_measure(
        x, y, data_range=(0.0, 255.0), return_full_image=True
    )
    inside = whole[..., 5:-5, 5:-5].mean()
    assert ours["ssim_gauss"] == pytest.approx(inside.item(), abs=1e-6)
    theirs = piq.ssim(x, y, data_range=255, downsample=False)
    assert ours["ssim_gauss"] == pytest.approx(theirs.item(), abs=1e-6)


def test_luma_is_bt601_in_studio_range() -> None:
    corners = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    expected = [16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966]
    assert luma(corners.astype(np.uint8))[0] == pytest.approx(expected)


def test_y_protocols_are_the_plain_ones_of_luma() -> None:
    sharp = picture()
    blurred = smeared(sharp)
    x, y = luma(sharp), luma(blurred)
    expected = 10 * math.log10(255**2 / np.mean((x - y) ** 2))
    assert metrics.psnr_y(sharp, blurred) == pytest.approx(expected, abs=1e-9)
    expected = structural_similarity(
        x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert metrics.ssim_y(sharp, blurred) == pytest.approx(expected, abs=1e-9)


# --- numbers of the literature -------------------------------------------------------------------

GOLDEN = {
    "Istanbul": {
        "psnr_rgb": 24.05,
        "psnr_y": 25.43,
        "ssim_gauss": 0.7170,
        "ssim_uniform7": 0.6954,
        "ssim_uniform7_range2": 0.8116,
        "ssim_matlab_rgb3d": 0.7963,
        "ssim_y": 0.7467,
    },
    "Flower": {
        "psnr_rgb": 25.11,
        "psnr_y": 26.52,
        "ssim_gauss": 0.8210,
        "ssim_uniform7": 0.8259,
        "ssim_uniform7_range2": 0.8755,
        "ssim_matlab_rgb3d": 0.9114,
        "ssim_y": 0.8309,
    },
}
WRAPPED = {"Istanbul": 31.51, "Flower": 31.80}


@pytest.mark.shared
@pytest.mark.skipif(not PAIRS.is_dir(), reason="the two GOPRO pairs are not beside the checkout")
@pytest.mark.parametrize("name", GOLDEN)
def test_real_gopro_pairs(name: str) -> None:
    sharp, blurred = (read_rgb(PAIRS / f"{name}_{kind}.png") for kind in ("sharp", "blurred"))
    scores = metrics.score(sharp, blurred, GOLDEN[name])
    for metric, expected in GOLDEN[name].items():
        assert scores[metric] == pytest.approx(expected, abs=0.5e-2 if "psnr" in metric else 0.5e-4)
    for metric in ("ssim_gauss", "ssim_uniform7", "ssim_uniform7_range2"):
        assert scores[metric] == pytest.approx(scikit_image(sharp, blurred, metric), abs=1e-6)
    assert scores["ssim_matlab_rgb3d"] == pytest.approx(direct_rgb3d(sharp, blurred), abs=1e-6)

    # DeblurGAN's first evaluation squared differences in uint8, where 16² is 0 again.
    wrapped = ((sharp - blurred) ** 2).mean()
    assert 10 * math.log10(255**2 / wrapped) == pytest.approx(WRAPPED[name], abs=0.01)
    assert scores["psnr_rgb"] < WRAPPED[name] - 5


def test_squares_do_not_wrap_and_sums_do_not_overflow() -> None:
    x = np.zeros((300, 400, 3), np.uint8)
    assert metrics.psnr_rgb(x, x + np.uint8(16)) == pytest.approx(20 * math.log10(255 / 16))
    large = np.zeros((3000, 4000, 3), np.uint8)  # 36e6 * 255² needs 42 bits
    assert metrics.psnr_rgb(large, ~large) == pytest.approx(0, abs=1e-9)


# --- properties ----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(pair=images())
def test_metrics_are_symmetric_and_bounded(pair: tuple[Rgb, Rgb]) -> None:
    x, y = pair
    forth, back = metrics.score(x, y, [*PSNR, *SSIM]), metrics.score(y, x, [*PSNR, *SSIM])
    for name in (*PSNR, *SSIM):
        assert forth[name] == pytest.approx(back[name], abs=1e-12)
    assert all(-1 <= forth[name] <= 1 for name in SSIM)
    assert forth["psnr_rgb"] >= 0


@settings(max_examples=30, deadline=None)
@given(pair=images())
def test_identity_is_exactly_the_best_score(pair: tuple[Rgb, Rgb]) -> None:
    scores = metrics.score(pair[0], pair[0].copy(), [*PSNR, *SSIM])
    assert all(scores[name] == math.inf for name in PSNR)
    assert all(scores[name] == pytest.approx(1, abs=1e-15) for name in SSIM)


@settings(max_examples=30, deadline=None)
@given(
    pair=images(),
    order=st.permutations([0, 1, 2]),
    flip=st.sampled_from([(slice(None),), (slice(None, None, -1),)]),
)
def test_per_channel_metrics_ignore_channel_order_and_flips(
    pair: tuple[Rgb, Rgb], order: list[int], flip: tuple[slice, ...]
) -> None:
    moved = tuple(image[flip][..., order] for image in pair)  # not contiguous
    for name in ("psnr_rgb", "ssim_gauss", "ssim_uniform7"):
        here, there = metrics.METRICS[name](*pair), metrics.METRICS[name](*moved)
        assert here == pytest.approx(there, abs=1e-12)


def test_the_mean_over_windows_splits_at_a_crop() -> None:
    x, y = picture(3), picture(4)
    left, right = np.s_[:, :64], np.s_[:, 64 - 10 :]  # windows of both parts: each exactly once
    n_left, n_right = 64 - 10, 128 - 64
    parts = [metrics.ssim_gauss(x[part], y[part]) for part in (left, right)]
    mean = (n_left * parts[0] + n_right * parts[1]) / (n_left + n_right)
    assert metrics.ssim_gauss(x, y) == pytest.approx(mean, abs=1e-12)


def test_more_blur_scores_worse_under_every_protocol() -> None:
    sharp = picture()
    scores = [metrics.score(sharp, smeared(sharp, n), [*PSNR, *SSIM]) for n in (3, 7, 15)]
    for name in (*PSNR, *SSIM):
        assert scores[0][name] > scores[1][name] > scores[2][name]


def test_score_shares_work_and_changes_nothing() -> None:
    x, y = picture(5), picture(6)
    together = metrics.score(x, y, [*PSNR, *SSIM])
    assert together == {name: getattr(metrics, name)(x, y) for name in (*PSNR, *SSIM)}


@pytest.mark.parametrize(("name", "at_least"), [("ssim_gauss", 4), ("ssim_matlab_rgb3d", 3)])
def test_speed_at_1280x720_on_one_core(name: str, at_least: float) -> None:
    def rival(x: Rgb, y: Rgb) -> float:
        return scikit_image(x, y, name) if name == "ssim_gauss" else direct_rgb3d(x, y)

    contenders = {"ours": metrics.METRICS[name], "rival": rival}
    with one_core():
        ours, theirs = score_in_turns(contenders, *example_pair(), n_repeats=3)
    assert ours.rate / theirs.rate > at_least


# --- alignment -----------------------------------------------------------------------------------


def two_crops(shift_px: tuple[int, int], length_px: int) -> tuple[Rgb, Rgb]:
    """A sharp image, and a darker, smeared one of the same scene that lies ``shift_px`` off."""
    dx, dy = shift_px
    scene = smeared(smeared(picture(7, (140, 180)), 3).transpose(1, 0, 2), 3).transpose(1, 0, 2)
    height, width = 120, 160
    sharp = scene[10 : 10 + height, 10 : 10 + width]
    other = smeared(scene, length_px)[10 - dy : 10 - dy + height, 10 - dx : 10 - dx + width]
    return sharp, np.rint(other * 0.8).astype(np.uint8)


def test_alignment_finds_a_known_shift_and_gain() -> None:
    sharp, moved = two_crops((2, -1), length_px=1)
    aligned = align(sharp, moved)
    corners = np.array([[[10.0, 10.0], [150, 10], [10, 110], [150, 110]]])
    found_px = cv2.perspectiveTransform(corners, aligned.homography) - corners
    assert found_px == pytest.approx(np.broadcast_to([2.0, -1.0], corners.shape), abs=0.2)
    outside = aligned.mask == 0
    assert outside[:, -1].all(), "the column that moved out must not count"
    assert outside[0].all(), "nor the row"
    assert outside.mean() < 0.05
    assert not aligned.restored[outside].any()
    assert not aligned.sharp[outside].any()
    assert metrics.psnr_rgb(sharp, moved) < 20
    assert metrics.psnr_aligned(sharp, moved) > 40
    assert metrics.ssim_aligned(sharp, moved) > 0.99


def test_aligned_protocols_are_masked_means() -> None:
    sharp, restored = two_crops((7, 8), length_px=5)
    aligned = align(sharp, restored)
    whole = structural_similarity(
        aligned.sharp, aligned.restored, channel_axis=2, data_range=255, full=True,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )[1][5:-5, 5:-5]  # fmt: skip
    mask = aligned.mask[5:-5, 5:-5, np.newaxis]
    assert 0 < mask.mean() < 1
    expected = (whole * mask).sum() / (3 * mask.sum())
    assert metrics.ssim_aligned(sharp, restored) == pytest.approx(expected, abs=1e-9)
    squared = (aligned.sharp - aligned.restored)[aligned.mask == 1] ** 2
    expected = 10 * math.log10(255**2 / squared.mean())
    assert metrics.psnr_aligned(sharp, restored) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", [None, 0, 128])
def test_equal_images_are_infinite_under_the_aligned_protocol_too(level: int | None) -> None:
    image = picture(11) if level is None else np.full((40, 50, 3), level, np.uint8)
    assert metrics.psnr_aligned(image, image.copy()) == math.inf
    assert metrics.ssim_aligned(image, image.copy()) == pytest.approx(1, abs=1e-12)
    assert metrics.koehler([picture(12, image.shape[:2]), image], image)[0] == math.inf


def test_uformers_ssim_is_scikit_images_of_floats_with_a_range_of_two() -> None:
    sharp, blurred = picture(13), smeared(picture(13))
    floats = [image.astype(np.float32) / 255 for image in (sharp, blurred)]
    expected = structural_similarity(*floats, channel_axis=2, data_range=2)
    assert metrics.ssim_uniform7_range2(sharp, blurred) == pytest.approx(expected, abs=1e-5)
    assert metrics.metrics_of(["uformer"]) == ("psnr_rgb", "ssim_uniform7_range2")


@pytest.mark.skipif(perceptual.vmaf_absent() is not None, reason="FFmpeg here has no libvmaf")
def test_vmaf_of_tiny_images_says_what_to_do() -> None:
    least = perceptual.VMAF_LEAST_PX
    assert metrics.METRICS["vmaf"](*[picture(14, (least, least))] * 2) > 0
    for size_hw in ((least - 1, 64), (64, least - 1)):
        with pytest.raises(InputError, match=r"at least 17x17.*--protocol"):
            metrics.METRICS["vmaf"](*[picture(14, size_hw)] * 2)


def test_koehler_takes_the_best_candidate() -> None:
    restored = smeared(picture(9), 3)
    candidates = [picture(9), smeared(picture(9), 5), restored]
    psnr_db, ssim = metrics.koehler(iter(candidates), restored)
    assert psnr_db > 60
    assert ssim == pytest.approx(1, abs=1e-4)
    worse = metrics.koehler(candidates[:1], restored)
    assert worse[0] == metrics.psnr_aligned(candidates[0], restored) < psnr_db
    with pytest.raises(InputError, match="no sharp candidate"):
        metrics.koehler([], restored)
    with pytest.raises(InputError, match="cannot be aligned"):
        metrics.koehler([np.full_like(restored, 100)], restored)


# --- parts that may be absent --------------------------------------------------------------------


@pytest.mark.skipif(perceptual.vmaf_absent() is not None, reason="FFmpeg here has no libvmaf")
def test_vmaf_is_what_ffmpeg_says_of_two_files(tmp_path: Path) -> None:
    sharp = picture(10, (144, 176))
    blurred = smeared(sharp, 5)
    for name, image in (("sharp", sharp), ("blurred", blurred)):
        (tmp_path / f"{name}.png").write_bytes(encode_png(image))
    luma_of = "scale=out_color_matrix=bt709:out_range=limited,format=yuv444p"
    graph = f"[0]{luma_of}[a];[1]{luma_of}[b];[a][b]libvmaf"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", "blurred.png", "-i", "sharp.png"]
    command += ["-lavfi", graph, "-f", "null", "-"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = float(result.stderr.split("VMAF score: ")[1].split()[0])
    assert 0 < expected < 90
    assert metrics.METRICS["vmaf"](sharp, blurred) == pytest.approx(expected, abs=1e-6)
    assert metrics.METRICS["vmaf"](sharp, sharp) > 95


def test_vmaf_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    perceptual._ffmpeg_with_vmaf.cache_clear()
    try:
        assert "IMAGEIO_FFMPEG_EXE" in (perceptual.vmaf_absent() or "")
    finally:
        perceptual._ffmpeg_with_vmaf.cache_clear()


def given(path: Path | None) -> AbstractContextManager[None]:
    return parts_from(MetricParts(lpips_weights=path))


@pytest.fixture
def alexnet_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random weights where torchvision keeps the real ones, which nothing here downloads."""
    torch = pytest.importorskip("torch")
    try:
        from torchvision.models import alexnet
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"torchvision does not import: {error}")
    pytest.importorskip("lpips")
    path = tmp_path / "hub" / "checkpoints" / perceptual.ALEXNET_FILE
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(alexnet().state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(perceptual, "ALEXNET_SHA256_PREFIX", digest[:8])
    return path


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_lpips_is_the_packages_own(alexnet_stand_in: Path) -> None:
    import lpips
    import torch

    sharp = picture(11, (64, 80))
    blurred = smeared(sharp)
    theirs = lpips.LPIPS(net="alex", verbose=False)  # finds the file in TORCH_HOME
    x, y = (torch.from_numpy(i).permute(2, 0, 1)[None] / 127.5 - 1 for i in (sharp, blurred))
    perceptual._lpips_model.cache_clear()
    try:
        assert perceptual.lpips_absent() is None
        ours = metrics.METRICS["lpips"](sharp, blurred)
        assert ours == pytest.approx(theirs(x, y).item(), rel=1e-4)
        assert ours > 0
        assert metrics.METRICS["lpips"](sharp, sharp) == 0
    finally:
        perceptual._lpips_model.cache_clear()


def test_lpips_says_what_is_missing(
    alexnet_stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alexnet_stand_in.write_bytes(b"truncated")
    assert "damaged" in (perceptual.lpips_absent() or "")
    alexnet_stand_in.unlink()
    assert perceptual.ALEXNET_FILE in (perceptual.lpips_absent() or "")
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    assert "pip install '.[train]'" in (perceptual.lpips_absent() or "")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_lpips_takes_its_weights_from_a_named_file(
    alexnet_stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = picture(11, (64, 80))
    expected = metrics.METRICS["lpips"](sharp, smeared(sharp))
    named = tmp_path / "somewhere" / "weights.pth"
    named.parent.mkdir()
    alexnet_stand_in.rename(named)
    assert "--lpips-weights" in (perceptual.lpips_absent() or "")
    with given(named):
        assert perceptual.lpips_absent() is None
        assert metrics.METRICS["lpips"](sharp, smeared(sharp)) == expected
    assert perceptual.lpips_absent() is not None
    with given(tmp_path / "absent.pth"):
        assert "absent.pth" in (perceptual.lpips_absent() or "")
    with given(None):
        assert perceptual.lpips_absent() is not None
    monkeypatch.setattr(perceptual, "ALEXNET_SHA256_PREFIX", "00000000")
    with given(named):
        assert "holds others" in (perceptual.lpips_absent() or "")


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restored", "message"),
    [
        (np.zeros((20, 20, 3), np.float32), "float32"),
        (np.zeros((20, 20), np.uint8), "H, W, 3"),
        (np.zeros((20, 20, 4), np.uint8), "H, W, 3"),
        (np.zeros((20, 20, 3), np.uint16), "uint16"),
        (np.zeros((20, 21, 3), np.uint8), "21x20, the sharp one 20x20"),
    ],
)
@pytest.mark.parametrize("name", ["psnr_rgb", "ssim_matlab_rgb3d", "psnr_aligned", "lpips"])
def test_other_types_and_sizes_are_refused(
    name: str, restored: NDArray[np.uint8], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        metrics.METRICS[name](np.zeros((20, 20, 3), np.uint8), restored)


def test_images_under_the_window_are_refused() -> None:
    small = picture(0, (10, 40))
    for name, size in (("ssim_gauss", 11), ("ssim_y", 11), ("ssim_aligned", 11)):
        with pytest.raises(InputError, match=f"40x10, smaller than the {size}x{size}"):
            metrics.METRICS[name](small, small)
    with pytest.raises(InputError, match="7x7"):
        metrics.ssim_uniform7(small[:6], small[:6])
    assert metrics.ssim_matlab_rgb3d(small, small) == 1


def test_what_cannot_be_aligned_is_an_error_not_a_score() -> None:
    sharp = picture()
    with pytest.raises(InputError, match="black"):
        metrics.psnr_aligned(sharp, np.zeros_like(sharp))
    with pytest.raises(InputError, match="cannot be aligned"):
        metrics.psnr_aligned(sharp, np.full_like(sharp, 90))


def test_one_alignment_serves_both_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(sharp: Rgb, restored: Rgb) -> Aligned:
        calls.append(1)
        return align(sharp, restored)

    monkeypatch.setattr(statistics, "align", counted)
    sharp = picture()
    for _ in range(2):
        metrics.score(sharp, smeared(sharp), ["psnr_aligned", "ssim_aligned"])
    assert len(calls) == 2, "once a pair, and not kept from one pair to the next"


def test_bundles_name_metrics_that_exist() -> None:
    for name, bundle in metrics.BUNDLES.items():
        assert metrics.metrics_of([name]) == bundle.metrics
    assert metrics.metrics_of(["nah2017", "psnr_rgb", "ssim_gauss"]) == (
        "psnr_rgb",
        "ssim_matlab_rgb3d",
        "ssim_gauss",
    )
    with pytest.raises(InputError, match=r"'ssim' is not a protocol.*nah2017.*ssim_gauss"):
        metrics.metrics_of(["ssim"])
    with pytest.raises(InputError, match="no protocol"):
        metrics.metrics_of([])
