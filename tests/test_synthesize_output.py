"""What a synthesis does to its output folder when things go wrong: nothing lost, nothing mixed."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from gopro_tools.errors import InputError, PassingError
from gopro_tools.gopro_large import RegenerateConfig, regenerate
from gopro_tools.images import Rgb, encode_png, pixel_hash
from gopro_tools.scenes import write_video
from gopro_tools.seal import read_seal
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize import output as output_module
from gopro_tools.synthesize import segment as segment_module
from gopro_tools.synthesize.output import STATE_FOLDER
from tests.commands import assert_ended, run_command_line, start_command_line, wait_until
from tests.test_synthesize import EXACT, moving, tree

SYNTHESIZE = "gopro_tools.synthesize"
OTHER = SynthesisConfig(frames="7")


@pytest.fixture(scope="module")
def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, moving(700), 240, EXACT)
    return path


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, clip: Path, threads: ThreadPoolExecutor
) -> dict[str, str]:
    """What must come out, however it comes about."""
    out = tmp_path_factory.mktemp("whole") / "out"
    synthesize([clip], out=out, executor=threads)
    return tree(out)


class RunKilledError(Exception):
    """Stands for the moment at which a run was killed."""


def interrupt_after(monkeypatch: pytest.MonkeyPatch, n_writes: int) -> None:
    """Let the ``n_writes`` + 1st file never be written."""
    from gopro_tools import files

    left = n_writes
    replace = Path.replace

    def counting(self: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise RunKilledError
        left -= 1
        return replace(self, target)

    monkeypatch.setattr(files.Path, "replace", counting)


def begin(clip: Path, out: Path, threads: ThreadPoolExecutor, n_writes: int = 60) -> None:
    """Leave an interrupted dataset at ``out``."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, n_writes)
        with pytest.raises(RunKilledError), ThreadPoolExecutor(1) as executor:
            synthesize([clip], out=out, executor=executor)
    assert (out / STATE_FOLDER / "identity.json").is_file()


# --- power cuts ----------------------------------------------------------------------------------


def cut_power(out: Path, moment: float, how: Callable[[bytes], bytes]) -> int:
    """Damage all that was written since, as file systems do that had not yet written the blocks."""
    newer = [
        path
        for path in out.rglob("*")
        if path.is_file() and path.stat().st_mtime > moment and path.suffix != ".lock"
    ]
    for path in newer:
        path.write_bytes(how(path.read_bytes()))
    return len(newer)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("n_writes", [1, 40, 150, 199])
def test_what_a_power_cut_damaged_is_made_again(
    tmp_path: Path,
    clip: Path,
    whole: dict[str, str],
    threads: ThreadPoolExecutor,
    damage: str,
    n_writes: int,
) -> None:
    """Interrupted after some files, of which the later ones are damaged."""
    out = tmp_path / "out"
    try:
        begin(clip, out, threads, n_writes)
    except pytest.fail.Exception:  # it was done by then
        assert n_writes >= 199
    times = sorted(path.stat().st_mtime for path in out.rglob("*") if path.is_file())
    draw = random.Random(f"{damage}{n_writes}")
    moment = draw.choice([*times, times[0] - 1])
    cut_power(out, moment, DAMAGE[damage])
    synthesize([clip], out=out, executor=threads)
    assert tree(out) == whole


def test_power_cuts_at_random_moments(tmp_path: Path, clip: Path, whole: dict[str, str]) -> None:
    """A killed run, then damage to all that is newer than a moment, then the same command."""
    draw = random.Random(2)
    out = tmp_path / "out"
    for _ in range(int(os.environ.get("GOPRO_TOOLS_POWER_CUTS", "2"))):
        shutil.rmtree(out, ignore_errors=True)
        process = start_command_line(SYNTHESIZE, clip, "-o", out, "--jobs", 2)
        n_images = draw.randrange(190)
        wait_until(lambda n=n_images: len(list(out.glob("*/*/*/*.png"))) >= n, process)
        process.kill()
        process.communicate()
        if out.exists():
            times = sorted(path.stat().st_mtime for path in out.rglob("*") if path.is_file())
            moment = draw.choice(times) if times else 0.0
            cut_power(out, moment, DAMAGE[draw.choice(list(DAMAGE))])
        assert run_command_line(SYNTHESIZE, clip, "-o", out, "--jobs", 2).returncode == 0
        assert tree(out) == whole


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"format": 1}', "\0" * 200, "[" * 100_000]
)
def test_damaged_state_files_are_no_traceback(
    tmp_path: Path, clip: Path, whole: dict[str, str], threads: ThreadPoolExecutor, content: str
) -> None:
    out = tmp_path / "out"
    begin(clip, out, threads, 120)
    for path in (out / STATE_FOLDER).glob("*.json"):
        path.write_text(content)
    synthesize([clip], out=out, executor=threads)
    assert tree(out) == whole


def test_a_finished_dataset_without_its_manifest_is_made_again(
    tmp_path: Path, clip: Path, whole: dict[str, str], threads: ThreadPoolExecutor
) -> None:
    out = tmp_path / "out"
    synthesize([clip], out=out, executor=threads)
    (out / "manifest.csv").unlink()
    summary = synthesize([clip], out=out, executor=threads)
    assert (summary.already_complete, summary.n_repaired) == (False, 0)
    assert tree(out) == whole


# --- repair --------------------------------------------------------------------------------------

SHARP = "train/clip_11_00/sharp"
LOSSES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:99]),
    "other pixels": lambda path: path.write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8))),
    "another file's pixels": lambda path: path.write_bytes(
        path.with_name("000009.png").read_bytes()
    ),
    "no image": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a dead link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


def times_of_change(out: Path) -> dict[str, int]:
    return {
        path.relative_to(out).as_posix(): path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("loss", LOSSES)
def test_a_finished_dataset_that_lost_an_image_gets_only_its_segment_made_again(
    tmp_path: Path,
    clip: Path,
    whole: dict[str, str],
    threads: ThreadPoolExecutor,
    caplog: pytest.LogCaptureFixture,
    loss: str,
) -> None:
    out = tmp_path / "out"
    synthesize([clip], out=out, executor=threads)
    before = times_of_change(out)
    LOSSES[loss](out / SHARP / "000003.png")
    summary = synthesize([clip], out=out, executor=threads)
    assert (summary.n_repaired, summary.already_complete) == (1, False)
    assert f"1 image(s) are missing or changed, first {SHARP}/000003.png; 1 of 4" in caplog.text
    assert tree(out) == whole
    after = times_of_change(out)
    written = {name for name in after if after[name] != before[name]}
    assert f"{SHARP}/000003.png" in written
    assert len(written) < len(before) / 3  # one of four segments
    assert all(name.startswith("train/") for name in written)
    assert synthesize([clip], out=out, executor=threads).already_complete
    assert times_of_change(out) == after


def test_a_recompressed_image_is_not_lost(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    out = tmp_path / "out"
    synthesize([clip], out=out, executor=threads)
    path = out / SHARP / "000003.png"
    Image.open(path).save(path, compress_level=1)
    written = path.read_bytes()
    assert synthesize([clip], out=out, executor=threads).already_complete
    assert path.read_bytes() == written


@pytest.mark.parametrize("n_writes", [0, 5])
def test_a_killed_repair_resumes(
    n_writes: int,
    tmp_path: Path,
    clip: Path,
    whole: dict[str, str],
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    synthesize([clip], out=out, executor=threads)
    for number in (3, 4, 60):
        (out / SHARP / f"{number:06d}.png").unlink()
    with monkeypatch.context() as patch:
        interrupt_after(patch, n_writes)
        with pytest.raises(RunKilledError):
            synthesize([clip], out=out, executor=threads)
    assert read_seal(out).state == "whole"
    assert not (out / SHARP / "000004.png").exists()  # the check of the dataset names it
    assert synthesize([clip], out=out, executor=threads).n_repaired
    assert tree(out) == whole


def test_shards_repair_their_own_share(
    tmp_path: Path, clip: Path, whole: dict[str, str], threads: ThreadPoolExecutor
) -> None:
    out = tmp_path / "out"
    synthesize([clip], out=out, executor=threads)
    for number in (3, 30):  # in the first and the second segment
        (out / SHARP / f"{number:06d}.png").unlink()
    first = synthesize([clip], out=out, executor=threads, shard=(1, 2))
    assert (first.n_repaired, first.segments_left) == (1, 1)
    second = synthesize([clip], out=out, executor=threads, shard=(2, 2))
    assert (second.n_repaired, second.segments_left) == (1, 0)
    assert tree(out) == whole


def test_the_frames_of_an_exposure_are_repaired_too(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    out, config = tmp_path / "out", SynthesisConfig(latent=True, max_pairs=4)
    synthesize([clip], config, out=out, executor=threads)
    before = tree(out)
    (out / "train/clip_11_00/latent/000003/005.png").unlink()
    (out / "train/clip_11_00/latent/000004/000.png").write_bytes(b"half")
    assert synthesize([clip], config, out=out, executor=threads).n_repaired == 2
    assert tree(out) == before


def test_a_dataset_of_another_decoder_is_made_again_as_a_whole(
    tmp_path: Path,
    clip: Path,
    whole: dict[str, str],
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(segment_module, "pixel_hash", lambda image: f"{pixel_hash(image)[:-1]}x")
        synthesize([clip], out=out, executor=threads)
    (out / SHARP / "000003.png").unlink()
    summary = synthesize([clip], out=out, executor=threads)
    assert summary.n_repaired == 0
    assert "differ from what manifest.csv lists" in caplog.text
    assert tree(out) == whole


def test_the_temporaries_of_a_killed_run_are_gone_in_the_end(
    tmp_path: Path, clip: Path, whole: dict[str, str], threads: ThreadPoolExecutor
) -> None:
    out = tmp_path / "out"
    synthesize([clip], out=out, executor=threads)
    # Killed after the seal, before the state folder went.
    state = out / STATE_FOLDER
    state.mkdir()
    for name in ("identity.json", "manifest.csv.tmp", "train-clip_11_00-00000.json", "x.pickle"):
        (state / name).write_bytes(b"half")
    assert synthesize([clip], out=out, executor=threads).already_complete
    assert tree(out) == whole
    assert not state.exists()


# --- whose folder it is --------------------------------------------------------------------------


def test_a_strangers_dataset_json_is_not_ours(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    for number, content in enumerate(
        ("{}", '{"identity": {}}', '{"made_by": "COCO"}', "[1]", '"x"', "not JSON", "")
    ):
        out = tmp_path / f"out{number}"
        (out / "train" / "mine").mkdir(parents=True)
        (out / "train" / "mine" / "photo.jpg").write_bytes(b"precious")
        (out / "dataset.json").write_text(content)
        before = tree(out)
        for overwrite in (False, True):
            with pytest.raises(InputError, match="did not make"):
                synthesize([clip], out=out, executor=threads, overwrite=overwrite)
        assert {k: v for k, v in tree(out).items() if not k.startswith(STATE_FOLDER)} == before


def test_a_strangers_state_folder_is_not_ours(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    out = tmp_path / "out"
    (out / STATE_FOLDER).mkdir(parents=True)
    (out / STATE_FOLDER / "identity.json").write_text('{"identity": {}}')
    (out / "test").mkdir()
    (out / "test" / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match="did not make"):
        synthesize([clip], out=out, executor=threads, overwrite=True)
    assert (out / "test" / "photo.jpg").read_bytes() == b"precious"


def test_the_rebuilt_original_is_told_apart(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    out = tmp_path / "GOPRO_Large"
    frames = tmp_path / "all" / "train" / "GOPR0372_07_00"
    frames.mkdir(parents=True)
    (frames / "000001.png").write_bytes(b"no image")
    regenerate(RegenerateConfig(frames=tmp_path / "all", out=out, jobs=1))
    with pytest.raises(InputError, match="holds GOPRO_Large as `gopro_large regenerate`"):
        synthesize([clip], out=out, executor=threads, overwrite=True)


def test_overwriting_removes_what_the_manifest_lists_and_no_more(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    synthesize([clip], out=out, executor=threads)
    mine = ["notes.txt", "train/notes.txt", "train/clip_11_00/sharp/notes.txt", "test/x/y.png"]
    for name in mine:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    synthesize([clip], OTHER, out=out, executor=threads, overwrite=True)
    synthesize([clip], OTHER, out=fresh, executor=threads)
    after = tree(out)
    assert {name: after.pop(name) for name in mine}
    assert after == tree(fresh)


def test_an_unfinished_dataset_is_replaced_as_a_finished_one_is(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    begin(clip, out, threads, 100)
    with pytest.raises(InputError, match=r"frames: 11 there, 7 asked for.*--overwrite"):
        synthesize([clip], OTHER, out=out, executor=threads)
    synthesize([clip], OTHER, out=out, executor=threads, overwrite=True)
    synthesize([clip], OTHER, out=fresh, executor=threads)
    assert tree(out) == tree(fresh)


@pytest.mark.parametrize("n_steps", [0, 1, 2, 50, 195])
def test_a_killed_overwrite_leaves_no_seal_and_mixes_nothing(
    tmp_path: Path,
    clip: Path,
    whole: dict[str, str],
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    n_steps: int,
) -> None:
    out = tmp_path / "out"
    synthesize([clip], out=out, executor=threads)
    left, unlink = n_steps, Path.unlink

    def counting(self: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if self.suffix in (".png", ".csv", ".json", ".md"):
            if left == 0:
                raise RunKilledError
            left -= 1
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", counting)
        with pytest.raises(RunKilledError):
            synthesize([clip], OTHER, out=out, executor=threads, overwrite=True)
    # The seal went first: what is left is no dataset, whatever the next command is.
    assert read_seal(out).state == ("whole" if n_steps == 0 else "none")
    if n_steps:
        with pytest.raises(InputError, match="made with other settings"):
            synthesize([clip], SynthesisConfig(frames="9"), out=out, executor=threads)
    again = tmp_path / "again"
    shutil.copytree(out, again)
    synthesize([clip], out=out, executor=threads)
    assert tree(out) == whole
    synthesize([clip], OTHER, out=again, executor=threads, overwrite=True)
    synthesize([clip], OTHER, out=tmp_path / "fresh", executor=threads)
    assert tree(again) == tree(tmp_path / "fresh")


@pytest.mark.parametrize(
    "place",
    ["train", STATE_FOLDER, "train/clip_11_00", "train/clip_11_00/sharp"],
)
def test_nothing_is_written_or_removed_through_links(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor, place: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "clip_11_00" / "sharp").mkdir(parents=True)
    for path in (outside, outside / "sharp", outside / "clip_11_00" / "sharp"):
        path.mkdir(exist_ok=True)
        (path / "000001.png").write_bytes(b"precious")
    before = tree(outside)
    for made in (False, True):
        out = tmp_path / f"out{made}"
        if made:
            synthesize([clip], out=out, executor=threads)
        target = out / place
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(outside)
        for config in (SynthesisConfig(), OTHER):
            with pytest.raises(InputError, match=r"a link|did not make"):
                synthesize([clip], config, out=out, executor=threads, overwrite=True)
        assert tree(outside) == before


def test_links_to_files_are_replaced_not_followed(
    tmp_path: Path, clip: Path, whole: dict[str, str], threads: ThreadPoolExecutor
) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    precious.write_text("precious")
    begin(clip, out, threads, 1)
    for name in (
        f"{STATE_FOLDER}/train-clip_11_00-00000.tmp",
        f"{STATE_FOLDER}/identity.json.tmp",
        "train/clip_11_00/sharp/000001.png",
        "manifest.csv",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(precious)
    synthesize([clip], out=out, executor=threads)
    assert precious.read_text() == "precious"
    assert tree(out) == whole
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_a_manifest_that_names_files_outside_removes_none(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    out = tmp_path / "out"
    synthesize([clip], out=out, executor=threads)
    (tmp_path / "precious.png").write_bytes(b"precious")
    columns = (out / "manifest.csv").read_text().splitlines()[0]
    row = dict.fromkeys(columns.split(","), "1")
    lines = [columns]
    for split, sequence, name in (
        ("..", "..", "precious.png"),
        ("train", "..", "../../precious.png"),
        ("train", "../..", "precious.png"),
        ("train", "x", str(tmp_path / "precious.png")),
    ):
        lines.append(",".join({**row, "split": split, "sequence": sequence, "name": name}.values()))
    (out / "manifest.csv").write_text("\n".join(lines))
    synthesize([clip], OTHER, out=out, executor=threads, overwrite=True)
    assert (tmp_path / "precious.png").read_bytes() == b"precious"


def test_versions_are_not_mixed_in_one_dataset(
    tmp_path: Path,
    clip: Path,
    whole: dict[str, str],
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, finished = tmp_path / "begun", tmp_path / "finished"
    begin(clip, begun, threads, 100)
    synthesize([clip], out=finished, executor=threads)
    with monkeypatch.context() as patch:
        patch.setattr(output_module.av, "ffmpeg_version_info", "99.0")
        with pytest.raises(InputError, match=r"begun with ffmpeg .*, this is 99\.0"):
            synthesize([clip], out=begun, executor=threads)
        assert synthesize([clip], out=finished, executor=threads).already_complete
    synthesize([clip], out=begun, executor=threads)
    assert tree(begun) == whole


# --- shards --------------------------------------------------------------------------------------


def test_shards_that_end_together_make_one_dataset(
    tmp_path: Path, clip: Path, whole: dict[str, str]
) -> None:
    for turn in range(int(os.environ.get("GOPRO_TOOLS_SHARD_TURNS", "1"))):
        out = tmp_path / f"out{turn}"
        shards = [
            start_command_line(SYNTHESIZE, clip, "-o", out, "--jobs", 1, "--shard", f"{i}/3")
            for i in (1, 2, 3)
        ]
        ends = [(shard.communicate(timeout=300)[1], shard.returncode) for shard in shards]
        assert all(code == 0 for _, code in ends), ends
        assert tree(out) == whole
        assert not (out / STATE_FOLDER).exists()
        assert any("pairs in" in text for text, _ in ends), ends


def test_a_shard_that_finds_the_dataset_finished_says_so(
    tmp_path: Path, clip: Path, whole: dict[str, str], threads: ThreadPoolExecutor
) -> None:
    """The last shard but one looks for what is left when the last has finished it all."""
    from gopro_tools.synthesize import run

    out = tmp_path / "out"
    make_segments = run._make_segments

    def slow(*arguments: object) -> None:
        make_segments(*arguments)  # type: ignore[arg-type]
        # While this shard is here, the other makes its segments and seals the dataset.
        patch.undo()
        assert synthesize([clip], out=out, shard=(2, 2), executor=threads).n_pairs == 63

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_make_segments", slow)
        summary = synthesize([clip], out=out, shard=(1, 2), executor=threads)
    assert (summary.n_pairs, summary.segments_left) == (63, 0)
    assert tree(out) == whole


# --- trouble that passes -------------------------------------------------------------------------


def fail_in(
    monkeypatch: pytest.MonkeyPatch, error: Callable[[Path], Exception], at_frame: int = 200
) -> None:
    from gopro_tools.video import VideoFile

    read = VideoFile.read

    def failing(self: VideoFile, start: int, stop: int, *rest: object) -> Iterator[tuple[int, Rgb]]:
        for index, frame in read(self, start, stop, *rest):  # type: ignore[arg-type]
            if start and index >= at_frame:
                raise error(self.info.path)
            yield index, frame

    monkeypatch.setattr(VideoFile, "read", failing)


@pytest.mark.parametrize("kind", ["memory", "moved"])
def test_passing_trouble_stops_the_run_and_is_not_recorded(
    tmp_path: Path,
    clip: Path,
    whole: dict[str, str],
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    source = tmp_path / "in" / "clip.mp4"
    source.parent.mkdir()
    shutil.copy2(clip, source)
    out = tmp_path / "out"

    def trouble(path: Path) -> Exception:
        if kind == "memory":
            return MemoryError()
        path.unlink(missing_ok=True)
        return OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        fail_in(patch, trouble)
        with (
            pytest.raises(PassingError, match="same command"),
            ThreadPoolExecutor(1) as executor,
        ):
            synthesize([source], out=out, executor=executor)
    assert read_seal(out).state == "none"
    shutil.copy2(clip, source)
    synthesize([source], out=out, executor=threads)
    assert tree(out) == whole


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_stops_the_run_and_is_not_recorded(
    tmp_path: Path, clip: Path, whole: dict[str, str], number: int
) -> None:
    out = tmp_path / "out"
    process = start_command_line(SYNTHESIZE, clip, "-o", out, "--jobs", 1)
    wait_until(lambda: list(out.glob("train/*/sharp/*.png")), process)
    for child in psutil.Process(process.pid).children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            child.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 2, text
    assert "ended from outside" in text
    assert read_seal(out).state == "none"
    assert run_command_line(SYNTHESIZE, clip, "-o", out, "--jobs", 1).returncode == 0
    assert tree(out) == whole


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_it_within_two_seconds_with_its_workers(
    tmp_path: Path, clip: Path, whole: dict[str, str], name: str
) -> None:
    number = getattr(signal, name)
    seconds: list[float] = []
    while len(seconds) < 3 and not any(taken < 2.5 for taken in seconds):  # a host may be busy
        out = tmp_path / f"out{len(seconds)}"
        process = start_command_line(SYNTHESIZE, clip, "-o", out, "--jobs", 2)
        wait_until(lambda o=out: list(o.glob("train/*/sharp/*.png")), process)
        children = psutil.Process(process.pid).children(recursive=True)
        begin_s = time.monotonic()
        os.killpg(process.pid, number)
        os.killpg(process.pid, number)
        _, text = process.communicate(timeout=60)
        assert_ended(children, 1)
        seconds.append(time.monotonic() - begin_s)
        # A second signal that comes while Python ends is answered by the system.
        assert process.returncode in (128 + number, -number), text
        assert "Traceback" not in text
    assert min(seconds) < 2.5
    assert run_command_line(SYNTHESIZE, clip, "-o", out, "--jobs", 2).returncode == 0
    assert tree(out) == whole


def test_a_dry_run_refuses_what_the_run_would(tmp_path: Path, clip: Path) -> None:
    stranger = tmp_path / "photos"
    stranger.mkdir()
    (stranger / "a.jpg").write_bytes(b"")
    for arguments in (
        ("--response", "nonsense"),
        ("-o", stranger),
        ("--shard", "9/8"),
        ("--shard", "x"),
        ("--jobs", "-1"),
    ):
        ended = run_command_line(SYNTHESIZE, clip, "--dry-run", *arguments)
        assert ended.returncode == 2, arguments
        assert ended.stderr.startswith("error: ")


def test_odd_names_stay_text_in_messages_and_card(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    name = "x[/bold]\x1b[31m|<b>`.mp4"
    write_video(folder / name, moving(40), 240, EXACT)
    (folder / "bad[red]\x07.mp4").write_bytes(b"not a video")
    ended = run_command_line(SYNTHESIZE, folder, "-o", tmp_path / "out")
    assert ended.returncode == 1
    assert "bad[red]\\x07.mp4" in ended.stderr
    shown = ended.stderr + (tmp_path / "out" / "README.md").read_text()
    assert not set(shown) & set("\x1b\x07")
    assert "\\|\\<b>\\`" in (tmp_path / "out" / "README.md").read_text()


def test_the_state_holds_nothing_that_runs_code(
    tmp_path: Path, clip: Path, threads: ThreadPoolExecutor
) -> None:
    out = tmp_path / "out"
    begin(clip, out, threads, 100)
    for path in (out / STATE_FOLDER).iterdir():
        if path.suffix != ".tmp":
            assert json.loads(path.read_text()), path
