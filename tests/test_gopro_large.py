"""GOPRO_Large's recipe on a small clone: all its numbers, images of 24x16."""

import csv
import errno
import hashlib
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tyro
from numpy.typing import NDArray

from gopro_tools.console import exit_code_of
from gopro_tools.dataset import middle_frame_number
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.gopro_large import (
    KINDS,
    CheckConfig,
    LargeSequence,
    RegenerateConfig,
    check,
    recipe,
    regenerate,
)
from gopro_tools.gopro_large.command import command
from gopro_tools.images import encode_png, read_rgb
from gopro_tools.records import check_files, read_record
from gopro_tools.verify import verify

CLONED = ("GOPR0372_07_01", "GOPR0378_13_00", "GOPR0384_11_05")
"""Seven frames; thirteen and the odd offset; eleven in the test split, whose middle frame comes
first of all that were released."""
SMALL = "GOPR0374_11_03"
"""The fewest images; a late clip, so that its first image cannot be rebuilt."""


def first_released(sequence: LargeSequence) -> int:
    """Where a clip begins: the frame after those that the images before would have used."""
    offset = 22_000 if sequence.sequence == "GOPR0378_13_00" else 0
    return (sequence.first_image - 1) * sequence.n_frames + 1 + offset


def make_frames(root: Path, name: str) -> dict[int, NDArray[np.uint8]]:
    (sequence,) = recipe([name])
    last = sequence.last_middle_frame + sequence.n_frames // 2
    rng = np.random.default_rng(sequence.first_image)
    folder = root / sequence.split / name
    folder.mkdir(parents=True)
    frames = {}
    for number in range(first_released(sequence), last + 1):
        frames[number] = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        (folder / f"{number:06d}.png").write_bytes(encode_png(frames[number]))
    return frames


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NDArray[np.uint8]]]:
    """GOPRO_Large_all of some sequences, and what GOPRO_Large has to be, by numpy in float64."""
    root = tmp_path_factory.mktemp("clone") / "GOPRO_Large_all"
    expected = {}
    for name in CLONED:
        frames = make_frames(root, name)
        (sequence,) = recipe([name])
        zz = int(name[-2:])
        for b in range(sequence.first_image + (zz > 0), sequence.last_image + 1):
            m = sequence.n_frames
            middle = (b - 1) * m + (m + 1) // 2 + (22_000 if "0378" in name else -zz)
            window = range(middle - m // 2, middle + m // 2 + 1)
            stack = np.stack([frames[number] for number in window]).astype(np.float64)
            place = f"{sequence.split}/{name}", f"{b:06d}.png"
            linear = ((stack / 255) ** 2.2).mean(axis=0)
            images = {
                "sharp": frames[middle],
                "blur": np.around(stack.mean(axis=0)),
                "blur_gamma": np.rint(linear ** (1 / 2.2) * 255),
            }
            for kind, image in images.items():
                expected[f"{place[0]}/{kind}/{place[1]}"] = image.astype(np.uint8)
    return root, expected


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The frames of one sequence, to be spoilt."""
    make_frames(tmp_path / "GOPRO_Large_all", SMALL)
    return tmp_path / "GOPRO_Large_all"


@pytest.fixture
def copy(small: Path) -> Path:
    """A good copy of that sequence's images, to be spoilt: as someone else's program wrote it."""
    root = small.parent / "GOPRO_Large"
    regenerate(RegenerateConfig(frames=small, out=root, sequences=(SMALL,)))
    (root / "dataset.json").unlink()
    (root / "manifest.csv").unlink()
    # What GOPRO_Large has of the image that cannot be rebuilt: any blur will do.
    place = root / "train" / SMALL
    frame = small / "train" / SMALL / "027283.png"
    for kind in KINDS:
        shutil.copy(frame, place / kind / "002481.png")
    return root


def tree(root: Path) -> dict[str, str]:
    """Files by the hash of their bytes, without the record, which says when it was made."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


def alter(path: Path, levels: int) -> None:
    image = read_rgb(path)
    image[5, 7, 1] = image[5, 7, 1] + levels if image[5, 7, 1] < 128 else image[5, 7, 1] - levels
    path.write_bytes(encode_png(image))


def checked(copy: Path, frames: Path, **options: object) -> CheckConfig:
    return CheckConfig(dataset=copy, frames=frames, sequences=(SMALL,), **options)  # type: ignore[arg-type]


class TestTable:
    def test_totals(self) -> None:
        table = recipe()
        images = [image for sequence in table for image in sequence.images()]
        assert len(table) == len({sequence.sequence for sequence in table}) == 33
        assert Counter(image.split for image in images) == {"train": 2103, "test": 1111}
        assert Counter(row.split for row in table) == {"train": 22, "test": 11}
        unreleased = [image for image in images if not image.released]
        assert Counter(image.split for image in unreleased) == {"train": 11, "test": 3}

    def test_frames_averaged(self) -> None:
        others = {row.sequence: row.n_frames for row in recipe() if row.n_frames != 11}
        assert others == {"GOPR0372_07_00": 7, "GOPR0372_07_01": 7, "GOPR0378_13_00": 13}
        assert all(len(image.frames) == row.n_frames for row in recipe() for image in row.images())

    def test_middle_frames_follow_the_rule_but_in_one_sequence(self) -> None:
        for sequence in recipe():
            clip = int(sequence.sequence[-2:])
            offset = 22_000 if sequence.sequence == "GOPR0378_13_00" else 0
            images = list(sequence.images())
            for image in images:
                m = sequence.n_frames
                rule = middle_frame_number(image.number, n_frames=m, stride=m, clip=clip)
                assert image.middle_frame == rule + offset
            assert images[0].number == sequence.first_image
            assert images[-1].number == sequence.last_image
            assert images[0].middle_frame == sequence.first_middle_frame
            assert images[-1].middle_frame == sequence.last_middle_frame

    def test_windows_touch_and_do_not_overlap(self) -> None:
        for sequence in recipe():
            frames = [number for image in sequence.images() for number in image.frames]
            assert frames == list(range(frames[0], frames[-1] + 1))

    def test_only_first_images_of_later_clips_are_unreleased(self) -> None:
        for sequence in recipe():
            later = int(sequence.sequence[-2:]) > 0
            assert [image.released for image in sequence.images()][:2] == [not later, True]
            assert sequence.n_unreleased == later

    def test_the_author_s_worked_example(self) -> None:
        """DeepDeblur_release#22: 000047 of GOPR0372_07_00 is frames 000323 to 000329."""
        first = next(iter(recipe(["GOPR0372_07_00"])[0].images()))
        assert (first.name, first.frames, first.middle_frame) == (
            "000047.png",
            range(323, 330),
            326,
        )

    def test_unknown_sequence(self) -> None:
        with pytest.raises(InputError, match="GOPR9999_11_00: no sequence of GOPRO_Large"):
            recipe(["GOPR0372_07_00", "GOPR9999_11_00"])


class TestRegenerate:
    def test_every_value_is_the_definition_s(
        self, clone: tuple[Path, dict[str, NDArray[np.uint8]]], tmp_path: Path
    ) -> None:
        frames, expected = clone
        out = tmp_path / "GOPRO_Large"
        result = regenerate(RegenerateConfig(frames=frames, out=out, sequences=CLONED))
        images = {path for path in tree(out) if path.endswith(".png")}
        assert images == expected.keys()
        assert result.n_written == len(expected)
        for path, image in expected.items():
            np.testing.assert_array_equal(read_rgb(out / path), image, err_msg=path)
        assert [(f.severity, f.check, f.sequence, f.name) for f in result.findings] == [
            ("info", "unreleased", "GOPR0372_07_01", "000601.png"),
            ("info", "unreleased", "GOPR0384_11_05", "004001.png"),
        ]
        assert "frames 043996-044000 were never released" in result.findings[1].message

        # The doctor takes the result for what it is, and its manifest is right.
        assert not [f for f in verify(out) if f.severity == "error"]
        # And the other command proves it.
        config = CheckConfig(dataset=out, frames=frames, sequences=CLONED, tolerance_levels=0)
        proof = check(config)
        assert proof.agreement["blur_gamma"].n_exact == len(expected) // 3
        assert [(f.severity, f.check, f.name) for f in proof.findings] == [
            ("warning", "missing", "000601.png"),
            ("info", "unreleased", "000601.png"),
            ("warning", "missing", "004001.png"),
            ("info", "unreleased", "004001.png"),
        ]

    def test_sharp_is_the_released_file_itself(self, small: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        regenerate(RegenerateConfig(frames=small, out=out, sequences=(SMALL,)))
        source = small / "train" / SMALL / "027294.png"
        assert (out / "train" / SMALL / "sharp/002482.png").read_bytes() == source.read_bytes()

    def test_a_second_run_does_nothing_and_a_spoilt_image_is_made_again(
        self, small: Path, tmp_path: Path
    ) -> None:
        config = RegenerateConfig(frames=small, out=tmp_path / "out", sequences=(SMALL,))
        assert regenerate(config).n_written == 47 * 3
        before = tree(config.out)
        again = regenerate(config)
        assert (again.n_written, again.n_kept) == (0, 47 * 3)
        folder = config.out / "train" / SMALL
        (folder / "blur/002490.png").unlink()
        cut = (folder / "blur_gamma/002500.png").read_bytes()[:100]
        (folder / "blur_gamma/002500.png").write_bytes(cut)
        assert regenerate(config).n_written == 2
        assert tree(config.out) == before

    @pytest.mark.parametrize("moment", [1, 20, 47])
    def test_interrupted_and_taken_up_again(self, small: Path, tmp_path: Path, moment: int) -> None:
        whole = RegenerateConfig(frames=small, out=tmp_path / "whole", sequences=(SMALL,))
        regenerate(whole)
        broken = RegenerateConfig(frames=small, out=tmp_path / "broken", sequences=(SMALL,))

        def interrupt(done: int, total: int) -> None:
            assert total == 48
            if done == moment:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            regenerate(broken, on_progress=interrupt)
        assert tree(broken.out) != tree(whole.out)
        regenerate(broken)
        assert tree(broken.out) == tree(whole.out)

    def test_killed_and_taken_up_again(self, small: Path, tmp_path: Path) -> None:
        whole = RegenerateConfig(frames=small, out=tmp_path / "whole", sequences=(SMALL,))
        regenerate(whole)
        out = tmp_path / "killed"
        command = [sys.executable, "-m", "gopro_tools.gopro_large", "regenerate", small]
        options = ["-o", str(out), "--sequences", SMALL, "--jobs", "1"]
        for n_images in (10, 60):
            with subprocess.Popen(
                [*map(str, command), *options],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).parents[1],
            ) as process:
                while process.poll() is None and len(list(out.rglob("*.png"))) < n_images:
                    time.sleep(0.002)
                process.kill()
        config = RegenerateConfig(frames=small, out=out, sequences=(SMALL,))
        assert regenerate(config).n_kept > 0
        assert tree(out) == tree(whole.out)

    def test_a_second_run_at_once_is_refused(self, small: Path, tmp_path: Path) -> None:
        config = RegenerateConfig(frames=small, out=tmp_path / "out", sequences=(SMALL,))
        refused: list[str] = []

        def again(done: int, total: int) -> None:
            if done == 1:
                with pytest.raises(InputError) as error:
                    regenerate(config)
                refused.append(str(error.value))

        regenerate(config, on_progress=again)
        assert "another run is at work" in refused[0]

    def test_parts_add_up(self, small: Path, tmp_path: Path) -> None:
        """Kinds and sequences in several runs give the manifest of one."""
        make_frames(small, "GOPR0862_11_00")
        names = (SMALL, "GOPR0862_11_00")
        regenerate(RegenerateConfig(frames=small, out=tmp_path / "one", sequences=names))
        for name in names:
            for kind in KINDS:
                part = RegenerateConfig(
                    frames=small, out=tmp_path / "parts", sequences=(name,), kinds=(kind,)
                )
                regenerate(part)
        assert tree(tmp_path / "parts") == tree(tmp_path / "one")
        with (tmp_path / "one" / "manifest.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 47 + 77
        assert rows[0]["name"] == "002482.png"
        window = [rows[0][f"{which}_frame_number"] for which in ("first", "middle", "last")]
        assert window == ["27289", "27294", "27299"]
        record = read_record(tmp_path / "parts")
        check_files(tmp_path / "parts", record)
        assert (record.suite, record.results["n_pairs"]) == ("regenerate", 47 + 77)

    def test_missing_and_broken_frames_are_named_and_the_rest_goes_on(
        self, small: Path, tmp_path: Path
    ) -> None:
        folder = small / "train" / SMALL
        for number in (27_289, 27_290, 27_296):
            (folder / f"{number:06d}.png").unlink()
        (folder / "027310.png").write_bytes(b"broken")
        (folder / "027283.png").unlink()  # the middle one of the image that was not fully released
        big = encode_png(np.zeros((16, 26, 3), np.uint8))
        (folder / "027320.png").write_bytes(big)
        out = tmp_path / "out"
        result = regenerate(RegenerateConfig(frames=small, out=out, sequences=(SMALL,)))
        found = [(f.severity, f.check, f.name) for f in result.findings]
        assert found == [
            ("error", "missing", "002481.png"),
            ("info", "unreleased", "002481.png"),
            ("error", "missing", "002482.png"),
            ("error", "unreadable", "002483.png"),
            ("error", "size", "002484.png"),
        ]
        messages = [f.message for f in result.findings]
        assert "frames 027283 are missing" in messages[0]
        assert "027278-027280 were never released" in messages[1]
        assert "frames 027289-027290, 027296 are missing" in messages[2]
        assert "frame 027310.png" in messages[3]
        names = {path.name for path in (out / "train" / SMALL / "blur").iterdir()}
        assert len(names) == 48 - 4
        assert not names & {name for _, _, name in found}

    def test_partial_frames_have_to_be_asked_for(self, small: Path, tmp_path: Path) -> None:
        result = regenerate(RegenerateConfig(frames=small, out=tmp_path / "out"))
        missing = {f.sequence for f in result.findings if f.check == "missing"}
        assert missing == {row.sequence for row in recipe()} - {SMALL}
        assert result.n_written == 47 * 3

    def test_refusals(self, small: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="none of the 33 sequences"):
            regenerate(RegenerateConfig(frames=tmp_path / "nowhere", out=tmp_path / "out"))
        with pytest.raises(InputError, match="cannot go where the frames are"):
            RegenerateConfig(frames=small, out=small)
        with pytest.raises(InputError, match="kinds must be some of"):
            RegenerateConfig(frames=small, out=tmp_path / "out", kinds=())
        with pytest.raises(InputError, match="jobs"):
            RegenerateConfig(frames=small, out=tmp_path / "out", jobs=-2)
        other = tmp_path / "other"
        other.mkdir()
        (other / "dataset.json").write_text('{"recipe": "another"}')
        with pytest.raises(InputError, match="not begun by this command"):
            regenerate(RegenerateConfig(frames=small, out=other))
        (other / "dataset.json").write_text("{")
        with pytest.raises(InputError, match="not begun by this command"):
            regenerate(RegenerateConfig(frames=small, out=other))

    def test_disk_full(self, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = RegenerateConfig(frames=small, out=tmp_path / "out", sequences=(SMALL,))
        left = 30

        def full(path: Path, data: bytes, temporary: Path, *, durable: bool) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            write_atomic(path, data, temporary)

        monkeypatch.setattr("gopro_tools.gopro_large.regeneration.write_atomic", full)
        with pytest.raises(InputError, match=r"No space left on device.*resumes where it stopped"):
            regenerate(config)
        monkeypatch.undo()
        assert regenerate(config).n_kept > 0
        assert not [f for f in verify(config.out) if f.severity == "error"]


class TestCheck:
    def test_a_good_copy(self, copy: Path, small: Path) -> None:
        result = check(checked(copy, small))
        assert [(f.severity, f.check, f.name) for f in result.findings] == [
            ("info", "unreleased", "002481.png")
        ]
        assert result.n_unreleased == 1
        counts = {kind: (a.n_exact, a.n_within, a.n_off) for kind, a in result.agreement.items()}
        assert counts == {"sharp": (48, 0, 0), "blur": (47, 0, 0), "blur_gamma": (47, 0, 0)}
        assert result.agreement["blur"].values_by_level[0] == 47 * 16 * 24 * 3

    @pytest.mark.parametrize("kind", ["sharp", "blur"])
    def test_sharp_and_blur_have_to_be_exact(self, copy: Path, small: Path, kind: str) -> None:
        alter(copy / "train" / SMALL / kind / "002500.png", 1)
        result = check(checked(copy, small))
        (found,) = [f for f in result.findings if f.severity == "error"]
        assert (found.check, found.name) == (kind, "002500.png")
        assert "1 of 1152 values" in found.message
        assert "frames 027487-027497" in found.message
        assert result.agreement[kind].n_off == 1  # type: ignore[index]
        assert result.agreement[kind].values_by_level[1] == 1  # type: ignore[index]

    @pytest.mark.parametrize(("levels", "tolerance", "is_off"), [(2, 2, 0), (3, 2, 1), (1, 0, 1)])
    def test_blur_gamma_has_a_tolerance(
        self, copy: Path, small: Path, levels: int, tolerance: int, is_off: int
    ) -> None:
        alter(copy / "train" / SMALL / "blur_gamma/002500.png", levels)
        result = check(checked(copy, small, tolerance_levels=tolerance))
        agreement = result.agreement["blur_gamma"]
        assert (agreement.n_exact, agreement.n_within, agreement.n_off) == (46, 1 - is_off, is_off)
        assert agreement.values_by_level[levels] == 1
        assert len([f for f in result.findings if f.severity == "error"]) == is_off

    def test_the_sharp_image_of_an_unreleased_blur_is_checked(
        self, copy: Path, small: Path
    ) -> None:
        alter(copy / "train" / SMALL / "sharp/002481.png", 1)
        errors = [f for f in check(checked(copy, small)).findings if f.severity == "error"]
        assert [(f.check, f.name) for f in errors] == [("sharp", "002481.png")]

    def test_the_two_blurs_exchanged(self, copy: Path, small: Path) -> None:
        folder = copy / "train" / SMALL
        (folder / "blur").rename(folder / "x")
        (folder / "blur_gamma").rename(folder / "blur")
        (folder / "x").rename(folder / "blur_gamma")
        result = check(checked(copy, small))
        assert result.agreement["blur"].n_off == result.agreement["blur_gamma"].n_off == 47
        assert result.agreement["sharp"].n_exact == 48

    def test_what_is_missing_unreadable_or_foreign(self, copy: Path, small: Path) -> None:
        folder = copy / "train" / SMALL
        (folder / "blur/002490.png").unlink()
        (folder / "sharp/002491.png").write_bytes(b"")
        (folder / "blur/002492.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
        shutil.copy(folder / "blur/002493.png", folder / "blur/002529.png")
        shutil.rmtree(folder / "blur_gamma")
        errors = [f for f in check(checked(copy, small)).findings if f.severity == "error"]
        assert [(f.check, f.name) for f in errors] == [
            ("missing", ""),
            ("missing", "002490.png"),
            ("unreadable", "002491.png"),
            ("size", "002492.png"),
            ("foreign", "002529.png"),
        ]
        assert "no folder blur_gamma" in errors[0].message

    def test_sequences_of_another_dataset(self, copy: Path, small: Path) -> None:
        (copy / "test" / "GOPR0374_11_03").mkdir(parents=True)
        (copy / "train" / "GOPR0001_11_00").mkdir(parents=True)
        findings = check(CheckConfig(dataset=copy, frames=small)).findings
        foreign = [(f.split, f.sequence) for f in findings if f.check == "foreign"]
        assert foreign == [("train", "GOPR0001_11_00"), ("test", "GOPR0374_11_03")]
        missing = {f.sequence for f in findings if f.check == "missing"}
        assert missing == {row.sequence for row in recipe()} - {SMALL}

    def test_lost_frames_leave_sharp_to_check(self, copy: Path, small: Path) -> None:
        (small / "train" / SMALL / "027487.png").unlink()
        alter(copy / "train" / SMALL / "sharp/002500.png", 1)
        alter(copy / "train" / SMALL / "blur/002500.png", 1)
        errors = [f for f in check(checked(copy, small)).findings if f.severity == "error"]
        assert [(f.check, f.name) for f in errors] == [
            ("missing", "002500.png"),
            ("sharp", "002500.png"),
        ]

    def test_refusals(self, copy: Path, small: Path) -> None:
        with pytest.raises(InputError, match="frames of GOPRO_Large_all"):
            check(CheckConfig(dataset=copy, frames=copy.parent / "nowhere"))
        with pytest.raises(InputError, match="images of GOPRO_Large"):
            check(CheckConfig(dataset=copy.parent / "nowhere", frames=small))
        with pytest.raises(InputError, match="tolerance_levels"):
            checked(copy, small, tolerance_levels=256)


def test_the_images_where_the_frames_are_wanted(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"frames of GOPRO_Large_all.*download --what"):
        regenerate(RegenerateConfig(frames=copy, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_command_line(
    copy: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> int:
        return exit_code_of(lambda: tyro.cli(command, args=[str(a) for a in arguments]))

    assert run("check", copy, small, "--sequences", SMALL) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "severity,check,split,sequence,name,message"
    assert "1 image(s) cannot be rebuilt" in captured.err
    assert run("check", copy, small) == 1
    capsys.readouterr()
    out, findings = tmp_path / "new", tmp_path / "findings.csv"
    arguments = ["--kinds", "sharp", "blur", "--sequences", SMALL, "--findings", findings]
    assert run("regenerate", small, "-o", out, *arguments) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "94 image(s) written" in captured.err
    assert {path.name for path in (out / "train" / SMALL).iterdir()} == {"sharp", "blur"}
    assert "unreleased" in findings.read_text()
    assert run("regenerate", small, "-o", out) == 1
    assert run("regenerate", tmp_path / "nowhere", "-o", tmp_path / "new2") == 2
    assert "none of the 33 sequences" in capsys.readouterr().err


def test_folders_that_are_mixed_up_are_named(tmp_path: Path) -> None:
    images, frames = tmp_path / "GOPRO_Large", tmp_path / "GOPRO_Large_all"
    place = "train/GOPR0372_07_00"
    for kind in KINDS:
        (images / place / kind).mkdir(parents=True)
    (frames / place).mkdir(parents=True)
    (frames / place / "000047.png").write_bytes(b"")
    for dataset, other, said in (
        (frames, images, r"holds GOPRO_Large itself.*The order is"),
        (images, images, r"holds GOPRO_Large itself.*The order is"),
        (frames, frames, r"holds GOPRO_Large_all.*The order is"),
        (tmp_path, frames, r"one below; name .*GOPRO_Large instead"),
        (images, tmp_path, r"one below; name .*GOPRO_Large_all instead"),
        (tmp_path / "none", frames, "none of the 33 sequences"),
    ):
        with pytest.raises(InputError, match=said):
            check(CheckConfig(dataset=dataset, frames=other))
