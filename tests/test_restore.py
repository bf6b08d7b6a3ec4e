"""Restoring: whole or in tiles, files in and files out, and what it refuses."""

import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_dataset import smooth_image, write_dataset

from baselines.checkpoints.store import save_checkpoint
from baselines.deblurgan.network import Generator
from baselines.deepdeblur.network import DeepDeblur
from baselines.methods import open_restorer
from baselines.options import RestoreOptions
from baselines.restoring import NetworkRestorer, TiledRestorer
from benchmarks.restore import restore_command
from gopro_tools import restorers
from gopro_tools.console import exit_code_of
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.restorers import RESTORERS, find_images, restore_images
from gopro_tools.tiles import in_tiles

CPU = RestoreOptions(device="cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photo() -> Rgb:
    return smooth_image(np.random.default_rng(0), (150, 211))


def deepdeblur(n_scales: int = 2, pyramid: str = "torch7") -> DeepDeblur:
    torch.manual_seed(0)
    network = DeepDeblur(n_scales, n_resblocks=1, n_features=6, pyramid=pyramid)  # type: ignore[arg-type]
    for parameter in network.parameters():
        parameter.data *= 2  # so that what lies far away shows in a pixel
    return network


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, {"restorer": deepdeblur()}, method="deepdeblur", config={}, step=1)
    return path


class Inverting:
    """A restorer whose result is known."""

    def __init__(self, weights: Path | None = None, device: str = "") -> None:
        self.weights = weights

    def restore(self, blurred: Rgb) -> Rgb:
        inverted: Rgb = (255 - blurred).astype(np.uint8)
        return inverted


def cropping(weights: Path | None, device: str) -> object:
    class Cropping:
        def restore(self, blurred: Rgb) -> Rgb:
            return blurred[1:]

    return Cropping()


class Returning:
    """A restorer that gives what it should not."""

    def __init__(self, weights: Path | None, device: str, value: object) -> None:
        self.value = value

    def restore(self, blurred: Rgb) -> object:
        return self.value


class Needing(Inverting):
    """A restorer that fails on images with fewer rows."""

    def __init__(self, weights: Path | None, device: str, rows: int) -> None:
        self.rows = rows

    def restore(self, blurred: Rgb) -> Rgb:
        blurred[self.rows]
        return super().restore(blurred)


def argument_less() -> object:
    return Inverting()


def failing(weights: Path | None, device: str) -> object:
    return 1 / 0


def nothing(weights: Path | None, device: str) -> object:
    return object()


def run(*arguments: object, **options: object) -> int:
    return exit_code_of(lambda: restore_command(*arguments, **options))  # type: ignore[arg-type]


# --- one image ---


@pytest.mark.parametrize("size_hw", [(40, 64), (37, 51), (5, 9)])
def test_any_size_comes_back_in_its_size(size_hw: tuple[int, int]) -> None:
    image = smooth_image(np.random.default_rng(1), size_hw)
    torch.manual_seed(0)
    for network in (deepdeblur(), Generator(4, 1)):
        restored = NetworkRestorer(network, CPU).restore(image)
        assert restored.shape == image.shape
        assert restored.dtype == np.uint8


def test_a_restorer_rounds_what_the_network_gives(photo: Rgb) -> None:
    class Halving(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images / 2 - 0.1

    exact = photo / 510 - 0.1
    nearest = NetworkRestorer(Halving(), CPU).restore(photo)
    assert np.abs(nearest - exact.clip(0, 1) * 255).max() <= 0.5001
    truncated = NetworkRestorer(Halving(), RestoreOptions(device="cpu", rounding="truncate"))
    difference = exact.clip(0, 1) * 255 - truncated.restore(photo)
    assert -0.001 < difference.min() <= difference.max() < 1.001
    assert difference.mean() > 0.1


def test_half_precision_stays_close(photo: Rgb) -> None:
    image = photo[:64, :64]
    full = NetworkRestorer(deepdeblur(), CPU).restore(image)
    options = RestoreOptions(device="cpu", precision="bf16", channels_last=True)
    low = NetworkRestorer(deepdeblur(), options).restore(image)
    assert np.abs(full.astype(int) - low).mean() < 1


def test_dropout_at_test_time_is_the_same_for_the_same_seed(photo: Rgb) -> None:
    torch.manual_seed(0)
    network = Generator(4, 2, dropout_at_test=True)
    image = photo[:40, :40]
    restorer = NetworkRestorer(network, CPU)
    assert np.array_equal(restorer.restore(image), restorer.restore(image))
    other = NetworkRestorer(network, RestoreOptions(device="cpu", seed=1))
    assert not np.array_equal(restorer.restore(image), other.restore(image))


# --- tiles ---


@pytest.mark.parametrize(
    ("size_hw", "sizes"),
    [
        ((360, 640), {(360, 352)}),  # two of 512 would be run on 60 % more
        ((720, 1280), {(400, 480)}),
        ((512, 512), {(512, 512)}),
        ((513, 100), {(304, 100), (305, 100)}),
    ],
)
def test_tiles_are_no_larger_than_they_have_to_be(size_hw, sizes) -> None:
    seen = []

    def run(tile: np.ndarray) -> np.ndarray:
        seen.append(tile.shape[:2])
        return tile

    image = np.random.default_rng(0).random((*size_hw, 3)).astype(np.float32)
    result = in_tiles(run, image, tile_px=512, overlap_px=64)
    np.testing.assert_allclose(result, image, rtol=1e-6)
    assert set(seen) == sizes


@pytest.mark.parametrize("pyramid", ["torch7", "pytorch-release"])
def test_the_receptive_radius_is_what_a_pixel_sees(pyramid: str) -> None:
    """Measured: how far from the middle a gradient reaches (every weight takes part)."""
    network = deepdeblur(n_scales=2, pyramid=pyramid)
    for parameter in network.parameters():
        parameter.data.abs_()
    images = torch.full((1, 3, 128, 128), 0.6, requires_grad=True)
    network(images)[0][0, :, 64, 64].sum().backward()
    assert images.grad is not None
    # Torch7's pyramid takes away the image's mean and adds it again: nothing within rounding.
    touched = images.grad.abs().amax(dim=(0, 1)) > 1e-5 * images.grad.abs().max()
    reach = (touched.nonzero() - 64).abs().max().item()
    radius = network.receptive_radius_px
    assert 0.5 * radius <= reach <= radius


@pytest.mark.parametrize("pyramid", ["torch7", "pytorch-release"])
@pytest.mark.parametrize("n_scales", [1, 2])
def test_tiles_equal_the_whole_image_within_a_level(
    photo: Rgb, n_scales: int, pyramid: str
) -> None:
    network = deepdeblur(n_scales, pyramid)
    restorer = NetworkRestorer(network, CPU)
    whole = restorer.restore(photo)
    overlap = round(network.receptive_radius_px * 8 / 3 + 0.5)
    # Torch7's pyramid surrounds an image with its mean, which a tile at the border does not know.
    margin = network.receptive_radius_px if n_scales > 1 and pyramid == "torch7" else 0
    inside = np.s_[margin : photo.shape[0] - margin, margin : photo.shape[1] - margin]
    tiled = TiledRestorer(restorer, 112, overlap).restore(photo)
    assert np.abs(whole.astype(int) - tiled)[inside].max() <= 1
    seams = TiledRestorer(restorer, 32, 0).restore(photo)
    assert np.abs(whole.astype(int) - seams)[inside].max() > 1  # the overlap is what does it


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 120), width=st.integers(1, 120),
    tile=st.integers(32, 100), overlap_share=st.floats(0, 0.5),
)  # fmt: skip
def test_tiles_of_a_pixelwise_restorer_leave_no_trace(
    height: int, width: int, tile: int, overlap_share: float
) -> None:
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3))
    blurred = image.astype(np.uint8)
    restored = TiledRestorer(Inverting(), tile, int(tile * overlap_share)).restore(blurred)
    assert np.array_equal(restored, 255 - blurred)


def test_default_overlap_follows_the_receptive_field(weights: Path, photo: Rgb) -> None:
    options = RestoreOptions(device="cpu", tile=128)
    tiled = open_restorer("deepdeblur", weights, options).restore(photo)
    whole = open_restorer("deepdeblur", weights, CPU).restore(photo)
    # A quarter of a tile is less than the theoretical field here: close, if not within a level.
    assert np.abs(whole.astype(int) - tiled).mean() < 0.5


# --- files ---


def test_a_dataset_gives_results_where_evaluate_looks_for_them(
    weights: Path, tmp_path: Path
) -> None:
    dataset, out = write_dataset(tmp_path / "data", test=(2, 1)), tmp_path / "out"
    assert run(dataset, method="deepdeblur", weights=weights, out=out, options=CPU) == 0
    names = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert names == {
        "GOPR0003_11_00/000001.png", "GOPR0003_11_00/000002.png", "GOPR0004_11_00/000001.png",
    }  # fmt: skip
    restorer = NetworkRestorer(deepdeblur(), CPU)
    blurred = read_rgb(dataset / "test/GOPR0004_11_00/blur_gamma/000001.png")
    assert np.array_equal(read_rgb(out / "GOPR0004_11_00/000001.png"), restorer.restore(blurred))
    record = json.loads((out / "restored.json").read_text())
    assert (record["method"], record["dataset"]["blur_kind"]) == ("deepdeblur", "gamma")
    assert len(record["weights_sha256"]) == 64


def test_the_other_blur_kind_and_split_are_taken_when_asked(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    (path, relative), *_ = find_images(dataset, "train", "linear_crf")
    assert path == dataset / "train" / "GOPR0001_11_00" / "blur" / "000001.png"
    assert relative == Path("GOPR0001_11_00", "000001.png")


def test_a_folder_keeps_names_formats_and_order(tmp_path: Path, photo: Rgb) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name in ("b/frame10.png", "b/frame9.png", "a.PNG", "notes.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(encode_png(photo[:20, :30]))
    assert [r.as_posix() for _, r in find_images(source)] == [
        "a.PNG",
        "b/frame9.png",
        "b/frame10.png",
    ]
    assert run(source, method="test_restore:Inverting", out=out, options=CPU) == 0
    for name in ("b/frame10.png", "b/frame9.png", "a.PNG"):
        assert np.array_equal(read_rgb(out / name), 255 - photo[:20, :30])
    assert not (out / "notes.txt").exists()


def test_other_formats_come_back_in_their_own(tmp_path: Path, photo: Rgb) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for suffix in ("jpg", "bmp", "tif", "webp"):
        cv2.imwrite(str(source / f"image.{suffix}"), photo)
    assert run(source, method="test_restore:Inverting", out=out, options=CPU) == 0
    for suffix, tolerance in (("jpg", 4), ("bmp", 0), ("tif", 0), ("webp", 0)):
        expected = 255 - read_rgb(source / f"image.{suffix}").astype(int)
        found = read_rgb(out / f"image.{suffix}")
        assert np.abs(found - expected).max() <= tolerance


def test_bad_images_are_named_and_the_rest_goes_on(
    tmp_path: Path, photo: Rgb, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    good = encode_png(photo[:20, :20])
    (source / "1.png").write_bytes(good)
    (source / "2.png").write_bytes(good[:100])
    (source / "3.png").write_bytes(b"")
    (source / "4.png").write_bytes(good)
    assert run(source, method="test_restore:Inverting", out=out, options=CPU) == 1
    messages = capsys.readouterr().err
    assert "2.png" in messages
    assert "3.png: the file is empty" in messages
    assert "2 restored, 0 kept, 2 failed" in messages
    assert sorted(path.name for path in out.glob("*.png")) == ["1.png", "4.png"]


def test_resuming_keeps_what_is_there_but_not_from_other_weights(
    weights: Path, tmp_path: Path
) -> None:
    dataset, out = write_dataset(tmp_path / "data"), tmp_path / "out"
    common = {"method": "deepdeblur", "out": out, "options": CPU}
    assert run(dataset, weights=weights, **common) == 0
    first, second = sorted(out.rglob("*.png"))
    before = first.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    assert run(dataset, weights=weights, resume=True, **common) == 0
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert second.is_file()
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, {"restorer": deepdeblur()}, method="deepdeblur", config={}, step=2)
    for resume in (True, False):
        assert run(dataset, weights=other, resume=resume, **common) == 2
        assert (
            run(dataset, weights=weights, resume=resume, **{**common, "options": other_options()})
            == 2
        )
        assert run(dataset, weights=weights, split="train", resume=resume, **common) == 2
    assert first.read_bytes() == before[0]


def other_options() -> RestoreOptions:
    return RestoreOptions(device="cpu", precision="bf16")


def test_resuming_makes_torn_results_again(tmp_path: Path, photo: Rgb) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("empty.png", "torn.png", "zeros.png", "whole.png", "torn.jpg"):
        cv2.imwrite(str(source / name), photo)
    common = {"method": "test_restore:Inverting", "out": out, "options": CPU}
    assert run(source, **common) == 0
    whole = {path.name: path.read_bytes() for path in out.glob("*.[pj][np]g")}
    assert len(whole) == 5
    (out / "empty.png").write_bytes(b"")
    (out / "torn.png").write_bytes(whole["torn.png"][:-20])
    (out / "zeros.png").write_bytes(bytes(len(whole["zeros.png"])))
    (out / "torn.jpg").write_bytes(whole["torn.jpg"][: len(whole["torn.jpg"]) // 2])
    kept = (out / "whole.png").stat().st_mtime_ns
    assert run(source, resume=True, **common) == 0
    assert {path.name: path.read_bytes() for path in out.glob("*.[pj][np]g")} == whole
    assert (out / "whole.png").stat().st_mtime_ns == kept


def test_resuming_notices_other_weights_in_a_folder_and_other_code(
    tmp_path: Path, photo: Rgb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder, code = tmp_path / "in", tmp_path / "weights", tmp_path / "stranger.py"
    source.mkdir()
    folder.mkdir()
    cv2.imwrite(str(source / "1.png"), photo)
    (folder / "a.bin").write_bytes(b"1")
    code.write_text(RESTORERS.example)
    monkeypatch.chdir(tmp_path)
    common = {"weights": folder, "out": tmp_path / "out", "options": CPU, "resume": True}
    assert run(source, method="stranger:make:sigma=1.5", **common) == 0
    assert run(source, method="stranger:make:sigma=1.5", **common) == 0
    assert run(source, method="stranger:make:sigma=2", **common) == 2
    assert "differ in method" in capsys.readouterr().err
    code.write_text(RESTORERS.example + "\n# changed\n")
    assert run(source, method="stranger:make:sigma=1.5", **common) == 2
    assert "differ in code_sha256" in capsys.readouterr().err
    code.write_text(RESTORERS.example)
    (folder / "a.bin").write_bytes(b"2")
    assert run(source, method="stranger:make:sigma=1.5", **common) == 2
    assert "differ in weights_sha256" in capsys.readouterr().err


def test_resuming_takes_more_and_mended_images_but_no_others_of_the_same_name(
    tmp_path: Path, photo: Rgb, capsys: pytest.CaptureFixture[str]
) -> None:
    source, other = tmp_path / "in", tmp_path / "other"
    for folder, image in ((source, photo), (other, photo[::-1])):
        folder.mkdir()
        (folder / "1.png").write_bytes(encode_png(np.ascontiguousarray(image)))
    (source / "2.png").write_bytes(b"damaged")
    common = {"method": "test_restore:Inverting", "out": tmp_path / "out", "options": CPU}
    assert run(source, **common) == 1
    for name in ("2.png", "3.png"):
        (source / name).write_bytes(encode_png(photo))
    assert run(source, resume=True, **common) == 0
    assert "2 restored, 1 kept, 0 failed" in capsys.readouterr().err
    assert run(other, resume=True, **common) == 2
    assert "differ in images" in capsys.readouterr().err


def test_a_full_disk_is_a_message(
    tmp_path: Path, photo: Rgb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    cv2.imwrite(str(source / "1.png"), photo)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gopro_tools.restorers.write_atomic", full)
    assert run(source, method="test_restore:Inverting", out=tmp_path / "out", options=CPU) == 2
    assert "No space left on device" in capsys.readouterr().err


# --- what it refuses ---


def test_missing_or_unfitting_weights_and_factories_stop_it(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, out = write_dataset(tmp_path / "data"), tmp_path / "out"
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(weights.read_bytes()[:-500])
    not_weights = tmp_path / "weights.pth"
    not_weights.write_bytes(b"not weights at all")
    for method, file, message in (
        ("deepdeblur", None, "needs --weights"),
        ("deepdeblur", tmp_path / "nowhere.pth", "nowhere.pth"),
        ("deepdeblur", torn, "torn.safetensors"),
        ("deepdeblur", not_weights, "weights.pth"),
        ("deblurgan", weights, "these are weights of deepdeblur"),
        ("deepdeblur-k3", weights, "no weights of deepdeblur-k3; its network has n_scales=2"),
        ("wiener", weights, "expected one of sun2015, sun2015-plus, deepdeblur-k1"),
        ("no.such.module:factory", None, "there is no module no"),
        ("nomod:factory:", None, "'' is not an option name=value"),
        ("test_restore:no_such_factory", None, "test_restore has no no_such_factory"),
        ("test_restore:nothing", None, "the object it made has no restore"),
        ("test_restore:argument_less", None, "cannot be called that way"),
        ("test_restore:Inverting:sigma=3", None, "unexpected keyword argument 'sigma'"),
        ("test_restore:failing", None, "the factory failed: ZeroDivisionError"),
        ("test_restore:Inverting", tmp_path / "nowhere.pth", "no such weight file"),
    ):
        assert run(dataset, method=method, weights=file, out=out, options=CPU) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("test_restore:cropping", "(48, 64, 3) uint8 was expected"),
        ("test_restore:Returning:value=None", "returned a NoneType"),
        ("test_restore:Returning:value=1.5", "returned a float"),
    ],
)
def test_what_is_no_restored_image_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, message: str
) -> None:
    dataset, out = write_dataset(tmp_path / "data"), tmp_path / "out"
    assert run(dataset, method=method, out=out, options=CPU) == 2
    messages = capsys.readouterr().err
    assert f"000001.png: {method}" in messages
    assert message in messages
    assert "could be restored" in messages
    assert not list(out.rglob("*.png"))


def test_a_restorer_that_raises_ends_its_image_and_not_the_run(
    tmp_path: Path, photo: Rgb, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name, image in (("1.png", photo), ("2.png", photo[:20]), ("3.png", photo)):
        (source / name).write_bytes(encode_png(np.ascontiguousarray(image)))
    method = "test_restore:Needing:rows=100"
    assert run(source, method=method, out=out, options=CPU) == 1
    messages = capsys.readouterr().err
    assert f"2.png: {method}: restore() failed: IndexError" in messages
    assert "test_restore.py:" in messages  # where it was raised
    assert sorted(path.name for path in out.glob("*.png")) == ["1.png", "3.png"]


class Ending:
    def __init__(self, weights: Path | None, device: str) -> None: ...

    def restore(self, blurred: Rgb) -> Rgb:
        raise SystemExit(5)


def test_a_restorer_that_ends_the_program_is_named(
    tmp_path: Path, photo: Rgb, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.png").write_bytes(encode_png(photo))
    out = tmp_path / "out"
    code = run(tmp_path / "1.png", method="test_restore:Ending", out=out, options=CPU)
    messages = capsys.readouterr().err
    assert "restore() failed: SystemExit: 5" in messages
    assert code == 2


@pytest.mark.parametrize("method", ["deepdeblur", "deblurgan"])
def test_a_network_that_returns_nan_is_an_error_and_not_black(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    dataset, out = write_dataset(tmp_path / "data"), tmp_path / "out"
    network = deepdeblur() if method == "deepdeblur" else Generator(4, 1)
    next(network.parameters()).data.fill_(float("nan"))
    weights = tmp_path / "diverged.safetensors"
    save_checkpoint(weights, {"restorer": network}, method=method, config={}, step=1)
    assert run(dataset, method=method, weights=weights, out=out, options=CPU) == 2
    messages = capsys.readouterr().err
    assert f"000001.png: {method}: the network returned NaN" in messages
    assert not list(out.rglob("*.png"))


def test_a_restorer_may_use_its_memory_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results wait to be written while the next image is restored."""

    class Reusing:
        def __init__(self) -> None:
            self.result = np.empty((20, 30, 3), np.uint8)

        def restore(self, blurred: Rgb) -> Rgb:
            np.copyto(self.result, blurred)
            return self.result

    def slowly(image: Rgb) -> bytes:
        time.sleep(0.02)
        return encode_png(image)

    monkeypatch.setattr(restorers, "encode_png", slowly)
    images = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encode_png(np.full((20, 30, 3), number, np.uint8)))
        images.append((path, Path(path.name)))
    restore_images(Reusing(), images, tmp_path / "out", method="reusing")
    written = [read_rgb(tmp_path / "out" / name) for _, name in images]
    assert [int(image[0, 0, 0]) for image in written] == list(range(12))


def test_the_input_is_never_written_over(tmp_path: Path, photo: Rgb) -> None:
    image = tmp_path / "in" / "image.png"
    image.parent.mkdir()
    image.write_bytes(encode_png(photo))
    for source, out in (
        (image.parent, image.parent),
        (image.parent, image.parent / "restored"),
        (image, image.parent),
    ):
        assert run(source, method="test_restore:Inverting", out=out, options=CPU) == 2
    assert np.array_equal(read_rgb(image), photo)
    assert run(image, method="test_restore:Inverting", out=tmp_path / "out", options=CPU) == 0
    assert np.array_equal(read_rgb(tmp_path / "out" / "image.png"), 255 - photo)


def test_nothing_to_restore_and_impossible_tiles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images there"):
        find_images(tmp_path)
    with pytest.raises(InputError, match="was expected"):
        RestoreOptions(tile=8)
