"""Patches and augmentation: what a batch holds depends on its number and nothing else."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import hsv2rgb, rgb2hsv
from tiny_dataset import write_dataset

from baselines import data as data_module
from baselines.data import FramePairs, Patches, augment, resized
from baselines.options import Cache
from baselines.recipe import NAH2017_AUGMENTATION, Augmentation, PatchConfig
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.threads import prefetched

CONFIG = PatchConfig(patch_px=16, batch=6, augmentation=NAH2017_AUGMENTATION)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset")


def patches_of(dataset: Path, config: PatchConfig, seed: int = 0) -> Patches:
    return Patches(FramePairs(dataset, "train", "gamma"), config, seed)


def checkerboard(seed: int, size: int = 8) -> tuple[Rgb, Rgb]:
    """Two patches of distinct values everywhere, so that any mix-up shows."""
    values = np.random.default_rng(seed).permutation(size * size * 3).astype(np.uint8)
    sharp = values.reshape(size, size, 3)
    return (255 - sharp).astype(np.uint8), sharp


# --- batches are a pure function of seed and number ---


def test_any_order_any_split_and_any_number_of_threads_give_the_same_batches(dataset: Path) -> None:
    patches = patches_of(dataset, CONFIG)
    whole = [patches.batch(number, range(6)) for number in range(4)]
    again = patches_of(dataset, CONFIG)
    for number in (3, 1):
        parts = [again.batch(number, part) for part in (range(3), range(3, 6))]
        assert torch.equal(torch.cat([part.blurred for part in parts]), whole[number].blurred)
        assert torch.equal(torch.cat([part.sharp for part in parts]), whole[number].sharp)
    threaded = prefetched(lambda n: again.batch(n, range(6)), range(2, 4), n_threads=3)
    for batch, expected in zip(threaded, whole[2:], strict=True):
        assert torch.equal(batch.blurred, expected.blurred)


def test_another_seed_and_another_number_give_other_patches(dataset: Path) -> None:
    one = patches_of(dataset, CONFIG, seed=1).batch(0, range(6)).sharp
    assert not torch.equal(one, patches_of(dataset, CONFIG, seed=2).batch(0, range(6)).sharp)
    assert not torch.equal(one, patches_of(dataset, CONFIG, seed=1).batch(1, range(6)).sharp)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_every_cache_gives_the_images_on_disk(dataset: Path, cache: Cache) -> None:
    frames = FramePairs(dataset, "train", "linear_crf", cache=cache)
    assert len(frames) == 5
    for index, pair in enumerate(frames.names):
        sequence, name = pair.split("/")
        blurred, sharp = frames.frames(index)
        assert np.array_equal(blurred, read_rgb(dataset / "train" / sequence / "blur" / name))
        assert np.array_equal(sharp, read_rgb(dataset / "train" / sequence / "sharp" / name))


def test_drawing_by_image_shows_each_once_an_epoch(dataset: Path) -> None:
    config = PatchConfig(patch_px=48, batch=3, draw="image")  # 48 px high: the window is known
    frames = FramePairs(dataset, "train", "gamma", cache="memory")
    patches = Patches(frames, config, seed=3)
    seen: Counter[int] = Counter()
    for number, index in itertools.product(range(5), range(3)):  # 15 patches: 3 epochs of 5
        _, sharp = patches.sample(number, index)
        column = (sharp[:, :, 0] * 255).round().astype(np.uint8).T
        hits = [
            which
            for which in range(5)
            if any((frames.frames(which)[1][:, x] == column).all() for x in range(17))
        ]
        seen.update(hits)
    assert seen == dict.fromkeys(range(5), 3)


def test_drawing_by_sequence_gives_short_sequences_their_share(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, train=(1, 9), size_hw=(16, 16))
    frames = FramePairs(dataset, "train", "gamma", cache="memory")
    patches = Patches(frames, PatchConfig(patch_px=16, draw="sequence"), seed=0)
    first = frames.frames(0)[1].transpose(2, 0, 1) / np.float32(255)
    hits = sum(np.array_equal(patches.sample(n, 0)[1], first) for n in range(400))
    assert 160 < hits < 240  # one half, where drawing by image would give a tenth


def test_crops_start_on_the_grid_and_reach_the_last_place(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, train=(1,), size_hw=(16, 25))
    frames = FramePairs(dataset, "train", "gamma", cache="memory")
    patches = Patches(frames, PatchConfig(patch_px=16, crop_alignment_px=4), seed=0)
    sharp = frames.frames(0)[1].transpose(2, 0, 1) / np.float32(255)
    starts = set()
    for number in range(60):
        _, patch = patches.sample(number, 0)
        starts |= {x for x in range(10) if np.array_equal(sharp[:, :, x : x + 16], patch)}
    assert starts == {0, 4, 8}


# --- augmentation ---


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_flips_turns_and_permutations_are_the_same_for_both_patches(seed: int) -> None:
    blurred, sharp = checkerboard(seed)
    config = Augmentation(hflip_p=0.5, vflip_p=0.5, rotate=True, permute_channels=True)
    out_blurred, out_sharp = augment(blurred, sharp, config, np.random.default_rng(seed))
    assert np.allclose(out_blurred + out_sharp, 1)  # one was the negative of the other
    placements = [
        np.rot90(image, turns)
        for image in (sharp, sharp[:, ::-1])
        for turns in range(4)
    ]  # fmt: skip
    codes = (out_sharp * 255).round().astype(np.uint8).transpose(1, 2, 0)
    assert any(
        np.array_equal(codes, placed[:, :, list(order)])
        for placed in placements
        for order in itertools.permutations(range(3))
    )


def test_all_orders_turns_and_flips_come_up_equally_often() -> None:
    blurred, sharp = checkerboard(0, size=2)
    config = Augmentation(hflip_p=0.5, rotate=True, permute_channels=True)
    rng = np.random.default_rng(0)
    seen = Counter(augment(blurred, sharp, config, rng)[1].tobytes() for _ in range(4800))
    assert len(seen) == 8 * 6
    assert 60 < min(seen.values()) <= max(seen.values()) < 145  # 100 expected, 4.5 deviations


def test_saturation_is_that_of_hsv(monkeypatch: pytest.MonkeyPatch) -> None:
    blurred, sharp = checkerboard(5)
    monkeypatch.setattr(data_module, "SATURATION_RANGE", (1.4, 1.4))
    config = Augmentation(saturation_p=1.0)
    _, out = augment(blurred, sharp, config, np.random.default_rng(0))
    hsv = rgb2hsv(sharp / 255)
    hsv[..., 1] *= 1.4
    assert np.allclose(out.transpose(1, 2, 0), hsv2rgb(hsv).clip(0, 1), atol=1e-6)


def test_a_tenth_of_the_pairs_is_sharp_to_sharp() -> None:
    blurred, sharp = checkerboard(1, size=4)
    config = Augmentation(sharp_to_sharp_p=0.1)
    rng = np.random.default_rng(0)
    copies = 0
    for _ in range(2000):
        out_blurred, out_sharp = augment(blurred, sharp, config, rng)
        assert np.array_equal(out_sharp.transpose(1, 2, 0), sharp / np.float32(255))
        copies += np.array_equal(out_blurred, out_sharp)
    assert 150 < copies < 250


def test_noise_is_on_the_input_alone_and_its_spread_varies() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    config = Augmentation(noise_sigma_std=2 / 255)
    rng = np.random.default_rng(0)
    spreads = []
    for _ in range(300):
        blurred, sharp = augment(grey, grey, config, rng)
        assert (sharp == np.float32(128) / 255).all()
        spreads.append((blurred - sharp).std())
    # Root mean square of a normal sigma is its deviation.
    assert np.sqrt(np.mean(np.square(spreads))) == pytest.approx(2 / 255, rel=0.15)
    assert np.std(spreads) > 0.3 * 2 / 255


def test_values_stay_in_range() -> None:
    extreme = np.zeros((8, 8, 3), np.uint8)
    extreme[:4, :, 0] = 255
    config = replace(NAH2017_AUGMENTATION, noise_sigma_std=0.5)
    for seed in range(20):
        for patch in augment(extreme, extreme, config, np.random.default_rng(seed)):
            assert patch.dtype == np.float32
            assert patch.min() >= 0
            assert patch.max() <= 1


def test_resizing_keeps_a_constant_and_the_mean() -> None:
    constant = np.full((64, 96, 3), 77, np.uint8)
    assert (resized(constant, (32, 48)) == 77).all()
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    assert resized(image, (32, 48)).shape == (32, 48, 3)
    assert abs(resized(image, (32, 48)).mean() - image.mean()) < 1


# --- what cannot be used ---


def test_a_patch_larger_than_the_image_names_the_image(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"000\d\d\d\.png: 64x48 is smaller than a patch"):
        patches_of(dataset, PatchConfig(patch_px=49)).batch(0, range(1))


def test_all_unreadable_images_are_named_at_once(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data")
    folder = dataset / "train" / "GOPR0001_11_00"
    for kind, name in (("sharp", "000001.png"), ("blur_gamma", "000003.png")):
        path = folder / kind / name
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"2 pair(?s:.*)blur_gamma/000003(?s:.*)sharp/000001"):
        FramePairs(dataset, "train", "gamma", cache="memory")


def test_lack_of_memory_is_reported_before_decoding(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(InputError, match=r"5 decoded pairs need .* choose --cache none"):
        FramePairs(dataset, "train", "gamma", cache="memory")


def test_partners_of_two_sizes_are_refused(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, train=(1,))
    other = write_dataset(tmp_path / "other", train=(1,), size_hw=(32, 32))
    name = Path("train", "GOPR0001_11_00", "sharp", "000001.png")
    (dataset / name).write_bytes((other / name).read_bytes())
    with pytest.raises(InputError, match="64x48, but its sharp partner is 32x32"):
        FramePairs(dataset, "train", "gamma").frames(0)


def test_an_error_of_a_thread_comes_where_its_result_was_due() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise InputError("three")
        return number

    results = prefetched(make, range(6), n_threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="three"):
        next(results)


@pytest.mark.parametrize("wrong", [{"hflip_p": 1.5}, {"noise_sigma_std": -1}])
def test_impossible_augmentations_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="was expected"):
        Augmentation(**wrong)  # type: ignore[arg-type]
