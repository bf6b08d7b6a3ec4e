"""Shares of a run: joined they are the run that nobody divided, or they are not joined."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import ROOT, run_command_line
from tiny_dataset import write_dataset

from gopro_tools.detect import DetectConfig, detect
from gopro_tools.errors import InputError, OtherShardsLeftError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.locks import held
from gopro_tools.records import read_record
from gopro_tools.restoring import RestoreConfig, restore
from gopro_tools.shards import PARTS_FOLDER, WHOLE, Shard

Run = Callable[[Path, Shard], None]

COUNT = 3


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    """A dataset and results of it, one of which equals the sharp image."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    write_dataset(tmp_path / "data", test=(4, 3), size_hw=(64, 80))
    for number, path in enumerate(sorted((tmp_path / "data/test").rglob("blur/*.png"))):
        copy = tmp_path / "mine" / path.parts[-3] / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        source = path.parent.parent / "sharp" / path.name if number == 2 else path
        copy.write_bytes(source.read_bytes())
    mine = f"mine={tmp_path / 'mine'}"
    return Sources(dataset=tmp_path / "data", blur_kind="gamma", restored=(mine,))


@pytest.fixture(params=["evaluate", "detect", "restore"])
def run(request: pytest.FixtureRequest, sources: Sources) -> Run:
    """One run of a command into a folder."""

    def evaluating(out: Path, shard: Shard) -> None:
        evaluate(sources, EvaluateConfig(n_resamples=100), out=out, shard=shard)

    def detecting(out: Path, shard: Shard) -> None:
        config = DetectConfig(detector="stub_detector:make", n_resamples=50, overlays=2)
        detect(sources, config, out=out, shard=shard)

    def restoring(out: Path, shard: Shard) -> None:
        assert sources.dataset is not None
        config = RestoreConfig(method="executor_tasks:Negative", resume=(out / "run.json").exists())
        restored = restore(sources.dataset, config, out=out, shard=shard)
        assert restored.summary.n_restored + restored.summary.n_kept == 7

    return {"evaluate": evaluating, "detect": detecting, "restore": restoring}[request.param]


def files_of(out: Path) -> dict[str, bytes]:
    """All files but the record, which holds times."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


def test_joined_they_are_the_run_that_nobody_divided(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "whole", WHOLE)
    for index in (2, 1):
        with pytest.raises(OtherShardsLeftError, match=rf"Shard {index}/3 is done; left: .*3/3"):
            run(tmp_path / "parts", Shard(index, COUNT))
        assert not (tmp_path / "parts/run.json").exists()
    run(tmp_path / "parts", Shard(3, COUNT))
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    whole, joined = (read_record(tmp_path / name) for name in ("whole", "parts"))
    for name in ("suite", "methods", "config", "results", "dataset", "files", "protocols"):
        assert getattr(joined, name) == getattr(whole, name), name


def test_more_shares_than_images(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "whole", WHOLE)
    for index in range(9, 1, -1):
        with pytest.raises(OtherShardsLeftError):
            run(tmp_path / "parts", Shard(index, 9))
    run(tmp_path / "parts", Shard(1, 9))
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_no_parts_of_an_abandoned_division_stay(run: Run, tmp_path: Path) -> None:
    for shard in (Shard(1, 3), Shard(2, 3)):
        with pytest.raises(OtherShardsLeftError):
            run(tmp_path, shard)
    with held(tmp_path / PARTS_FOLDER / "2-of-3.lock", "at work"):
        run(tmp_path, WHOLE)
        assert [path.name for path in (tmp_path / PARTS_FOLDER).glob("*.json")] == ["2-of-3.json"]
    with pytest.raises(OtherShardsLeftError):
        run(tmp_path, Shard(1, 2))
    run(tmp_path, Shard(2, 2))
    assert not (tmp_path / PARTS_FOLDER).exists()


def edited(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "damage", ["cut short", "empty", "nested", "of other code", "a result less"]
)
def test_parts_that_do_not_belong_are_not_joined(run: Run, damage: str, tmp_path: Path) -> None:
    with pytest.raises(OtherShardsLeftError):
        run(tmp_path, Shard(1, 2))
    part = tmp_path / PARTS_FOLDER / "1-of-2.json"
    content = json.loads(part.read_text())
    if damage == "cut short":
        part.write_text(part.read_text()[:-9])
    elif damage == "nested":
        part.write_text("[" * 100_000)
    elif damage == "empty":
        part.write_text("")
    elif damage == "of other code":
        edited(part, made_of={**content["made_of"], "code or versions": "other"})
    else:
        edited(part, results=content["results"][1:])
    with pytest.raises(InputError, match=r"1-of-2\.json: .*Run shard 1/2 again"):
        run(tmp_path, Shard(2, 2))
    assert not (tmp_path / "run.json").exists()


def test_other_options_or_images_are_not_joined(sources: Sources, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OtherShardsLeftError):
        evaluate(sources, EvaluateConfig(seed=1, jobs=1), out=out, shard=Shard(1, 2))
    with pytest.raises(InputError, match="made with other options"):
        evaluate(sources, EvaluateConfig(seed=2), out=out, shard=Shard(2, 2))
    changed = next((tmp_path / "mine").rglob("*.png"))
    changed.write_bytes(changed.read_bytes() + b"\0")
    with pytest.raises(InputError, match="made with other input files"):
        evaluate(sources, EvaluateConfig(seed=1), out=out, shard=Shard(2, 2))


def test_an_image_that_cannot_be_scored_leaves_no_part(sources: Sources, tmp_path: Path) -> None:
    out = tmp_path / "out"
    next((tmp_path / "mine").rglob("000001.png")).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"000001\.png"):
        evaluate(sources, out=out, shard=Shard(1, 2))
    assert not list(out.rglob("1-of-2.json"))


def test_a_result_that_is_gone_is_missed(sources: Sources, tmp_path: Path) -> None:
    assert sources.dataset is not None
    config = RestoreConfig(method="executor_tasks:Negative")
    with pytest.raises(OtherShardsLeftError):
        restore(sources.dataset, config, out=tmp_path / "out", shard=Shard(1, 2))
    next((tmp_path / "out").rglob("*.png")).unlink()
    with pytest.raises(InputError, match=r"1 result\(s\) that a shard restored are gone"):
        restore(sources.dataset, config, out=tmp_path / "out", shard=Shard(2, 2))


def test_a_share_with_failures_costs_the_others_nothing(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", test=(2,))
    folder = tmp_path / "images"
    folder.mkdir()
    for name, path in zip("ab", (tmp_path / "data/test").rglob("sharp/*.png"), strict=True):
        (folder / f"{name}.png").write_bytes(path.read_bytes())
    good = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(b"no image")
    config = RestoreConfig(method="executor_tasks:Negative")
    out = tmp_path / "out"
    with pytest.raises(OtherShardsLeftError):
        restore(folder, config, out=out, shard=Shard(2, 2))
    assert restore(folder, config, out=out, shard=Shard(1, 2)).summary.failures
    assert (out / PARTS_FOLDER / "2-of-2.json").exists()
    (folder / "a.png").write_bytes(good)
    with pytest.raises(InputError):  # b was restored beside another a
        restore(folder, config, out=out, shard=Shard(1, 2))


def test_from_the_command_line(sources: Sources, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--dataset", sources.dataset, "--blur-kind", "gamma", "-o", out, "--shard")
    first = run_command_line("gopro_tools.evaluate", *arguments, "1/2")
    assert (first.returncode, "left: 2/2" in first.stderr) == (0, True), first.stderr
    second = run_command_line("gopro_tools.evaluate", *arguments, "2/2")
    assert second.returncode == 0, second.stderr
    assert (out / "run.json").exists()


@pytest.mark.parametrize("text", ["3", "0/2", "3/2", "a/b", "1/0", "", "1/1000000000"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(InputError, match="--shard"):
        Shard.parse(text)


def test_shares_are_a_partition() -> None:
    for count in (1, 2, 5, 12):
        shares = [list(Shard(i, count).of(range(10))) for i in range(1, count + 1)]
        assert sorted(item for share in shares for item in share) == list(range(10))
        assert max(map(len, shares)) <= math.ceil(10 / count)
