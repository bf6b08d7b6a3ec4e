"""Other people's datasets and results, as their programs leave them: paired without renaming."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from tiny_dataset import horizontally_blurred, smooth_image

from gopro_tools import restorers
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, evaluate, write_evaluation
from gopro_tools.findings import has_errors
from gopro_tools.images import Rgb, encode_png, find_images, read_rgb
from gopro_tools.layouts import find_dataset
from gopro_tools.naming import group_of, match_files, renumbered
from gopro_tools.pairing import pair_images
from gopro_tools.sources import Sources
from gopro_tools.verify import verify

SEQUENCES = ("GOPR0384_11_00", "GOPR0410_11_00")
FAST = EvaluateConfig(protocol=("psnr_rgb",), n_resamples=50)


def picture(number: int) -> Rgb:
    return smooth_image(np.random.default_rng(number), (24, 32))


def save(path: Path, image: Rgb) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))


def moments() -> list[tuple[int, str, int]]:
    """Number of the picture, sequence, number in it."""
    return [(2 * k + i, sequence, i + 1) for k, sequence in enumerate(SEQUENCES) for i in (0, 1)]


def write_pairs(
    root: Path, sharp: str, blurred: str, more: Mapping[str, str] | None = None
) -> None:
    """Write each moment under names made of {q} (sequence), {k} (its index) and {n} (number)."""
    for number, q, n in moments():
        places = {"q": q, "k": SEQUENCES.index(q), "n": n}
        save(root / sharp.format(**places), picture(number))
        save(root / blurred.format(**places), horizontally_blurred(picture(number), 5))
        for name in (more or {}).values():
            save(root / name.format(**places), horizontally_blurred(picture(number), 3))


LAYOUTS: dict[str, tuple[str, str, str, str]] = {
    # name: sharp, blurred, first key, what split is called
    "GOPRO": (
        "test/{q}/sharp/{n:06d}.png", "test/{q}/blur_gamma/{n:06d}.png",
        "GOPR0384_11_00/000001.png", "test",
    ),
    "MPRNet": (
        "test/target/{q}-{n:06d}.png", "test/input/{q}-{n:06d}.png",
        "GOPR0384_11_00-000001.png", "test",
    ),
    "Restormer": ("target/{q}-{n:06d}.png", "input/{q}-{n:06d}.png",
                  "GOPR0384_11_00-000001.png", ""),
    "NAFNet crops": (
        "test/sharp_crops/{q}-{n:06d}_s001.png", "test/blur_crops/{q}-{n:06d}_s001.png",
        "GOPR0384_11_00-000001_s001.png", "test",
    ),
    "MIMO-UNet": ("test/sharp/{k}{n:03d}.png", "test/blur/{k}{n:03d}.png", "0001.png", "test"),
    "DVD": (
        "quantitative_datasets/IMG_{k:04d}/GT/{n:05d}.png",
        "quantitative_datasets/IMG_{k:04d}/input/{n:05d}.png", "IMG_0000/00001.png", "",
    ),
    "DVD with splits": (
        "test/IMG_{k:04d}/GT/{n:05d}.png", "test/IMG_{k:04d}/input/{n:05d}.png",
        "IMG_0000/00001.png", "test",
    ),
    "RealBlur": (
        "scene{k:03d}/gt/gt_{n}.png", "scene{k:03d}/blur/blur_{n}.png", "scene000/blur_1.png", "",
    ),
    "RSBlur": (
        "{k:04d}/{n:06d}/gt/gt_sharp.png", "{k:04d}/{n:06d}/real_blur/real_blur.png",
        "0000/000001.png", "",
    ),
    "REDS": ("val_sharp/{k:03d}/{n:08d}.png", "val_blur/{k:03d}/{n:08d}.png",
             "000/00000001.png", "val"),
    "REDS as unpacked": (
        "val/val_sharp/{k:03d}/{n:08d}.png", "val/val_blur/{k:03d}/{n:08d}.png",
        "000/00000001.png", "val",
    ),
    "REDS with compression": ("val/val_sharp/{k:03d}/{n:08d}.png",
                              "val/val_blur_jpeg/{k:03d}/{n:08d}.png", "000/00000001.png", "val"),
    "VRT": ("test_GT/{q}/{n:06d}.png", "test_GT_blurred/{q}/{n:06d}.png",
            "GOPR0384_11_00/000001.png", "test"),
    "NAFNet's REDS": ("val/sharp_300/{k}{n:07d}.png", "val/blur_300/{k}{n:07d}.png",
                      "00000001.png", "val"),
    "BSD": ("test/{k:03d}/Sharp/RGB/{n:08d}.png", "test/{k:03d}/Blur/RGB/{n:08d}.png",
            "000/RGB/00000001.png", "test"),
    "names of its own for blurred images": (
        "test/{q}/sharp/{n:06d}.png", "test/{q}/blurry/{n:06d}.png",
        "GOPR0384_11_00/000001.png", "test",
    ),
    "splits in capitals": ("Test/{q}/sharp/{n:06d}.png", "Test/{q}/blur_gamma/{n:06d}.png",
                           "GOPR0384_11_00/000001.png", "test"),
    "inside a folder": (
        "GOPRO_Large/test/{q}/sharp/{n:06d}.png", "GOPRO_Large/test/{q}/blur_gamma/{n:06d}.png",
        "GOPR0384_11_00/000001.png", "test",
    ),
    "inside two folders": (
        "a/b/test/sharp/{q}-{n:06d}.png", "a/b/test/blur/{q}-{n:06d}.png",
        "GOPR0384_11_00-000001.png", "test",
    ),
    "HIDE": ("GT/{n}from{q}.png", "test/test-close-ups/{n}from{q}.png",
             "test-close-ups/1fromGOPR0384_11_00.png", "test"),
    "Köhler": ("GroundTruth_pngs_Image{k}/GroundTruth{k}_{n}_1.png",
               "BlurryImages/Blurry{k}_{n}.png", "Blurry0_1.png", ""),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dataset_is_read_in_the_layout_it_has(tmp_path, layout):
    sharp, blurred, key, split = LAYOUTS[layout]
    write_pairs(tmp_path / "data", sharp, blurred)
    sources = Sources(dataset=tmp_path / "data")
    assert sources.labels["split"] == split
    pairing = pair_images(sources)
    assert pairing.image_sets[0].key == key
    assert len(pairing.image_sets) == 4
    numbers = [number for number, _, _ in moments()]
    if layout == "HIDE":  # numbers come before sequences in its names
        numbers = [0, 2, 1, 3]
    for number, images in zip(numbers, pairing.image_sets, strict=True):
        np.testing.assert_array_equal(read_rgb(images.paths["sharp"]), picture(number))
        expected = horizontally_blurred(picture(number), 5)
        np.testing.assert_array_equal(read_rgb(images.paths["blurred"]), expected)


def test_hide_leaves_the_truth_of_the_other_split_alone(tmp_path):
    write_pairs(tmp_path, *LAYOUTS["HIDE"][:2])
    save(tmp_path / "GT" / "of_train.png", picture(9))
    save(tmp_path / "train" / "of_train.png", picture(9))
    assert len(pair_images(Sources(dataset=tmp_path)).image_sets) == 4
    assert len(pair_images(Sources(dataset=tmp_path, split="train")).image_sets) == 1


def test_realblur_takes_the_pairs_of_the_split_from_its_list(tmp_path):
    root = tmp_path / "RealBlur-J_ECC"
    write_pairs(root, *LAYOUTS["RealBlur"][:2])
    for letter, scenes in (("J", [1]), ("R", [0, 1])):
        lines = [
            f"RealBlur-{letter}_ECC/scene{k:03d}/gt/gt_{n}.png "
            f"RealBlur-{letter}_ECC/scene{k:03d}/blur/blur_{n}.png\n"
            for k in scenes for n in (1, 2)
        ]  # fmt: skip
        (tmp_path / f"RealBlur_{letter}_test_list.txt").write_text("".join(lines))
    pairing = pair_images(Sources(dataset=root))
    assert [images.key for images in pairing.image_sets] == [
        "scene001/blur_1.png", "scene001/blur_2.png",
    ]  # fmt: skip
    assert Sources(dataset=root).labels["split"] == "test"
    (tmp_path / "RealBlur_J_test_list.txt").write_text("x/gone/gt/gt_1.png x/gone/blur/blur_1.png")
    with pytest.raises(InputError, match="1 of its 1 pairs"):
        pair_images(Sources(dataset=root))


def test_without_splits_all_images_are_taken_and_that_is_said(tmp_path):
    write_pairs(tmp_path, *LAYOUTS["RealBlur"][:2])
    assert "no list of a split" in pair_images(Sources(dataset=tmp_path)).notes[0]


def test_rsblur_has_a_list_too(tmp_path):
    write_pairs(tmp_path, *LAYOUTS["RSBlur"][:2])
    line = "RSBlur/0001/000002/gt/gt_sharp.png RSBlur/0001/000002/real_blur/real_blur.png\n"
    (tmp_path / "RSBlur_real_test.txt").write_text(line)
    assert [i.key for i in pair_images(Sources(dataset=tmp_path)).image_sets] == ["0001/000002.png"]


def test_koehlers_best_sharp_image_counts(tmp_path):
    write_pairs(tmp_path / "data", *LAYOUTS["Köhler"][:2])
    for number, q, n in moments():
        k = SEQUENCES.index(q)
        truths = tmp_path / "data" / f"GroundTruth_pngs_Image{k}"
        (truths / f"GroundTruth{k}_{n}_1.png").rename(truths / f"GroundTruth{k}_{n}_10.png")
        save(truths / f"GroundTruth{k}_{n}_2.png", picture(50 + number))
        save(tmp_path / "sharp" / f"Blurry{k}_{n}.png", picture(number))
    best = evaluate(Sources(dataset=tmp_path / "data"), FAST)
    blurred = tmp_path / "data" / "BlurryImages"
    expected = evaluate(Sources(sharp=tmp_path / "sharp", blurred=blurred), FAST)
    np.testing.assert_allclose(best.scores, expected.scores)


def test_kinds_may_be_in_the_names(tmp_path):
    write_pairs(tmp_path, "sharp/{q}_{n}_gt.png", "blurred/{q}_{n}_blur.png", {"": "m/{q}_{n}.png"})
    sources = Sources(
        sharp=tmp_path / "sharp", blurred=tmp_path / "blurred", restored=(f"m={tmp_path / 'm'}",)
    )
    assert len(pair_images(sources).image_sets) == 4


def test_several_datasets_in_one_folder_never_mix(tmp_path):
    for name in ("GoPro", "HIDE"):
        write_pairs(tmp_path / "test" / name, *LAYOUTS["Restormer"][:2])
    with pytest.raises(InputError, match="GoPro, HIDE"):
        pair_images(Sources(dataset=tmp_path))
    assert len(pair_images(Sources(dataset=tmp_path / "test" / "GoPro")).image_sets) == 4


def test_two_folders_that_could_be_the_truth_are_refused(tmp_path):
    write_pairs(tmp_path, "gt/{q}-{n}.png", "input/{q}-{n}.png", {"": "target/{q}-{n}.png"})
    with pytest.raises(InputError, match="gt and target"):
        pair_images(Sources(dataset=tmp_path))


def test_no_image_of_a_sequence_is_dropped_for_the_shape_of_the_folders(tmp_path):
    """A folder of sequences in a folder looks like RSBlur's, which has a folder for each pair."""
    for name in ("RealBlur-J", "RealBlur-R"):
        write_pairs(tmp_path / "both" / name, *LAYOUTS["RealBlur"][:2])
    with pytest.raises(InputError, match="RealBlur-J, RealBlur-R"):
        pair_images(Sources(dataset=tmp_path / "both"))
    write_pairs(tmp_path / "more", *LAYOUTS["RSBlur"][:2])
    extra = tmp_path / "more" / "0001" / "000001" / "real_blur" / "real_blur_2.png"
    save(extra, picture(0))
    with pytest.raises(InputError, match="one pair per folder"):
        pair_images(Sources(dataset=tmp_path / "more"))


def test_crops_and_databases_are_passed_over_where_the_images_are_there(tmp_path):
    write_pairs(tmp_path, *LAYOUTS["MIMO-UNet"][:2])
    write_pairs(tmp_path, *LAYOUTS["NAFNet crops"][:2])
    (tmp_path / "test" / "blur_crops.lmdb").mkdir()
    sets = pair_images(Sources(dataset=tmp_path)).image_sets
    assert [images.name for images in sets] == ["0001.png", "0002.png", "1001.png", "1002.png"]
    assert {images.paths[kind].parent.name for images in sets for kind in images.paths} == {
        "sharp", "blur",
    }  # fmt: skip


def test_a_list_of_the_other_split_gives_no_images_of_this_one(tmp_path):
    root = tmp_path / "RealBlur-J"
    write_pairs(root, *LAYOUTS["RealBlur"][:2])
    pair = "RealBlur-J/scene001/gt/gt_1.png RealBlur-J/scene001/blur/blur_1.png\n"
    (tmp_path / "RealBlur_J_test_list.txt").write_text(pair)
    assert len(pair_images(Sources(dataset=root)).image_sets) == 1
    with pytest.raises(InputError, match="lists another split"):
        pair_images(Sources(dataset=root, split="train"))
    assert [finding.message for finding in verify(root) if finding.check == "layout"] == [
        "sequences layout, split test: 1 pairs"
    ]


def test_what_is_there_instead_is_said(tmp_path):
    write_pairs(tmp_path / "only", *(name.replace("test", "train") for name in LAYOUTS["VRT"][:2]))
    with pytest.raises(InputError, match=r"no split 'test' there, but 'train'"):
        pair_images(Sources(dataset=tmp_path / "only"))
    (tmp_path / "GOPRO.zip").touch()
    with pytest.raises(InputError, match="unpack it"):
        pair_images(Sources(dataset=tmp_path / "GOPRO.zip"))


def test_a_recording_in_both_splits_is_found_in_flat_folders_too(tmp_path):
    for split, n in (("train", 1), ("test", 2)):
        for kind in ("input", "target"):
            save(tmp_path / split / kind / f"GOPR0384_11_0{n}-000001.png", picture(n))
    (finding,) = [found for found in verify(tmp_path) if found.check == "recording"]
    assert "GOPR0384 is in 2 splits" in finding.message


def test_lmdb_is_named(tmp_path):
    (tmp_path / "test" / "input.lmdb").mkdir(parents=True)
    with pytest.raises(InputError, match="LMDB"):
        find_dataset(tmp_path, "test")


RESULTS: dict[str, str] = {
    "exact": "{q}/{n:06d}.png",
    "a folder of the split": "test/{q}/{n:06d}.png",
    "DeepDeblur-PyTorch": "{q}/blur_gamma/{n:06d}.png",
    "a copy of the dataset": "{q}/sharp/{n:06d}.png",
    "MPRNet": "{q}-{n:06d}.png",
    "underscore": "{q}_{n:06d}.png",
    "under the dataset's name": "GoPro/{q}/{n:06d}.png",
    "MPRNet under the dataset's name": "GoPro/{q}-{n:06d}.png",
    "BasicSR": "visualization/GoPro/{q}-{n:06d}_MyNet.png",
    "DeblurGAN": "{q}/{n:06d}_fake_B.png",
    "numbers without zeros": "{q}-{n}.png",
    "kind in the name": "{q}_blur_{n:06d}.png",
    "a word before": "{q}/deblurred_{n:06d}.png",
    "a word before the sequence": "test_{q}_{n:06d}.png",
    "a word without a sign": "{q}/out{n}.png",
    "the method inside each sequence": "{q}/mynet/{n:06d}.png",
    "folders around": "mynet/test_latest/images/{q}/{n:06d}.png",
    "the training step": "{q}/{n:06d}_20000.png",
    "BasicSR's folder per image": "{q}-{n:06d}/{q}-{n:06d}_20000.png",
    "a score after each name": "{q}/{n:06d}_psnr_3{n}.1.png",
}


@pytest.mark.parametrize("results", RESULTS)
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg"])
def test_results_pair_under_the_names_programs_give_them(tmp_path, results, suffix):
    sharp, blurred, *_ = LAYOUTS["GOPRO"]
    made = "out/" + RESULTS[results].replace(".png", suffix)
    if results == "BasicSR":
        made = made.replace("visualization/GoPro/", "")
    write_pairs(tmp_path, sharp, blurred, {"made": made})
    pairing = pair_images(Sources(dataset=tmp_path, restored=(f"m={tmp_path / 'out'}",)))
    assert not pairing.left_out
    for (number, _, _), images in zip(moments(), pairing.image_sets, strict=True):
        expected = horizontally_blurred(picture(number), 3)
        np.testing.assert_array_equal(read_rgb(images.paths["m"]), expected)


@pytest.mark.parametrize(
    ("made", "suffix"),
    [
        ("{q}-{n:06d}/{q}-{n:06d}_MyNet.png", ()),
        ("{q}-{n:06d}/{q}-{n:06d}_20000.png", ("_20000",)),
        ("{q}-{n:06d}_20000.png", ("_20000",)),
        ("{q}-{n:06d}.out.png", (".out",)),
    ],
)
def test_basicsrs_folder_per_image_and_suffixes_of_numbers(tmp_path, made, suffix):
    write_pairs(tmp_path, *LAYOUTS["MPRNet"][:2], {"": f"out/{made}"})
    sources = Sources(dataset=tmp_path, restored=(f"m={tmp_path / 'out'}",), suffix=suffix)
    assert len(pair_images(sources).image_sets) == 4


def test_flat_truth_takes_flat_and_foldered_results(tmp_path):
    sharp, blurred, *_ = LAYOUTS["MPRNet"]
    for made in ("{q}-{n:06d}.PNG", "{q}/{n:06d}.png", "{q}-{n:06d}_MyNet.png"):
        write_pairs(tmp_path / made, f"data/{sharp}", f"data/{blurred}", {"": f"out/{made}"})
        out = tmp_path / made / "out"
        pairing = pair_images(Sources(dataset=tmp_path / made / "data", restored=(f"m={out}",)))
        assert len(pairing.image_sets) == 4


def test_copies_of_input_and_truth_beside_the_results_are_never_taken_for_results(tmp_path):
    sharp, blurred, *_ = LAYOUTS["MPRNet"]
    made = {"": "out/{q}-{n:06d}.png", "gt": "out/{q}-{n:06d}_gt.png",
            "A": "out/{q}-{n:06d}_real_A.png"}  # fmt: skip
    write_pairs(tmp_path, sharp, blurred, made)
    pairing = pair_images(Sources(dataset=tmp_path, restored=(f"m={tmp_path / 'out'}",)))
    assert "8 copies" in pairing.notes[0]
    for path in (tmp_path / "out").iterdir():
        if not path.stem.endswith(("_gt", "_A")):
            path.unlink()
    with pytest.raises(InputError, match="4 missing"):
        pair_images(Sources(dataset=tmp_path, restored=(f"m={tmp_path / 'out'}",)))


def test_several_results_of_an_image_need_a_suffix(tmp_path):
    sharp, blurred, *_ = LAYOUTS["MPRNet"]
    made = {"1": "out/{q}-{n:06d}_stage1.png", "2": "out/{q}-{n:06d}_stage2.png"}
    write_pairs(tmp_path, sharp, blurred, made)
    restored = (f"m={tmp_path / 'out'}", f"n={tmp_path / 'out'}")
    with pytest.raises(InputError, match=r"_stage1, _stage2.*--suffix"):
        pair_images(Sources(dataset=tmp_path, restored=restored))
    sources = Sources(
        dataset=tmp_path, restored=restored, suffix=("_stage1", "n=_stage2"), allow_missing=True
    )
    paths = pair_images(sources).image_sets[0].paths
    assert paths["m"].stem.endswith("_stage1")
    assert paths["n"].stem.endswith("_stage2")
    with pytest.raises(InputError, match="not one of --restored"):
        Sources(dataset=tmp_path, restored=restored, suffix=("x=_stage2",))


def keyed(*names: str) -> dict[PurePosixPath, Path]:
    return {PurePosixPath(name): Path("/x", name) for name in names}


@pytest.mark.parametrize(
    ("keys", "files"),
    [
        # the number alone: of which sequence?
        (["a/1.png", "b/1.png"], ["1.png"]),
        # another sequence's results
        (["000001.png"], ["GOPR0410_11_00/000001.png"]),
        (["000001.png"], ["GOPR0410_11_00-000001.png"]),
        (["GOPR0384_11_00/000001.png"], ["GOPR0410_11_00/000001.png"]),
        (["GOPR0384_11_00-000001.png"], ["GOPR0410_11_00-000001.png"]),
        # numbering from another start
        (["a/1.png"], ["a/2.png"]),
        # a running number, or the number of another sequence's image
        (["a/1.png", "b/1.png"], ["0.png", "1.png"]),
        (["1.png", "2.png"], ["1_7.png", "2_7.png"]),
        # a word that may be a sequence
        (["1.png", "2.png"], ["beach_1.png", "beach_2.png"]),
        # two files that could be it
        (["a/1.png"], ["a/blur/1.png", "a/blur_gamma/1.png"]),
        # the truth
        (["a/1.png"], ["a/1_gt.png"]),
        (["a/1.png"], ["a/1_real_B.png"]),
    ],
)
def test_what_could_be_another_image_pairs_with_nothing(keys, files):
    assert not match_files(tuple(keyed(*keys)), keyed(*files)).paths


def test_copies_of_input_and_truth_may_have_folders_of_their_own():
    keys = keyed("a/1.png", "b/1.png")
    for made in ("{kind}/{q}/1.png", "{q}/{kind}/1.png", "{q}-1_{kind}.png"):
        names = [made.format(q=q, kind=k) for q in "ab" for k in ("input", "output", "gt")]
        match = match_files(tuple(keys), keyed(*names))
        assert sorted(map(str, match.paths)) == ["a/1.png", "b/1.png"]
        assert all("output" in str(path) for path in match.paths.values())
        assert "4 copies" in match.note


@pytest.mark.parametrize("made", ["{q}/{i:06d}.png", "{q}-{i}.png"])
@pytest.mark.parametrize("across", [False, True])
def test_results_numbered_from_another_start_are_refused(tmp_path, made, across):
    """Also with --allow-missing: the numbers on both sides are of different images."""
    write_pairs(tmp_path, *LAYOUTS["GOPRO"][:2])
    for number, q, n in moments():
        i = number + 1 if across else n - 1  # counted through all sequences, or from 0
        save(tmp_path / "out" / made.format(q=q, i=i), picture(number))
    sources = Sources(dataset=tmp_path, restored=(f"m={tmp_path / 'out'}",), allow_missing=True)
    expected = "GOPR0410_11_00 has 3 to 4" if across else "GOPR0384_11_00 has 0 to 1"
    with pytest.raises(InputError, match=f"{expected} where the images are 1 to 2"):
        pair_images(sources)


def test_a_lone_sequence_takes_no_results_numbered_from_0():
    keys = keyed("a/1.png", "a/2.png")
    match = match_files(tuple(keys), keyed("0.png", "1.png"))
    assert renumbered(keys, match) == "a has 0 to 1 where the images are 1 to 2"


def test_folders_of_results_inside_the_folder_named_are_offered(tmp_path):
    for folder in ("sharp", "blurred", "out/stage1", "out/stage2"):
        save(tmp_path / folder / "a.png", picture(0))
    sources = Sources(
        sharp=tmp_path / "sharp", blurred=tmp_path / "blurred", restored=(f"m={tmp_path / 'out'}",)
    )
    with pytest.raises(InputError, match=r"stage1, stage2 there; .* --restored m=\S+stage1"):
        pair_images(sources)


def test_a_name_alone_pairs_where_only_one_image_has_it():
    keys = keyed("test-close-ups/10.png", "test-long-shot/11.png")
    assert len(match_files(tuple(keys), keyed("10.jpg", "11.jpg")).paths) == 2


def test_case_is_passed_over_where_nothing_else_differs():
    keys = keyed("GOPR0384_11_00/000001.png", "GOPR0384_11_00/000002.png")
    made = keyed("gopr0384_11_00-000001.png", "gopr0384_11_00-000002.png")
    assert len(match_files(tuple(keys), made).paths) == 2


def test_accents_pair_however_they_are_stored(tmp_path):
    for folder, name in (("sharp", "\u00e9.png"), ("blurred", "\u00e9.png"), ("m", "e\u0301.png")):
        save(tmp_path / folder / name, picture(0))
    sources = Sources(
        sharp=tmp_path / "sharp", blurred=tmp_path / "blurred", restored=(f"m={tmp_path / 'm'}",)
    )
    assert len(pair_images(sources).image_sets) == 1


def test_one_folder_of_both_kinds_may_be_given_twice(tmp_path):
    data = tmp_path / "RealBlur-J"
    write_pairs(data, *LAYOUTS["RealBlur"][:2])
    write_pairs(tmp_path / "b", "x/{n}{k}.png", "scene{k:03d}_blur_{n}.png")
    sources = Sources(sharp=data, blurred=data, restored=(f"m={tmp_path / 'b'}",))
    for path in (tmp_path / "b" / "x").iterdir():
        path.unlink()
    evaluation = evaluate(sources, FAST)
    np.testing.assert_array_equal(evaluation.scores[0], evaluation.scores[1])


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("a/1.png", "a"),
        ("GOPR0384_11_00-000001.png", "GOPR0384_11_00"),
        ("img_1.png", "img"),
        ("1.png", ""),
        ("portrait.png", ""),
    ],
)
def test_the_sequence_of_a_flat_name_precedes_its_number(key, group):
    assert group_of(PurePosixPath(key)) == group


def test_sequences_have_a_table_of_their_own(tmp_path):
    write_pairs(tmp_path, *LAYOUTS["MPRNet"][:2])
    config = EvaluateConfig(protocol=("psnr_rgb",), n_resamples=50, bootstrap_over="sequence")
    evaluation = evaluate(Sources(dataset=tmp_path), config)
    write_evaluation(evaluation, tmp_path / "out")
    assert not np.isnan(evaluation.summary[0].delta_low)
    head, *lines = (tmp_path / "out" / "sequences.csv").read_text().splitlines()
    assert head == "method,sequence,n_images,psnr_rgb"
    for k, (line, sequence) in enumerate(zip(lines, SEQUENCES, strict=True)):
        method, name, count, mean = line.split(",")
        assert (method, name, count) == ("blurred", sequence, "2")
        expected = evaluation.scores[0, 2 * k : 2 * k + 2, 0].mean()
        assert float(mean) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "GOPRO"])
def test_restore_and_verify_read_the_same_layouts(tmp_path, layout):
    write_pairs(tmp_path, *LAYOUTS[layout][:2])
    found = restorers.find_images(tmp_path)
    assert str(found[0][1]) == LAYOUTS[layout][2]
    blurred = [read_rgb(path) for path, _ in found]
    expected = [horizontally_blurred(picture(number), 5) for number, _, _ in moments()]
    assert {image.tobytes() for image in blurred} == {image.tobytes() for image in expected}
    findings = verify(tmp_path)
    assert not has_errors(findings)
    if layout != "inside a folder":  # which is our own layout, checked as such
        assert "4 pairs" in findings[0].message
    if layout == "HIDE":  # GT has the images of both splits: those without partner may be train's
        return
    found[0][0].unlink()
    assert any(finding.check in ("missing", "partner") for finding in verify(tmp_path))


def test_a_folder_of_images_is_restored_through_its_links(tmp_path):
    save(tmp_path / "disk" / "1.png", picture(0))
    linked(tmp_path / "in" / "a", tmp_path / "disk")
    assert [str(name) for _, name in restorers.find_images(tmp_path / "in")] == ["a/1.png"]


# --- links and odd files --------------------------------------------------------------------------


def linked(root: Path, target: Path) -> Path:
    root.parent.mkdir(parents=True, exist_ok=True)
    root.symlink_to(target)
    return root


def test_linked_folders_are_followed_and_loops_are_not(tmp_path):
    for q in "abc":
        save(tmp_path / "disk" / q / "1.png", picture(0))
    for q in "ab":
        linked(tmp_path / "all" / q, tmp_path / "disk" / q)
    linked(tmp_path / "all" / "a" / "loop", tmp_path / "all")
    linked(tmp_path / "all" / "itself", tmp_path / "all" / "itself")
    found = sorted(map(str, find_images(tmp_path / "all")))
    assert found[:2] == ["a/1.png", "a/loop/b/1.png"] or found == ["a/1.png", "b/1.png"]
    assert {"a/1.png", "b/1.png"} <= set(found)
    assert len(found) < 10


def test_a_link_that_leads_nowhere_is_a_missing_image(tmp_path):
    for folder in ("sharp", "blurred", "m"):
        for n in (1, 2):
            save(tmp_path / folder / f"{n}.png", picture(n))
    (tmp_path / "m" / "2.png").unlink()
    (tmp_path / "m" / "2.png").symlink_to("gone.png")
    options = {
        "sharp": tmp_path / "sharp", "blurred": tmp_path / "blurred",
        "restored": (f"m={tmp_path / 'm'}",),
    }  # fmt: skip
    with pytest.raises(InputError, match=r"m: 1 missing, a broken link \(2.png\)"):
        pair_images(Sources(**options))
    pairing = pair_images(Sources(**options, allow_missing=True))
    assert [images.name for images in pairing.image_sets] == ["1.png"]
    assert pairing.n_missing == 1


@pytest.mark.parametrize("name", ["a\nb.png", "a\x1b[31m.png", os.fsdecode(b"\xff\xfe.png")])
def test_names_that_no_table_can_hold_are_named_before_the_work(tmp_path, name):
    save(tmp_path / "a" / name, picture(0))
    with pytest.raises(InputError, match="rename the file"):
        find_images(tmp_path / "a")


def test_folders_without_end_and_without_permission_are_named(tmp_path):
    deep = tmp_path
    for _ in range(80):
        deep = deep / "d"
    deep.mkdir(parents=True)
    with pytest.raises(InputError, match="folders deep"):
        find_images(tmp_path)
    with pytest.raises(InputError, match="there is none"):
        find_images(tmp_path / "nowhere")


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
@pytest.mark.parametrize(
    ("sharp", "blurred"),
    [
        ("target/{n}.png", "input/{n}.png"),
        ("GOPR000{n}_11_00/sharp/000001.png", "GOPR000{n}_11_00/blur/000001.png"),
    ],
)
def test_the_split_for_validation_is_verified_too(tmp_path, val, sharp, blurred):
    for split, numbers in (("train", (1, 2, 3)), ("test", (4, 5)), (val, (6, 7))):
        for n in numbers:
            save(tmp_path / split / sharp.format(n=n), picture(n))
            save(tmp_path / split / blurred.format(n=n), horizontally_blurred(picture(n), 5))
    assert {finding.severity for finding in verify(tmp_path)} <= {"info"}
    save(tmp_path / val / sharp.format(n=6), picture(2))
    (tmp_path / val / blurred.format(n=7)).write_bytes(b"")
    found = {finding.check: finding for finding in verify(tmp_path)}
    assert (found["unreadable"].severity, found["duplicate"].severity) == ("error", "error")
    assert found["unreadable"].split.lower() == found["duplicate"].split.lower() == val.lower()
    assert "so that the splits share an image" in found["duplicate"].message


@pytest.mark.parametrize("place", ["Train/{q}/{kind}/{n}.png", "train/{folder}/{q}_{n}.png"])
def test_all_kinds_of_blur_are_verified_however_folders_are_written(tmp_path, place):
    for number, q, n in moments():
        for length_px, kind in enumerate(("sharp", "blur_gamma", "blur"), start=1):
            path = tmp_path / place.format(q=q, n=n, kind=kind, folder=kind.capitalize())
            save(path, horizontally_blurred(picture(number), 2 * length_px - 1))
    assert not has_errors(verify(tmp_path))
    for kind in ("blur", "blur_gamma"):
        path = next(p for p in tmp_path.rglob("*.png") if p.parent.name.lower() == kind)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        (finding,) = [f for f in verify(tmp_path) if f.check == "unreadable"]
        assert finding.message.startswith(f"{kind}/")
        path.write_bytes(data)
