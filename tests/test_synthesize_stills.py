import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from media import icc_profile
from PIL import Image, PngImagePlugin

from gopro_tools.errors import InputError
from gopro_tools.images import encode_png, read_rgb
from gopro_tools.kernels import blur
from gopro_tools.response import Response
from gopro_tools.scenes.textures import read_photograph
from gopro_tools.synthesize_stills import StillsConfig, synthesize_stills
from gopro_tools.verify import VerifyConfig, verify


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    for name, (source, size) in {
        "a.png": ("coffee", (120, 170)),
        "more/b.png": ("astronaut", (151, 99)),
        "c.png": ("cat", (128, 128)),
    }.items():
        image = read_photograph(source)[: size[0], : size[1]]
        (folder / name).write_bytes(encode_png(np.ascontiguousarray(image)))
    return folder


def config(photographs: Path, name: str = "out", **changes) -> StillsConfig:
    out = photographs.parent / name
    return StillsConfig(photographs=photographs, out=out, length_px=20, **changes)


def files_of(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def rows_of(root: Path) -> list[dict[str, str]]:
    with (root / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_pairs_are_photographs_blurred_by_the_kernels_beside_them(photographs):
    chosen = config(photographs, per_photograph=2)
    summary = synthesize_stills(chosen)
    assert summary.n_pairs == 6
    assert not summary.failures
    rows = rows_of(chosen.out)
    assert [row["name"] for row in rows] == [f"{n:06d}.png" for n in range(1, 7)]
    for row in rows:
        folder = chosen.out / row["split"] / row["sequence"]
        sharp, blurred = (read_rgb(folder / kind / row["name"]) for kind in ("sharp", "blur_gamma"))
        assert (sharp == read_rgb(photographs / row["source"])).all()
        kernel_file = chosen.out / "kernels" / row["split"] / row["sequence"] / row["name"]
        kernel = np.load(kernel_file.with_suffix(".npy"))
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        assert (blurred == blur(sharp, kernel, Response.named("gamma2.2"))).all()
        assert float(row["path_px"]) == pytest.approx(20, abs=0.01)
        assert 0 < float(row["extent_px"]) <= 20.01


def test_the_doctor_finds_nothing_wrong(photographs):
    chosen = config(photographs)
    synthesize_stills(chosen)
    assert [f for f in verify(chosen.out, VerifyConfig()) if f.severity == "error"] == []


def test_the_same_call_gives_the_same_files_and_finishes_an_interrupted_one(photographs):
    first, second = config(photographs, "first"), config(photographs, "second")
    synthesize_stills(first)

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_stills(second, on_progress=stop)
    assert not (second.out / "dataset.json").exists()
    synthesize_stills(second)
    assert files_of(first.out) == files_of(second.out)
    assert synthesize_stills(second).already_complete


def test_another_photograph_changes_no_other_kernel(photographs):
    before, after = config(photographs, "before"), config(photographs, "after")
    synthesize_stills(before)
    (photographs / "0.png").write_bytes((photographs / "a.png").read_bytes())
    synthesize_stills(after)
    of_source = {row["source"]: row["hash_blur_gamma"] for row in rows_of(after.out)}
    assert all(of_source[row["source"]] == row["hash_blur_gamma"] for row in rows_of(before.out))


def test_splits_share_no_photograph(photographs):
    (photographs / "copy_of_a.png").write_bytes((photographs / "a.png").read_bytes())
    for seed in range(4):
        chosen = config(photographs, f"out{seed}", test_fraction=0.5, seed=seed, per_photograph=2)
        synthesize_stills(chosen)
        split_of: dict[str, set[str]] = {}
        for row in rows_of(chosen.out):
            split_of.setdefault(row["hash_sharp"], set()).add(row["split"])
        assert all(len(splits) == 1 for splits in split_of.values())


def test_copies_edits_and_exposures_of_a_photograph_share_its_split(photographs):
    image = Image.fromarray(read_rgb(photographs / "a.png"))
    image.save(photographs / "a.jpg", quality=70)
    image.resize((100, 70)).save(photographs / "small.webp")
    image.point(lambda code: code // 2).save(photographs / "IMG_E0001.png")
    image.point(lambda code: min(255, code + 20)).save(photographs / "a (1).tif")
    alike = {"a.png", "a.jpg", "small.webp", "IMG_E0001.png", "a (1).tif"}
    used = set()
    for seed in range(6):
        chosen = config(photographs, f"out{seed}", test_fraction=0.5, seed=seed)
        synthesize_stills(chosen)
        splits = {row["source"]: row["split"] for row in rows_of(chosen.out)}
        assert len({splits[name] for name in alike}) == 1
        used |= {splits["a.png"], splits["c.png"]}
    assert used == {"train", "test"}


def test_what_lies_beside_photographs_is_none(photographs):
    """Thumbnails of servers and systems, datasets made earlier; pipes would be waited for."""
    before = synthesize_stills(config(photographs, "before"))
    picture = (photographs / "a.png").read_bytes()
    for name in ("@eaDir", ".thumbnails", "__MACOSX"):
        (photographs / name).mkdir()
        (photographs / name / "a.png").write_bytes(picture)
    (photographs / "._a.png").write_bytes(b"\0\5\x16\7")
    inside = StillsConfig(photographs=photographs, out=photographs / "stills", length_px=20)
    synthesize_stills(inside)
    (photographs / "loop").symlink_to(photographs)
    (photographs / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    os.mkfifo(photographs / "pipe.jpg")
    after = synthesize_stills(config(photographs, "after"))
    assert after.n_pairs == before.n_pairs == 3
    assert [note.rpartition(" (")[2] for note in after.notes] == [".csv, .heic, .json, .md, .npy)"]
    assert len(after.failures) == 1
    assert "pipe.jpg" in after.failures[0]


def test_links_are_followed(photographs):
    (photographs / "more").rename(photographs.parent / "elsewhere")
    (photographs / "more").symlink_to(photographs.parent / "elsewhere")
    chosen = config(photographs)
    assert synthesize_stills(chosen).n_pairs == 3
    assert "more/b.png" in {row["source"] for row in rows_of(chosen.out)}


def test_photographs_that_are_no_cameras_curve_are_named(photographs):
    image = Image.fromarray(read_rgb(photographs / "a.png"))
    image.save(photographs / "linear.jpg", icc_profile=icc_profile(1))
    image.save(photographs / "wide.jpg", icc_profile=icc_profile(2.2, "p3"))
    tags = PngImagePlugin.PngInfo()
    tags.add(b"cICP", bytes([9, 16, 0, 1]))
    image.save(photographs / "pq.png", pnginfo=tags)
    summary = synthesize_stills(config(photographs))
    assert summary.n_pairs == 4
    assert [failure.partition(": ")[0][-10:] for failure in summary.failures] == [
        "linear.jpg",
        "phs/pq.png",
    ]
    assert "--response linear" in summary.failures[0]
    assert "wide.jpg: its colours are those of p3" in summary.notes[0]
    again = synthesize_stills(config(photographs))
    assert again.already_complete
    assert (again.failures, again.notes) == (summary.failures, summary.notes)


def test_images_of_an_earlier_run_do_not_stay(photographs):
    chosen = config(photographs, per_photograph=2)
    synthesize_stills(chosen)
    (chosen.out / "train" / "own_11_00" / "sharp").mkdir(parents=True)
    own = chosen.out / "train" / "own_11_00" / "sharp" / "000009.png"
    own.write_bytes(b"a user's")
    (photographs / "c.png").unlink()
    synthesize_stills(config(photographs, overwrite=True))
    stems = {path.stem for path in (chosen.out / "train" / "stills_01_00").rglob("*.png")}
    assert stems == {"000001", "000002"}
    assert {path.stem for path in (chosen.out / "kernels").rglob("*.npy")} == stems
    assert own.exists()


def test_legacy_keeps_the_flaws_and_says_so(photographs):
    chosen = config(photographs, legacy=True)
    synthesize_stills(chosen)
    row = rows_of(chosen.out)[0]
    assert row["sequence"] == "stills-legacy_01_00"
    assert row["hash_blur"] == row["hash_blur_gamma"]
    assert "released code" in (chosen.out / "README.md").read_text()
    kernel = next((chosen.out / "kernels").rglob("*.npy"))
    assert np.load(kernel).max() == 1


def test_bad_photographs_are_named_and_the_rest_is_done(photographs):
    (photographs / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (photographs / "tiny.png").write_bytes(encode_png(np.zeros((2, 2, 3), np.uint8)))
    summary = synthesize_stills(config(photographs))
    assert summary.n_pairs == 3
    assert len(summary.failures) == 2
    assert "broken.png" in summary.failures[0]
    assert "too large for 2x2" in summary.failures[1]


def test_a_dataset_made_otherwise_is_not_touched(photographs):
    synthesize_stills(config(photographs))
    before = files_of(config(photographs).out)
    with pytest.raises(InputError, match="made with other settings"):
        synthesize_stills(config(photographs, seed=1))
    assert files_of(config(photographs).out) == before
    synthesize_stills(config(photographs, seed=1, overwrite=True))
    assert files_of(config(photographs).out) != before


@pytest.mark.parametrize(
    "changes", [{"per_photograph": 0}, {"test_fraction": 1.0}, {"length_px": 0}]
)
def test_unusable_settings_are_refused(photographs, changes):
    with pytest.raises(InputError, match="expected"):
        StillsConfig(photographs=photographs, **changes)


def test_the_command(photographs):
    out = photographs.parent / "out"
    command = [sys.executable, "-m", "gopro_tools.synthesize_stills", str(photographs), "-o", out]
    done = subprocess.run([*map(str, command), "--length-px", "15"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "dataset.json").read_text())["n_pairs"] == 3
    nothing = subprocess.run(
        [sys.executable, "-m", "gopro_tools.synthesize_stills", str(out / "kernels")],
        capture_output=True,
        text=True,
        cwd=photographs.parent,
    )
    assert nothing.returncode == 2
    assert "no images" in nothing.stderr
    with pytest.raises(InputError, match="holds the photographs"):
        synthesize_stills(StillsConfig(photographs=photographs, out=photographs.parent))
