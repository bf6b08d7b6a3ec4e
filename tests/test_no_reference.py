"""NIQE and the blur effect, and scoring images whose sharp ones nobody has."""

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import skimage.data
from numpy.typing import NDArray
from scipy import ndimage, special, stats

from gopro_tools import evaluate as package
from gopro_tools import tables
from gopro_tools.detect import DetectConfig, detect
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.images import Rgb, encode_png
from gopro_tools.metrics import METRICS, no_reference
from gopro_tools.metrics.parts import MetricParts, parts_from

PHOTO: Rgb = skimage.data.astronaut()


def smeared(image: Rgb, length_px: int) -> Rgb:
    return ndimage.uniform_filter1d(image, length_px, axis=1)


def noisy(image: Rgb, sigma: float) -> Rgb:
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of scikit-image's sharp photographs, under the names of the authors' file."""
    photos = [PHOTO, skimage.data.rocket(), skimage.data.stereo_motorcycle()[0]]
    features = np.vstack([no_reference.niqe_features(photo) for photo in photos])
    features = features[~np.isnan(features).any(axis=1)]
    path = tmp_path / "modelparameters.mat"
    mean, covariance = features.mean(axis=0, keepdims=True), np.cov(features, rowvar=False)
    scipy.io.savemat(path, {"mu_prisparam": mean, "cov_prisparam": covariance})
    return path


# --- NIQE, written out as the paper and the release describe it ----------------------------------


def direct_features(grey: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x**2 + y**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = ndimage.correlate(grey, window, mode="nearest")
    square = ndimage.correlate(grey**2, window, mode="nearest")
    normal = (grey - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)
    rows = []
    for top in range(0, grey.shape[0], side):
        for left in range(0, grey.shape[1], side):
            block = normal[top : top + side, left : left + side]
            shape, low, high = direct_fit(block)
            row = [shape, (low + high) / 2]
            for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
                shape, low, high = direct_fit(block * np.roll(block, shift, (0, 1)))
                ratio = special.gamma(2 / shape) / special.gamma(1 / shape)
                row += [shape, (high - low) * ratio, low, high]
            rows.append(row)
    return np.array(rows)


def direct_fit(values: NDArray[np.float64]) -> tuple[float, float, float]:
    gam = np.arange(0.2, 10.001, 0.001)
    r_gam = special.gamma(2 / gam) ** 2 / (special.gamma(1 / gam) * special.gamma(3 / gam))
    left = np.sqrt(np.mean(values[values < 0] ** 2))
    right = np.sqrt(np.mean(values[values > 0] ** 2))
    g = left / right
    r = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    r *= (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    shape = gam[np.argmin((r_gam - r) ** 2)]
    scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return float(shape), float(left * scale), float(right * scale)


def direct_half(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bicubic at half size from its definition: the kernel stretched by two, edges mirrored."""

    def keys(t: float) -> float:
        t = abs(t)
        if t <= 1:
            return 1.5 * t**3 - 2.5 * t**2 + 1
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    for _ in range(2):
        n = len(values)
        out = np.zeros((n // 2, values.shape[1]))
        for k in range(n // 2):
            centre = 2 * k + 0.5
            for i in range(2 * k - 4, 2 * k + 6):
                inside = -1 - i if i < 0 else 2 * n - 1 - i if i >= n else i
                out[k] += keys((i - centre) / 2) / 2 * values[inside]
        values = out.T
    return values


def test_niqe_is_the_distance_written_out(model: Path) -> None:
    image = noisy(PHOTO[:200, :300], 5)
    weights = [0.298936021293775, 0.587043074451121, 0.114020904255103]
    grey = np.rint(image[:192, :288] @ weights)
    features = np.hstack([direct_features(grey, 96), direct_features(direct_half(grey), 48)])
    np.testing.assert_allclose(no_reference.niqe_features(image), features, rtol=1e-9)
    stored = scipy.io.loadmat(model)
    apart = stored["mu_prisparam"] - features.mean(axis=0)
    middle = np.linalg.pinv((stored["cov_prisparam"] + np.cov(features.T)) / 2)
    with parts_from(MetricParts(niqe_model=model)):
        ours = METRICS["niqe"](image, image)
    assert ours == pytest.approx(math.sqrt((apart @ middle @ apart.T).item()), rel=1e-6)


@pytest.mark.parametrize("shape", [0.8, 1.5, 3.0])
def test_the_fit_finds_what_scipy_drew(shape: float) -> None:
    drawn = np.abs(stats.gennorm.rvs(shape, size=400_000, random_state=1))
    # Each side has its share of the values: that of its scale.
    left = np.random.default_rng(2).random(drawn.shape) < 0.5 / (0.5 + 2.0)
    values = np.where(left, -0.5 * drawn, 2.0 * drawn)
    found = no_reference.fitted_generalised_gaussian(values[np.newaxis])
    assert [float(part[0]) for part in found] == pytest.approx([shape, 0.5, 2.0], rel=0.03)


def test_blur_and_noise_take_an_image_away_from_nature(model: Path) -> None:
    with parts_from(MetricParts(niqe_model=model)):
        blurs = [no_reference.niqe_distance(smeared(PHOTO, px)) for px in (1, 5, 11)]
        noises = [no_reference.niqe_distance(noisy(PHOTO, sigma)) for sigma in (0, 10, 30)]
        assert no_reference.niqe_absent() is None
    assert blurs == sorted(blurs)
    assert noises == sorted(noises)
    assert blurs[2] > 1.5 * blurs[0]


def test_flat_images_have_no_niqe_and_small_ones_are_refused(model: Path) -> None:
    with parts_from(MetricParts(niqe_model=model)):
        assert math.isnan(no_reference.niqe_distance(np.full((192, 192, 3), 90, np.uint8)))
        with pytest.raises(InputError, match="192x96 pixels, this one is 191x96"):
            no_reference.niqe_distance(PHOTO[:96, :191])


def test_niqe_says_what_is_missing_or_wrong(model: Path, tmp_path: Path) -> None:
    assert "--niqe-model" in (no_reference.niqe_absent() or "")
    wrong = {
        "absent.mat": "no such file",
        "damaged.mat": "cannot be read as a NIQE model",
        "others.mat": "mu_prisparam (36)",
        "small.mat": "cannot be read as a NIQE model",
    }
    (tmp_path / "damaged.mat").write_bytes(model.read_bytes()[:300])
    scipy.io.savemat(tmp_path / "others.mat", {"mu": np.zeros(36)})
    small = {"mu_prisparam": np.zeros(36), "cov_prisparam": np.eye(18)}
    scipy.io.savemat(tmp_path / "small.mat", small)
    for name, message in wrong.items():
        with parts_from(MetricParts(niqe_model=tmp_path / name)):
            why = no_reference.niqe_absent() or ""
        assert name in why
        assert message in why
    stored = scipy.io.loadmat(model)
    copied = tmp_path / "copied.npz"
    np.savez(copied, mu_pris_param=stored["mu_prisparam"], cov_pris_param=stored["cov_prisparam"])
    settings = []
    for path in (model, copied):
        with parts_from(MetricParts(niqe_model=path)):
            settings.append(no_reference.niqe_settings())
    assert settings[0] == settings[1]  # one model in two formats


# --- the blur effect -----------------------------------------------------------------------------


def test_the_blur_effect_is_the_formula_of_its_paper() -> None:
    image = PHOTO[:120, :160]
    grey = image @ [0.2125, 0.7154, 0.0721] / 255
    lost = []
    for axis in (0, 1):
        smooth = ndimage.uniform_filter1d(grey, 11, axis=axis)
        # scikit-image takes Sobel's differences, and leaves a border of two out.
        before, after = (np.abs(ndimage.sobel(x, axis)) for x in (grey, smooth))
        inner = (slice(2, -1), slice(2, -1))
        taken = np.maximum(0, before - after)[inner].sum()
        lost.append((before[inner].sum() - taken) / before[inner].sum())
    assert METRICS["blur_effect"](image, image) == pytest.approx(max(lost), abs=0.01)
    values = [METRICS["blur_effect"](PHOTO, smeared(PHOTO, px)) for px in (1, 5, 11, 25)]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] < 1


# --- images without truth ------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for folder, length in (("blurred", 9), ("restored", 3)):
        for number in (1, 2):
            path = tmp_path / folder / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode_png(smeared(PHOTO[: 200 + number], length)))
    return tmp_path


def test_photos_without_truth_are_scored_and_compared(
    photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--blurred", "blurred", "--restored", "mine=restored"]
    arguments += ["--protocol", "no_reference", "psnr_rgb", "-o", "out"]
    monkeypatch.chdir(photos)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as exit_:
        package.main()
    assert exit_.value.code == 2
    assert "compares with sharp images" in " ".join(capsys.readouterr().err.split())
    arguments.remove("psnr_rgb")
    arguments += ["--niqe-model", str(model)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as exit_:
        package.main()
    assert exit_.value.code == 0
    with (photos / "out" / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["blurred"] * 2 + ["mine"] * 2
    assert float(rows[2]["blur_effect"]) < float(rows[0]["blur_effect"])
    with parts_from(MetricParts(niqe_model=model)):
        expected = no_reference.niqe_distance(smeared(PHOTO[:201], 9))
    assert float(rows[0]["niqe"]) == expected
    stored = json.loads((photos / "out" / "run.json").read_text())["results"]["metrics"]["niqe"]
    assert stored["settings"].startswith("model ")
    assert stored["higher_is_better"] is False
    assert "modelparameters" not in json.dumps(stored)
    page = tables.compare([photos / "out"]).to_markdown()
    assert "NIQE" in page
    assert "blur effect" in page


def test_scores_from_two_niqe_models_share_no_column(photos: Path, model: Path) -> None:
    stored = scipy.io.loadmat(model)
    other = photos / "other.mat"
    mean = stored["mu_prisparam"] + 0.1
    scipy.io.savemat(other, {"mu_prisparam": mean, "cov_prisparam": stored["cov_prisparam"]})
    for name, path in (("one", model), ("two", other)):
        sources = Sources(blurred=photos / "blurred", restored=(f"{name}={photos / 'restored'}",))
        config = EvaluateConfig(protocol=("niqe",), niqe_model=path)
        evaluate(sources, config, out=photos / f"scores-{name}")
    with pytest.raises(InputError, match="settings"):
        tables.compare([photos / "scores-one", photos / "scores-two"])


def test_what_needs_sharp_images_says_so(photos: Path) -> None:
    sources = Sources(blurred=photos / "blurred")
    with pytest.raises(InputError, match="--sharp DIR is missing"):
        detect(sources, DetectConfig(detector="nothing.onnx"), out=photos / "out")
    with pytest.raises(InputError, match="None of these metrics can be computed"):
        evaluate(sources, EvaluateConfig(protocol=("mprnet",)))
    # A bundle leaves out what cannot be computed, and says so.
    evaluation = evaluate(sources, EvaluateConfig(protocol=("all",)))
    assert evaluation.metrics == ("blur_effect",)
    assert "--niqe-model" in evaluation.absent["niqe"]
    assert "sharp" in evaluation.absent["psnr_rgb"]
