"""Run records: complete or absent, fit to publish, and telling one input from another."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_dataset import write_dataset

from gopro_tools.errors import InputError
from gopro_tools.records import (
    RunRecord,
    dataset_facts,
    hash_of,
    iterate_runs,
    jsonable,
    machine_facts,
    read_record,
    recorded_run,
    run_folder,
    to_json,
    versions,
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
    with pytest.raises(TypeError, match="does not belong into a record"):
        jsonable(object())
    assert "/" not in json.dumps(machine_facts()["system"])
    assert "python" in versions()


def test_the_hash_of_a_config_ignores_order_and_nothing_else() -> None:
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 1.5})


def test_dataset_facts_tell_split_kind_and_content_apart(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "scenes")
    facts = dataset_facts(root, "train", "gamma")
    assert facts["name"] == "scenes"
    assert facts["n_pairs"] == 5
    assert facts["manifest_sha256"] is None
    listings = {facts["listing_sha256"]}
    listings.add(dataset_facts(root, "test", "gamma")["listing_sha256"])
    listings.add(dataset_facts(root, "train", "linear_crf")["listing_sha256"])
    image = root / "train" / "GOPR0001_11_00" / "sharp" / "000001.png"
    image.write_bytes(image.read_bytes() + b"\0")
    listings.add(dataset_facts(root, "train", "gamma")["listing_sha256"])
    assert len(listings) == 4
    (root / "manifest.csv").write_text("")
    assert dataset_facts(root, "train", "gamma")["manifest_sha256"] is not None
