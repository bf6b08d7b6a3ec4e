"""Run records: complete or absent, fit to publish, and one input told from another."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_dataset import write_dataset

from gopro_tools.content import dataset_facts
from gopro_tools.dataset import family_of, gopro_large_rows
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import encode_png, read_rgb
from gopro_tools.machine import machine_facts, versions
from gopro_tools.records import (
    RunRecord,
    check_files,
    copy_run,
    hash_of,
    iterate_runs,
    jsonable,
    read_record,
    recorded_run,
    run_folder,
    seal,
    to_json,
)


def record(made_utc: str = "2020-02-03T04:05:06+00:00", **changes: object) -> RunRecord:
    fields = {"suite": "table1", "method": "net", "scale": "smoke", "config": {"lr": 0.1}}
    results = {"psnr_rgb_db": 30.125, "best": float("inf")}
    return RunRecord(made_utc=made_utc, results=results, **{**fields, **changes})  # type: ignore[arg-type]


def test_a_record_comes_back_with_its_files(tmp_path: Path) -> None:
    with recorded_run(tmp_path, record(seed=7)) as folder:
        assert folder.suffix == ".partial"
        (folder / "per_image.csv").write_text("name\n")
    ((found, stored),) = iterate_runs(tmp_path, "table1")
    assert found == run_folder(tmp_path, record())
    assert found.parent == tmp_path / "runs" / "table1" / "net"
    assert found.name.startswith("20200203T040506Z-")
    assert (found / "per_image.csv").read_text() == "name\n"
    assert (stored.seed, stored.config, stored.source) == (7, {"lr": 0.1}, "measured")
    assert stored.results == {"psnr_rgb_db": 30.125, "best": "inf"}
    assert stored.machine["n_cores"] >= 1
    assert stored.versions["numpy"] == np.__version__


def test_what_failed_or_was_cut_off_is_no_run(tmp_path: Path) -> None:
    def fail() -> None:
        with recorded_run(tmp_path, record()):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    partial = run_folder(tmp_path, record()).with_suffix(".partial")
    partial.mkdir(exist_ok=True)
    (partial / "run.json").write_text(to_json(record()))
    assert list(iterate_runs(tmp_path, "table1")) == []


def test_runs_come_by_method_and_time_and_are_never_overwritten(tmp_path: Path) -> None:
    for method, year in (("net10", 2021), ("net9", 2022), ("net9", 2020)):
        with recorded_run(tmp_path, record(f"{year}-01-01T00:00:00+00:00", method=method)):
            pass
    found = [(r.method, r.made_utc[:4]) for _, r in iterate_runs(tmp_path, "table1")]
    assert found == [("net9", "2020"), ("net9", "2022"), ("net10", "2021")]
    again = record("2020-01-01T00:00:00+00:00", method="net9")
    with pytest.raises(InputError, match="never overwritten"), recorded_run(tmp_path, again):
        pass


@pytest.mark.parametrize("content", ["", "{}", '{"suite": "x", "unknown": 1}', "[1]"])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json: not a complete run record"):
        read_record(tmp_path)


def test_records_hold_no_folders_of_the_machine_and_only_json() -> None:
    value = {
        "data": Path("/home/someone/GOPRO"),
        "n": np.float32(0.5),
        "s": {2, 1},
        3: (None, True),
    }
    assert jsonable(value) == {"data": "GOPRO", "n": 0.5, "s": [1, 2], "3": [None, True]}
    assert json.loads(to_json({"x": float("nan")})) == {"x": "nan"}
    with pytest.raises(TypeError, match="does not belong in a record"):
        jsonable(object())
    assert "/" not in json.dumps(machine_facts()["system"])
    assert "python" in versions()


def test_the_hash_of_a_config_ignores_order_and_nothing_else() -> None:
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 1.5})


def test_a_set_of_pairs_is_known_by_its_pixels(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "scenes")
    facts = dataset_facts(root, "train", "gamma")
    assert (facts["name"], facts["n_pairs"], facts["resolution"]) == ("scenes", 5, "64x48")
    assert facts["family"] == ""
    others = [dataset_facts(root, "test", "gamma"), dataset_facts(root, "train", "linear_crf")]
    folder = root / "train" / "GOPR0001_11_00"
    image = folder / "sharp" / "000001.png"
    changed = read_rgb(image)
    changed[0, 0, 0] ^= 1
    image.write_bytes(encode_png(changed))
    others.append(dataset_facts(root, "train", "gamma"))
    assert len({f["content_sha256"] for f in [facts, *others]}) == 4
    assert others[-1]["blurred_sha256"] == facts["blurred_sha256"]
    changed[0, 0, 0] ^= 1
    image.write_bytes(cv2.imencode(".png", changed[..., ::-1])[1].tobytes())  # another encoder
    folder.rename(folder.with_name("GOPR0384_11_00"))
    root = root.rename(tmp_path / "moved")
    again = dataset_facts(root, "train", "gamma")
    assert again | {"name": "scenes"} == facts
    swapped = root / "train" / "GOPR0384_11_00"
    for name in ("sharp", "blur_gamma"):
        swapped.joinpath(name).rename(swapped / f"{name}.old")
    (swapped / "sharp.old").rename(swapped / "blur_gamma")
    (swapped / "blur_gamma.old").rename(swapped / "sharp")
    assert dataset_facts(root, "train", "gamma")["content_sha256"] != facts["content_sha256"]


def test_the_family_of_a_dataset_is_told_by_its_names() -> None:
    rows = gopro_large_rows()
    images = [(row["sequence"], f"{int(row['last_image']):06d}.png") for row in rows]
    assert len(images) == 33
    assert family_of(images) == "GOPRO_Large"
    assert family_of([*images, ("GOPR0384_11_00", "999999.png")]) == ""
    assert family_of([]) == ""


def test_a_sealed_run_vouches_for_its_tables_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for path, text in (("a.csv", 'x,y\n1,"2\n3"\n'), ("notes.md", "-"), ("inner/b.csv", "x\n")):
        write_atomic(folder / path, text)
    seal(folder / "inner", record())
    sealed = seal(folder, record())
    assert {name: facts["n_rows"] for name, facts in sealed.files.items()} == {"a.csv": 1}
    assert to_json(read_record(folder)) == to_json(sealed)
    check_files(folder, sealed)
    write_atomic(folder / "a.csv", "x,y\n")
    with pytest.raises(InputError, match=r"a\.csv: not as .*: 1 rows were written, 0 are there"):
        check_files(folder, sealed)
    (folder / "a.csv").unlink()
    with pytest.raises(InputError, match=r"a\.csv: missing"):
        check_files(folder, sealed)
    write_atomic(folder / "run.json", to_json(replace(sealed, format="gopro_tools run 99")))
    with pytest.raises(InputError, match="another version"):
        read_record(folder)


def test_copies_of_a_run_are_the_run(tmp_path: Path) -> None:
    write_atomic(tmp_path / "run" / "a.csv", "x\n1\n")
    write_atomic(tmp_path / "run" / "boxes" / "big.json", "{}")
    sealed = seal(tmp_path / "run", record())
    copy_run(tmp_path / "run", tmp_path / "copy")
    assert to_json(read_record(tmp_path / "copy")) == to_json(sealed)
    assert {p.name for p in (tmp_path / "copy").iterdir()} == {"run.json", "a.csv"}
    write_atomic(tmp_path / "run" / "a.csv", "x\n2\n")
    with pytest.raises(InputError, match="not as the run wrote it"):
        copy_run(tmp_path / "run", tmp_path / "other")
