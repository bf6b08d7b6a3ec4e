"""Exports, read back by the programs they are made for."""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import run_command_line
from tiny_dataset import write_dataset

from gopro_tools.dataset import iterate_pairs
from gopro_tools.errors import InputError
from gopro_tools.export import ExportConfig, export, verify_export
from gopro_tools.export.config import FORMATS, Format
from gopro_tools.images import encode_png, read_rgb

SMALL = {"crop_px": 32, "crop_step_px": 16}
SIZE_HW = (48, 70)  # 2 rows of crops, 4 columns with the one at the border


@pytest.fixture
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("source") / "data", size_hw=SIZE_HW)


def config_of(to: Format, **changes: int) -> ExportConfig:
    return ExportConfig(to=to, blur_kind="gamma", **{**SMALL, **changes})


def decoded(data: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), 1), cv2.COLOR_BGR2RGB)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "lock.mdb")
    }


@pytest.mark.parametrize("to", FORMATS)
def test_every_format_is_proven_by_its_pixels(dataset: Path, tmp_path: Path, to: Format) -> None:
    seen: list[tuple[int, int]] = []
    result = export(
        dataset,
        config_of(to, samples_per_shard=2),
        tmp_path / "out",
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert not result.left_out
    assert seen[-1] == (result.n_samples, result.n_samples)
    assert verify_export(tmp_path / "out", dataset) == []


def test_flat_names_are_those_of_mprnet_and_nafnet(dataset: Path, tmp_path: Path) -> None:
    export(dataset, config_of("flat"), tmp_path)
    for pair in iterate_pairs(dataset, "test", "gamma"):
        name = f"{pair.sequence}-{pair.name}"
        for folder, kind in (("input", "blur_gamma"), ("target", "sharp")):
            exported = read_rgb(tmp_path / "test" / folder / name)
            assert np.array_equal(exported, read_rgb(pair.path(kind)))


def test_crops_reach_the_border_and_are_numbered_by_rows(dataset: Path, tmp_path: Path) -> None:
    export(dataset, config_of("crops"), tmp_path)
    pair = next(iter(iterate_pairs(dataset, "train", "gamma")))
    image = read_rgb(pair.path("sharp"))
    corners = [(top, left) for top in (0, 16) for left in (0, 16, 32, 38)]
    names = sorted((tmp_path / "train" / "sharp_crops").glob(f"{pair.sequence}-000001_s*.png"))
    assert [path.stem[-3:] for path in names] == [f"{i:03d}" for i in range(1, 9)]
    for path, (top, left) in zip(names, corners, strict=True):
        assert np.array_equal(read_rgb(path), image[top : top + 32, left : left + 32])
    # The test split is scored on whole images.
    assert read_rgb(next((tmp_path / "test" / "input").iterdir())).shape[:2] == SIZE_HW


def test_lmdb_follows_the_rules_of_basicsr(dataset: Path, tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    # A dot would end the key in BasicSR's eyes: it takes `line.split(".")[0]`.
    (dataset / "train/GOPR0001_11_00").rename(dataset / "train/cam.1_11_00")
    export(dataset, config_of("lmdb"), tmp_path)
    keys = {}
    for name in ("blur_crops", "sharp_crops"):
        folder = tmp_path / "train" / f"{name}.lmdb"
        keys[name] = [
            line.split(".")[0] for line in (folder / "meta_info.txt").read_text().splitlines()
        ]
        shapes = [
            line.split(" ")[1] for line in (folder / "meta_info.txt").read_text().splitlines()
        ]
        assert set(shapes) == {"(32,32,3)"}
        with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
            assert txn.stat()["entries"] == len(keys[name]) == 5 * 8
            for key in keys[name]:
                assert decoded(txn.get(key.encode("ascii"))).shape == (32, 32, 3)
    assert keys["blur_crops"] == keys["sharp_crops"]  # the paired reader asserts this
    assert "cam_1_11_00-000001_s001" in keys["sharp_crops"]


# The reader leaves its files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards(dataset: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    export(dataset, config_of("webdataset", samples_per_shard=2), tmp_path)
    shards = sorted(str(path) for path in tmp_path.glob("train-*.tar"))
    assert len(shards) == 3
    samples = list(wds.WebDataset(shards, shardshuffle=False))
    assert len(samples) == 5
    for sample in samples:
        facts = json.loads(sample["json"])
        folder = dataset / "train" / facts["sequence"]
        for part, kind in (("blurred.png", "blur_gamma"), ("sharp.png", "sharp")):
            assert np.array_equal(decoded(sample[part]), read_rgb(folder / kind / facts["name"]))


def test_datasets_loads_the_folder(dataset: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    export(dataset, config_of("huggingface"), tmp_path / "out")
    script = (
        "import sys, json, datasets\n"
        "data = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])\n"
        "print(json.dumps({s: [[r['sequence'], r['name'], r['blurred'].size, r['sharp'].mode]"
        " for r in rows] for s, rows in data.items()}))\n"
    )
    assert datasets.__version__
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out"), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)
    assert {split: len(found) for split, found in rows.items()} == {"train": 5, "test": 2}
    assert rows["test"][0] == ["GOPR0003_11_00", "000001.png", [70, 48], "RGB"]


@pytest.mark.parametrize("to", FORMATS)
def test_a_killed_export_resumes_to_the_same_files(
    dataset: Path, tmp_path: Path, to: Format
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    changes = {"samples_per_shard": 2}
    export(dataset, config_of(to, **changes), whole)
    command = [
        *(sys.executable, "-m", "gopro_tools.export", str(dataset), "--to", to, "-o", str(killed)),
        *("--blur-kind", "gamma", "--crop-px", "32", "--crop-step-px", "16"),
        *("--samples-per-shard", "2", "--jobs", "1"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if any(killed.glob("t*/*")) or any(killed.glob("*.tar")):
            break
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert (
        any(f.check == "unfinished" for f in verify_export(killed, dataset))
        or (killed / "export.json").is_file()
    )
    export(dataset, config_of(to, **changes), killed)
    assert verify_export(killed, dataset) == []
    export(dataset, config_of(to, **changes), killed)  # nothing is left to do
    assert verify_export(killed, dataset) == []
    if to == "lmdb":  # pages lie as transactions left them; what readers see was compared above
        return
    assert tree(killed) == tree(whole)


def test_verify_finds_what_training_would_not(dataset: Path, tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    export(dataset, config_of("lmdb"), tmp_path)
    folder = tmp_path / "train" / "blur_crops.lmdb"
    with lmdb.open(str(folder)) as env, env.begin(write=True) as txn:
        keys = [bytes(key) for key in txn.cursor().iternext(values=False)]
        other = bytes(txn.get(keys[1]))
        txn.put(keys[0], other)  # swapped: every reader takes it
        txn.put(keys[2], other[:-40])  # truncated
        txn.delete(keys[3])
        txn.put(b"stranger", other)
    (folder / "lock.mdb").unlink()
    damaged, *missing = verify_export(tmp_path, dataset)
    assert damaged.check == "unreadable"
    assert "blur_crops.lmdb: not a usable database (data.mdb is not what" in damaged.message
    assert {(f.check, "blur_gamma" in f.message) for f in missing} == {("missing", True)}
    (folder / "data.mdb.sha256").unlink()  # as in an export that was never finished
    found = verify_export(tmp_path, dataset)
    assert sorted(finding.check for finding in found) == [
        *("differs", "list", "missing", "unexpected", "unfinished", "unreadable")
    ]
    assert not (folder / "lock.mdb").exists(), "checking writes nothing"


def members_of(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(m.name, file.read()) for m in tar if (file := tar.extractfile(m))]


def write_members(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (lambda found: sorted(found, key=lambda m: m[0].partition(".")[2]), {"order"}),
        (lambda found: [m if m[0][-4:] != "json" else (m[0], b"{}") for m in found], {"list"}),
        (lambda found: [m for m in found if m[0][-4:] != "json"], {"list"}),
        (lambda found: found[:3] + found, {"twice"}),
        (lambda found: [*found, (f"{found[0][0][:-11]}depth.png", b"1")], {"unexpected"}),
        (lambda found: found[:4], {"list", "missing"}),
    ],
)
def test_verify_reads_shards_as_their_readers_do(
    dataset: Path,
    tmp_path: Path,
    change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]],
    checks: set[str],
) -> None:
    """Neighbours of one key are a sample: what lies between them, or twice, makes others."""
    export(dataset, config_of("webdataset"), tmp_path)
    before, path = tree(tmp_path), tmp_path / "train-000000.tar"
    write_members(path, change(members_of(path)))
    assert {finding.check for finding in verify_export(tmp_path, dataset)} == checks
    if checks != {"list"}:  # names alone are looked at
        export(dataset, config_of("webdataset"), tmp_path)
        assert tree(tmp_path) == before


def test_verify_names_shards_that_are_cut_packed_or_too_many(dataset: Path, tmp_path: Path) -> None:
    export(dataset, config_of("webdataset", samples_per_shard=2), tmp_path)
    first, second, third = sorted(tmp_path.glob("train-*.tar"))
    first.write_bytes(first.read_bytes()[:-9000])
    write_members(second, members_of(second), "w:gz")
    (tmp_path / "train-000003.tar.gz").write_bytes(third.read_bytes())
    found = verify_export(tmp_path, dataset)
    assert [f.message.partition(":")[0] for f in found if f.check == "unreadable"] == [
        *("train-000000.tar", "train-000001.tar")
    ]
    assert [f.message for f in found if f.check == "unexpected"] == [
        "train-000003.tar.gz: no sample of the dataset"
    ]
    assert len([f for f in found if f.check == "missing"]) == 2 * 2 * 2


def _swap_partners(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    names = [row["sharp_file_name"] for row in rows]
    for row, name in zip(rows, names[1:] + names[:1], strict=True):
        row["sharp_file_name"] = name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _drop_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def _other_files(path: Path) -> None:
    path.write_text(path.read_text().replace("path: train/**", "path: test/**"))


def _turned(path: Path) -> None:
    path.write_text(path.read_text().replace("(32,32,3)", "(64,64,3)"))


@pytest.mark.parametrize(
    ("to", "name", "change"),
    [
        ("huggingface", "train/metadata.jsonl", _swap_partners),
        ("huggingface", "train/metadata.jsonl", _drop_line),
        ("huggingface", "train/metadata.jsonl", Path.unlink),
        ("huggingface", "README.md", _other_files),
        ("lmdb", "train/sharp_crops.lmdb/meta_info.txt", _drop_line),
        ("lmdb", "train/sharp_crops.lmdb/meta_info.txt", _turned),
        ("lmdb", "train/sharp_crops.lmdb/meta_info.txt", Path.unlink),
    ],
)
def test_verify_compares_lists_of_samples(
    dataset: Path, tmp_path: Path, to: Format, name: str, change: Callable[[Path], None]
) -> None:
    """Images may all be right, and a reader pair them wrongly."""
    export(dataset, config_of(to), tmp_path)
    change(tmp_path / name)
    (found,) = verify_export(tmp_path, dataset)
    assert (found.check, found.message.partition(":")[0]) == ("list", name)
    export(dataset, config_of(to), tmp_path)
    assert verify_export(tmp_path, dataset) == []


def test_people_may_write_their_own_card(dataset: Path, tmp_path: Path) -> None:
    export(dataset, config_of("huggingface"), tmp_path)
    card = tmp_path / "README.md"
    card.write_text(card.read_text().replace("# Blurred", "# My blurred"))
    assert verify_export(tmp_path, dataset) == []


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("flat", "train/input/a/b.png"),
        ("flat", "val/input/a.PNG"),
        ("crops", "train/input/a.png"),
        ("huggingface", "test/metadata.csv"),
        ("huggingface", "train/a.jpg"),
        ("lmdb", "test/a.png"),
        ("lmdb", "train/input.lmdb"),
        ("lmdb", "train/blur_crops.lmdb/a.png"),
    ],
)
def test_verify_names_what_readers_would_take_too(
    dataset: Path, tmp_path: Path, to: Format, name: str
) -> None:
    export(dataset, config_of(to), tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"1")
    (found,) = verify_export(tmp_path, dataset)
    assert (found.check, found.message) == ("unexpected", f"{name}: no sample of the dataset")


@pytest.mark.parametrize("to", ["flat", "crops", "webdataset", "huggingface"])
def test_a_changed_file_is_found(dataset: Path, tmp_path: Path, to: Format) -> None:
    out = tmp_path / "out"
    export(dataset, config_of(to), out)
    pair = next(iter(iterate_pairs(dataset, "test", "gamma")))
    image = read_rgb(pair.path("sharp"))
    image[0, 0, 0] ^= 1
    pair.path("sharp").write_bytes(encode_png(image))  # the dataset changed after the export
    (found,) = verify_export(out, dataset)
    assert (found.check, found.sequence, found.name) == ("differs", pair.sequence, pair.name)


def test_an_unreadable_pair_is_named_and_the_rest_exported(dataset: Path, tmp_path: Path) -> None:
    pairs = list(iterate_pairs(dataset, "train", "gamma"))
    pairs[0].path("blur_gamma").write_bytes(pairs[0].path("blur_gamma").read_bytes()[:60])
    pairs[1].path("sharp").write_bytes(b"")
    for to, n_left_out, n_samples in (("webdataset", 2, 5), ("crops", 8 + 1, 3 * 8 + 2)):
        out = tmp_path / to
        result = export(dataset, config_of(to), out)  # type: ignore[arg-type]
        assert (len(result.left_out), result.n_samples) == (n_left_out, n_samples)
        assert str(pairs[0].path("blur_gamma")) in "".join(result.left_out)
        if to == "webdataset":
            with tarfile.open(out / "train-000000.tar") as tar:
                assert len(tar.getnames()) == 3 * 3
        checks = {finding.check for finding in verify_export(out, dataset)}
        assert checks <= {"missing", "left-out"}
        assert checks


def test_refusals_name_the_input_and_what_to_do(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"blur_gamma and blur; say which.*--blur-kind"):
        export(dataset, ExportConfig(to="flat"), out)
    with pytest.raises(InputError, match="smaller than a crop of 512x512"):
        export(dataset, ExportConfig(to="crops", blur_kind="gamma"), out)
    export(dataset, config_of("flat"), out)
    with pytest.raises(InputError, match=r"other settings or images.*config"):
        export(dataset, replace(config_of("flat"), blur_kind="linear_crf"), out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        export(dataset, config_of("flat"), tmp_path / "full")
    with pytest.raises(InputError, match=r"not an export of this program"):
        verify_export(tmp_path / "full", dataset)
    (dataset / "train/GOPR0001_11_00").rename(dataset / "train/Straße_11_00")
    left_out = export(dataset, config_of("lmdb"), tmp_path / "ascii").left_out
    assert len(left_out) == 3
    assert "ASCII" in left_out[0]


def test_the_result_does_not_depend_on_jobs(dataset: Path, tmp_path: Path) -> None:
    for jobs in (1, 4):
        export(dataset, config_of("webdataset"), tmp_path / str(jobs), jobs=jobs)
    assert tree(tmp_path / "1") == tree(tmp_path / "4")


def _halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _zeroed(data: bytes) -> bytes:
    return bytes(len(data))


def _noise(data: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(data))


@pytest.mark.parametrize("damage", [_halved, _zeroed, _noise])
@pytest.mark.parametrize("name", ["data.mdb", "meta_info.txt"])
def test_a_damaged_database_is_one_sentence_and_no_crash(
    dataset: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    """A process that maps a file which was cut off ends with a bus error."""
    pytest.importorskip("lmdb")
    out = tmp_path / "out"
    export(dataset, config_of("lmdb"), out)
    path = out / "train" / "blur_crops.lmdb" / name
    path.write_bytes(damage(path.read_bytes()))
    result = run_command_line("gopro_tools.export", "verify", out, dataset)
    assert result.returncode in (1, 2)
    assert name in result.stdout + result.stderr or "blur_crops.lmdb" in result.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"config": {}},
        {"config": []},
        {"config": {"to": "lmdb", "colour": 1}},
        {"config": {"to": "crops", "blur_kind": None}},
        {"config": {"to": "crops", "blur_kind": "gamma", "crop_px": 1.5}},
        {"made_by": []},
    ],
)
def test_an_edited_state_is_one_sentence(
    dataset: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    export(dataset, config_of("crops"), tmp_path)
    path = tmp_path / ".export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"\.export\.json"):
        verify_export(tmp_path, dataset)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="too deeply"):
        verify_export(tmp_path, dataset)


def test_an_export_inside_its_dataset_is_refused(dataset: Path) -> None:
    """There it would be taken for a sequence."""
    for out in (dataset, dataset / "test" / "flat"):
        with pytest.raises(InputError, match="lies in the input"):
            export(dataset, config_of("flat"), out)
    assert not (dataset / "test" / "flat").exists()
