"""Tables made from runs of evaluate and detect: unlike numbers refused, damage noticed."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from table_text import markdown_table, read_csv

from gopro_tools.console import exit_code_of
from gopro_tools.content import dataset_facts
from gopro_tools.dataset import BLUR_FOLDERS, BlurKind, iterate_pairs
from gopro_tools.detect import DetectConfig, detect
from gopro_tools.detection import Detections, DetectorIdentity
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.records import RunRecord, check_files, copy_run, read_record, recorded_run, seal
from gopro_tools.tables import TablesConfig, compare
from gopro_tools.tables.command import command
from gopro_tools.tables.published import published_rows
from gopro_tools.tables.reading import rows_of, runs_below

FAST = EvaluateConfig(protocol=("nah2017", "ssim_gauss"), n_resamples=20)


class Boxes:
    """A detector that finds the brightest patch; better images give surer boxes."""

    name = "patches"
    class_names = ("patch",)

    def __init__(self, size_px: int = 16) -> None:
        self.identity = DetectorIdentity(
            weights_sha256=f"{size_px:064d}", input_size_px=0, runtime="numpy"
        )
        self.size_px = size_px

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        found = []
        for image in images:
            y, x = np.unravel_index(image[:-16, :-16].sum(axis=2).argmax(), (16, 24))
            box = np.array([[x, y, x + self.size_px, y + self.size_px]], np.float32)
            found.append(
                Detections(
                    box_xyxy=box, score=np.array([0.9], np.float32), class_id=np.zeros(1, np.int64)
                )
            )
        return found


class Lab:
    """Datasets, restored images and scores, all made by the programs that make them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def dataset(self, name: str, seed: int = 0, split: str = "test") -> Path:
        rng = np.random.default_rng(seed)
        folder = self.root / name / split / "GOPR0384_11_00"
        for i in (1, 2):
            sharp = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
            for kind, noise in (("sharp", 0), ("blur_gamma", 24), ("blur", 40)):
                image = np.clip(sharp.astype(int) + rng.integers(-noise, noise + 1), 0, 255)
                write_atomic(folder / kind / f"{i:06d}.png", encode_png(image.astype(np.uint8)))
        return self.root / name

    def restored(
        self, name: str, dataset: Path, blur_kind: BlurKind = "gamma", scale: str | None = None
    ) -> Path:
        folder = self.root / name
        for pair in iterate_pairs(dataset, "test", blur_kind):
            image = read_rgb(pair.path(BLUR_FOLDERS[blur_kind]))
            better = np.clip(image.astype(int) + len(name), 0, 255).astype(np.uint8)
            write_atomic(folder / pair.sequence / pair.name, encode_png(better))
        record = RunRecord(
            suite="restore",
            method=name,
            scale=scale,  # type: ignore[arg-type]
            config={},
            dataset=dataset_facts(dataset, "test", blur_kind),
        )
        seal(folder, record, names=())
        return folder

    def evaluated(
        self,
        out: str,
        dataset: Path,
        *restored: Path,
        config: EvaluateConfig = FAST,
        **options: Any,
    ) -> Path:
        names = tuple(f"{folder.name}={folder}" for folder in restored)
        evaluate(Sources(dataset=dataset, restored=names, **options), config, out=self.root / out)
        return self.root / out

    def detected(self, out: str, dataset: Path, *restored: Path, **options: Any) -> Path:
        names = tuple(f"{folder.name}={folder}" for folder in restored)
        config = DetectConfig(detector="unused", n_resamples=20, overlays=0, **options)
        sources = Sources(dataset=dataset, restored=names)
        detect(sources, config, out=self.root / out, detector=Boxes())
        return self.root / out


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


class TestReading:
    def test_what_evaluate_writes(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        out = lab.evaluated("out", data, lab.restored("mine", data, scale="reduced"))
        rows = rows_of(out)
        expected = {
            (line["method"], line["metric"]): float(line["mean"])
            for line in read_csv((out / "summary.csv").read_text())
        }
        assert {(r.method, r.column.protocol): r.value for r in rows} == expected
        facts = dataset_facts(data, "test", "gamma")
        assert {r.column.dataset_sha256 for r in rows} == {facts["content_sha256"]}
        assert {(r.column.dataset, r.column.blur_kind) for r in rows} == {("demo", "gamma")}
        assert {(r.column.resolution, r.n_images) for r in rows} == {("40x32", 2)}
        assert {r.method: r.scale for r in rows} == {"blurred": "", "mine": "reduced"}

    def test_what_detect_writes(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        out = lab.detected("out", data, lab.restored("mine", data, scale="reduced"))
        rows = rows_of(out)
        assert len(rows) == 3 * 5
        recall = {r.method: r.value for r in rows if r.column.quantity == "recall"}
        (written,) = (line for line in read_csv((out / "detection.csv").read_text())
                      if line["method"] == "mine")  # fmt: skip
        assert recall["mine"] == float(written["recall"])
        assert written["scale"] == "reduced"
        settings = rows[0].column.settings
        assert settings.startswith("reference detector, reference_confidence 0.25, confidence 0.25")
        assert "detector patches" in settings
        assert {r.method: r.scale for r in rows}["mine"] == "reduced"

    def test_what_speaks_against_results_goes_with_their_numbers(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        mine, copied = (lab.restored(name, data) for name in ("mine", "copied"))
        for pair in iterate_pairs(data, "test", "gamma"):
            sharp = pair.path("sharp").read_bytes()
            write_atomic(copied / pair.sequence / pair.name, sharp)
        copied.joinpath("run.json").unlink()  # a stranger's folder has none
        for out in (lab.evaluated("scores", data, mine, copied),
                    lab.detected("boxes", data, mine, copied)):  # fmt: skip
            notes = {row.method: row.note for row in rows_of(out)}
            said = "doubtful: 2 of 2 images are the sharp ones themselves"
            assert {name for name, note in notes.items() if note == said} == {"copied"}
            assert f"- copied: {said}." in compare([out]).to_markdown()

    def test_runs_inside_runs_keep_their_own_records(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        scores = lab.evaluated("out", data, lab.restored("mine", data, scale="reduced"))
        outer = RunRecord(suite="table1", method="reduced", scale="reduced", config={})
        with recorded_run(lab.root / "results", outer) as folder:
            copy_run(scores, folder / "scores")
            (folder / "times.csv").write_text("method\nmine\n")
        (run,) = runs_below(lab.root / "results").runs
        assert run.folder.name == "scores"
        assert list(run.rows) == [replace(r, origin=run.rows[0].origin) for r in rows_of(scores)]
        assert list(read_record(run.folder.parent).files) == ["times.csv"]

    @pytest.mark.parametrize("name", ["summary.csv", "per_image.csv"])
    @pytest.mark.parametrize("damage", ["cut", "edited", "gone"])
    def test_a_changed_file_is_noticed(self, lab: Lab, name: str, damage: str) -> None:
        out = lab.evaluated("out", lab.dataset("demo"))
        path = out / name
        lines = path.read_text().splitlines(keepends=True)
        if damage == "cut":
            path.write_text("".join(lines[:-1]))
        elif damage == "edited":
            path.write_text("".join(lines).replace("1", "2"))
        else:
            path.unlink()
        message = {"cut": "rows were written", "edited": "not as the run", "gone": "missing"}
        with pytest.raises(InputError, match=rf"{re.escape(name)}.*{message[damage]}"):
            rows_of(out)

    def test_a_run_that_was_killed_is_refused(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = lab.dataset("demo")
        lab.evaluated("out", data)

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("gopro_tools.evaluate.report.seal", killed)
        with pytest.raises(KeyboardInterrupt):
            lab.evaluated("out", data)
        with pytest.raises(InputError, match=r"no run\.json beside it.*evaluate` again"):
            rows_of(lab.root / "out")

    def test_other_json_and_unfinished_runs_do_not_count(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        lab.evaluated("all/out", data)
        lab.evaluated("all/other.partial", lab.dataset("other", seed=1))
        (lab.root / "all" / "run.json").write_text("[]")
        assert len(runs_below(lab.root / "all").runs) == 1
        empty = lab.root / "empty"
        empty.mkdir()
        for folder, message in ((empty, "no scores in it"), (lab.root / "none", "not there")):
            with pytest.raises(InputError, match=message):
                rows_of(folder)

    def test_tables_of_ours_are_no_results(self, lab: Lab) -> None:
        out = lab.detected("all/out", lab.dataset("demo"))
        compare(out, out=lab.root / "all" / "detection.csv")
        found = runs_below(lab.root / "all")
        assert (len(found.runs), found.problems) == (1, ())


class TestProvenance:
    def test_images_of_another_kind_of_blur_are_refused(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        mine = lab.restored("mine", data, "linear_crf")
        with pytest.raises(InputError, match=r"restored from blur_kind linear_crf.*gamma"):
            lab.evaluated("out", data, mine)
        lab.evaluated("out", data, mine, blur_kind="linear_crf")

    def test_images_of_other_pixels_are_refused(self, lab: Lab) -> None:
        data, other = lab.dataset("demo"), lab.dataset("other", seed=1)
        mine = lab.restored("mine", other)
        for score in (lab.evaluated, lab.detected):
            with pytest.raises(InputError, match="restored from other blurred images"):
                score("out", data, mine)  # type: ignore[operator]
        assert not (lab.root / "out" / "run.json").exists()


class TestMixing:
    """Two of anything in one table: refused, and said which."""

    def refused(self, message: str, *folders: Path) -> None:
        with pytest.raises(InputError, match=message) as error:
            compare(folders)
        assert all(str(folder) in str(error.value) for folder in folders)
        assert len(compare(folders, TablesConfig(separate=True)).tables) == 1

    def test_datasets_of_one_name(self, lab: Lab) -> None:
        a, b = lab.dataset("a/data"), lab.dataset("b/data", seed=1)
        one = lab.evaluated("one", a, lab.restored("mine", a))
        two = lab.evaluated("two", b, lab.restored("yours", b))
        self.refused("more than one dataset: 'data [0-9a-f]{8}'", one, two)
        tables = compare(lab.root).tables
        assert len(tables) == 2
        assert all(len({c.dataset_sha256 for c in table.columns}) == 1 for table in tables)

    def test_one_dataset_in_two_folders_is_one(self, lab: Lab) -> None:
        a, b = lab.dataset("a/data"), lab.dataset("b/copy")
        one = lab.evaluated("one", a, lab.restored("mine", a))
        two = lab.evaluated("two", b, lab.restored("yours", b))
        (table,) = compare([one, two]).tables
        assert table.methods == ("blurred", "mine", "yours")
        assert len(compare(lab.root).tables) == 1

    def test_scales(self, lab: Lab) -> None:
        data = lab.dataset("data")
        one = lab.evaluated("one", data, lab.restored("mine", data, scale="full"))
        two = lab.evaluated("two", data, lab.restored("yours", data, scale="reduced"))
        self.refused("more than one scale: full .*, reduced", one, two)
        first, second = compare(lab.root).tables
        assert first.methods == ("blurred", "mine")
        assert second.methods == ("blurred", "yours (reduced)")

    def test_kinds_of_blur(self, lab: Lab) -> None:
        data = lab.dataset("data")
        one = lab.evaluated("one", data)
        two = lab.evaluated("two", data, blur_kind="linear_crf")
        self.refused("more than one blur_kind: 'gamma' .*'linear_crf'", one, two)
        kinds = [table.columns[0].blur_kind for table in compare(lab.root).tables]
        assert kinds == ["gamma", "linear_crf"]

    def test_protocols_have_columns_of_their_own(self, lab: Lab) -> None:
        data = lab.dataset("data")
        gauss = EvaluateConfig(protocol=("ssim_gauss",), n_resamples=20)
        uniform = EvaluateConfig(protocol=("ssim_uniform7",), n_resamples=20)
        one = lab.evaluated("one", data, lab.restored("mine", data), config=gauss)
        two = lab.evaluated("two", data, lab.restored("yours", data), config=uniform)
        (table,) = compare([one, two]).tables
        assert [column.protocol for column in table.columns] == ["ssim_gauss", "ssim_uniform7"]
        assert ("mine", table.columns[1]) not in table.cells

    def test_thresholds_of_detection(self, lab: Lab) -> None:
        data = lab.dataset("data")
        one = lab.detected("one", data)
        two = lab.detected("two", data, iou=0.6)
        self.refused("more than one settings", one, two)
        assert len(compare(lab.root).tables) == 2

    def test_two_values_for_one_cell_spoil_their_own_table_alone(self, lab: Lab) -> None:
        data, other = lab.dataset("data"), lab.dataset("other", seed=1)
        lab.evaluated("runs/one", data, lab.restored("a/mine", data))
        mine = lab.restored("b/mine", data)
        image = next(mine.rglob("*.png"))
        write_atomic(image, encode_png(255 - read_rgb(image)))
        lab.evaluated("runs/two", data, mine)
        lab.evaluated("runs/three", other)
        comparison = compare(lab.root / "runs")
        assert [table.columns[0].dataset for table in comparison.tables] == ["other"]
        assert any("mine has two values" in problem for problem in comparison.problems)


class TestCommand:
    def run(self, *arguments: object) -> int:
        return exit_code_of(lambda: tyro.cli(command, args=[str(a) for a in arguments]))

    def test_measured_beside_published(self, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        data = lab.dataset("GOPRO")
        mine = lab.restored("deepdeblur-k3", data, scale="reduced")
        config = EvaluateConfig(n_resamples=20)
        out = lab.evaluated("out", data, mine, config=config, dataset_name="GOPRO_Large")
        assert self.run(out, "--published") == 0
        captured = capsys.readouterr()
        first = captured.out.splitlines()[0]
        assert first.startswith("dataset GOPRO_Large test, blur kind gamma")
        # 40x32 images are not those of the published numbers.
        assert "No published numbers are comparable" in captured.err
        assert "29.08" not in captured.out

    def test_published_numbers_that_are_comparable(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = lab.dataset("GOPRO")
        config = EvaluateConfig(n_resamples=20)
        out = lab.evaluated("out", data, lab.restored("mine", data, scale="reduced"),
                            lab.restored("deepdeblur-k3", data, scale="reduced"),
                            config=config, dataset_name="GOPRO_Large")  # fmt: skip
        record = read_record(out)
        assert record.dataset is not None
        seal(out, replace(record, dataset={**record.dataset, "resolution": "1280x720"}),
             names=record.files)  # fmt: skip
        assert self.run(out, "--published") == 0
        captured = capsys.readouterr()
        found = markdown_table(captured.out)
        assert len(found["method"]) <= 8
        assert {"DeepDeblur K=3", "DeepDeblur K=3 (reduced)", "mine (reduced)"} <= set(found)
        assert "29.08" in found["DeepDeblur K=3"]
        assert "NAFNet w64" not in found, "of another kind of blur"
        assert "Left out, as no comparable numbers are published" in captured.err
        assert "Measured on 2 images, published over 1,111" in captured.err
        assert self.run(out, "--all") == 0
        assert "NAFNet w64" in capsys.readouterr().out

    def test_a_tree_gives_a_table_per_comparable_set(
        self, lab: Lab, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data, other = lab.dataset("data"), lab.dataset("other", seed=1)
        mine = lab.restored("mine", data)
        lab.evaluated("runs/a", data, mine)
        lab.detected("runs/b", data, mine)
        lab.evaluated("runs/c", other)
        assert self.run(lab.root / "runs") == 0
        text = capsys.readouterr().out
        assert text.count("| method |") == 2
        assert self.run(lab.root / "runs", "--format", "csv") == 0
        lines = read_csv(capsys.readouterr().out)
        assert {line["dataset"] for line in lines} == {"data", "other"}
        (lab.root / "runs" / "a" / "run.json").unlink()
        assert self.run(lab.root / "runs") == 1, "the rest is shown, and the folder is named"
        captured = capsys.readouterr()
        assert captured.out.count("| method |") == 2
        assert "no run.json beside it" in captured.err

    def test_format_follows_the_suffix(self, lab: Lab) -> None:
        data = lab.dataset("data")
        folder = lab.evaluated("out", data, lab.restored("mine", data))
        for name, beginning in (
            ("t.tex", r"\begin{table}"),
            ("t.csv", "method,metric,value"),
            ("t.md", "dataset data test"),
        ):
            assert self.run(folder, "-o", lab.root / "new" / name) == 0
            assert (lab.root / "new" / name).read_text().startswith(beginning)
        assert self.run(folder, "-o", lab.root / "t.md", "--format", "latex") == 0
        assert (lab.root / "t.md").read_text().startswith(r"\begin{table}")

    def test_refusals(self, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        data = lab.dataset("demo")
        a = lab.evaluated("a", data, lab.restored("one", data))
        b = lab.evaluated("b", data, blur_kind="linear_crf")
        assert self.run(a, b) == 2
        assert "more than one blur_kind" in capsys.readouterr().err
        assert self.run(a, b, "--separate") == 0
        assert self.run(a, b, "--blur-kind", "gamma") == 0
        capsys.readouterr()
        assert self.run(a, "--dataset", "nothing") == 2
        assert "dataset demo" in capsys.readouterr().err
        assert self.run() == 2
        assert "--published" in capsys.readouterr().err

    def test_published_numbers_alone_are_small_tables(self) -> None:
        comparison = compare([], TablesConfig(published=True))
        assert sum(len(table.cells) for table in comparison.tables) == len(published_rows())
        for table in comparison.tables:
            keys = {(c.dataset, c.blur_kind, c.resolution) for c in table.columns}
            assert len(keys) == 1
        config = TablesConfig(
            published=True,
            methods=("deepdeblur k3", "srn"),
            metrics=("ssim",),
            blur_kind="linear_crf",
        )
        (table,) = compare([], config).tables
        assert table.methods == ("SRN",)

    def test_a_comparison_shows_itself(self, lab: Lab) -> None:
        data = lab.dataset("data")
        comparison = compare(lab.evaluated("out", data, lab.restored("mine", data)))
        frame = comparison.to_dataframe()
        assert list(frame["method"].unique()) == ["blurred", "mine"]
        assert "| mine |" in comparison.to_markdown()
        assert "<td>" in comparison._repr_html_()


def test_the_results_of_this_repository_give_tables() -> None:
    """Every score under results/ has a record, and every file is as its run wrote it."""
    results = Path(__file__).parents[1] / "results"
    comparison = compare(results)
    assert comparison.problems == ()
    assert comparison.to_csv() == compare(results / "runs").to_csv()
    for path in results.rglob("run.json"):
        check_files(path.parent, read_record(path.parent))
    frame = comparison.to_dataframe()
    unknown = frame[(frame["scale"] == "") & (frame["source"] == "measured")]
    assert set(unknown["method"]) == {"sharp", "blurred"}
    run = next((results / "runs" / "table1").rglob("run.json"))
    methods = compare(run.parent).to_dataframe()
    methods = methods[~methods["method"].isin(["sharp", "blurred"])]
    assert (methods["scale"] == "reduced").all()
