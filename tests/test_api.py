"""What `import gopro_tools` offers: verbs whose results show themselves, and pairs as arrays."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_dataset import write_dataset

import gopro_tools
from gopro_tools.dataset import iterate_pairs
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, Sources
from gopro_tools.export import ExportConfig, export
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.records import read_record
from gopro_tools.restoring import RestoreConfig
from gopro_tools.scenes import Scene, SceneConfig, render_frames, write_video
from gopro_tools.synthesize import SynthesisConfig
from gopro_tools.tables import TablesConfig
from gopro_tools.verify import VerifyConfig
from gopro_tools.verify.run import Verification


class Brighter:
    def restore(self, blurred: Rgb) -> Rgb:
        return np.clip(blurred.astype(int) + 1, 0, 255).astype(np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


def test_importing_costs_nothing() -> None:
    code = (
        "import time, sys; t = time.perf_counter(); import gopro_tools; "
        "print(time.perf_counter() - t, 'numpy' in sys.modules, 'typing' in sys.modules)"
    )
    command = [sys.executable, "-S", "-c", code]
    environment = {"PYTHONPATH": str(Path(gopro_tools.__file__).parent.parent)}
    seconds = []
    for _ in range(3):
        result = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        )
        first, numpy, typing = result.stdout.split()
        assert (numpy, typing) == ("False", "False")
        seconds.append(float(first))
        time.sleep(0.1)
    assert min(seconds) < 0.1


@pytest.mark.parametrize("name", ["synthesize", "verify", "evaluate", "detect"])
@pytest.mark.parametrize(
    "before", ["", "import gopro_tools.{0}", "from gopro_tools.{0} import main"]
)
def test_packages_are_verbs_whatever_is_imported_first(name: str, before: str) -> None:
    code = f"{before.format(name)}\nimport gopro_tools\nassert callable(gopro_tools.{name})"
    code += f"\nassert gopro_tools.{name} is __import__('gopro_tools.{name}').{name}"
    code += f"\nfrom gopro_tools import {name}\nassert callable({name})"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_from_pairs_to_tables(data: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []

    def note(n_done: int, n_total: int) -> None:
        done.append((n_done, n_total))

    found = gopro_tools.verify(data, out=tmp_path / "findings.csv", on_progress=note)
    assert found.ok
    assert len(found.to_dataframe()) == len(found) == len(list(found))
    assert done[-1] == (7, 7)

    config = RestoreConfig(method="brighter", restorer=Brighter(), scale="reduced")
    restored = gopro_tools.restore(data, config, out=tmp_path / "restored", on_progress=note)
    assert done[-1] == (2, 2)
    assert restored.record is not None
    assert read_record(tmp_path / "restored").method == "brighter"
    assert list(restored.to_dataframe()["failure"]) == ["", ""]

    sources = Sources(dataset=data, restored=(f"mine={tmp_path / 'restored'}",))
    few = EvaluateConfig(protocol=("psnr_rgb",), n_resamples=20)
    evaluation = gopro_tools.evaluate(sources, few, out=tmp_path / "scores", on_progress=note)
    frame = evaluation.to_dataframe()
    assert list(frame["method"]) == ["blurred", "mine"]
    assert list(frame["scale"]) == ["", "reduced"]
    assert "| mine |" in evaluation.to_markdown()
    assert "<td>mine</td>" in evaluation._repr_html_()
    assert gopro_tools.evaluate(sources, few).to_dataframe()["mean"].equals(frame["mean"])

    comparison = gopro_tools.compare(tmp_path / "scores", out=tmp_path / "table.md")
    assert "mine (reduced)" in (tmp_path / "table.md").read_text()
    assert comparison.tables[0].methods == ("blurred", "mine (reduced)")


def test_synthesis_shows_its_manifest(tmp_path: Path) -> None:
    scene = Scene(SceneConfig(seed=1, size_hw=(64, 96)))
    write_video(tmp_path / "clip.mp4", render_frames(scene, 240.0, 24), 240.0)
    config = SynthesisConfig(frames="7")
    result = gopro_tools.synthesize(tmp_path / "clip.mp4", config, out=tmp_path / "out", jobs=1)
    frame = result.to_dataframe()
    assert len(frame) == result.n_pairs == 3
    assert "| train | clip_07_00 | 3 |" in result.to_markdown()
    assert gopro_tools.verify(tmp_path / "out").ok


def test_the_readme_is_a_program_that_runs(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    _, _, rest = readme.partition("## From Python")
    program = rest.partition("```python")[2].partition("```")[0]
    network = "class MyNetwork:\n    def restore(self, blurred):\n        return blurred\n\n\n"
    (tmp_path / "program.py").write_text(program.replace("if __name__", network + "if __name__"))
    for name in ("a", "b"):
        scene = Scene(SceneConfig(seed=ord(name), size_hw=(96, 96)))
        write_video(tmp_path / "videos" / f"{name}.mp4", render_frames(scene, 240.0, 24), 240.0)
    root = str(Path(gopro_tools.__file__).parent.parent)
    result = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "| mine |" in result.stdout
    assert (tmp_path / "scores" / "run.json").is_file()


def test_restoring_says_what_it_refuses(data: Path, tmp_path: Path) -> None:
    config = RestoreConfig(method="brighter", restorer=Brighter())
    with pytest.raises(InputError, match="lies in the input"):
        gopro_tools.restore(data, config, out=data / "restored")
    gopro_tools.restore(data, config, out=tmp_path / "out")
    other = RestoreConfig(method="brighter", restorer=Brighter(), blur_kind="linear_crf")
    with pytest.raises(InputError, match="dataset"):
        gopro_tools.restore(data, other, out=tmp_path / "out")
    with pytest.raises(InputError, match="no module nowhere"):
        gopro_tools.restore(data, RestoreConfig(method="nowhere:make"), out=tmp_path / "new")


def test_an_image_that_fails_leaves_no_record(data: Path, tmp_path: Path) -> None:
    class Fussy(Brighter):
        def restore(self, blurred: Rgb) -> Rgb:
            if blurred.sum() % 2 == first.sum() % 2 and np.array_equal(blurred, first):
                raise RuntimeError("too blurred")
            return super().restore(blurred)

    first = gopro_tools.Pairs(data, "test")[0][0]
    config = RestoreConfig(method="fussy", restorer=Fussy())
    result = gopro_tools.restore(data, config, out=tmp_path / "out")
    assert result.record is None
    assert not (tmp_path / "out" / "run.json").exists()
    assert sorted(bool(failure) for failure in result.to_dataframe()["failure"]) == [False, True]


def test_no_findings_are_said_in_a_notebook() -> None:
    assert Verification(findings=())._repr_html_() == "<p>No findings.</p>"


class TestPairs:
    def test_are_a_sequence_of_arrays(self, data: Path) -> None:
        pairs = gopro_tools.Pairs(data, "train", "gamma")
        expected = list(iterate_pairs(data, "train", "gamma"))
        assert len(pairs) == len(expected) == 5
        assert pairs.names[0] == "GOPR0001_11_00/000001.png"
        for (blurred, sharp), pair in zip(pairs, expected, strict=True):
            assert blurred.dtype == sharp.dtype == np.uint8
            assert blurred.shape == sharp.shape == (48, 64, 3)
            assert np.array_equal(blurred, read_rgb(pair.path("blur_gamma")))
            assert np.array_equal(sharp, read_rgb(pair.path("sharp")))
        assert np.array_equal(pairs[-1][0], pairs[4][0])
        part = pairs[1:3]
        assert part.names == pairs.names[1:3]
        assert len(part) == 2
        with pytest.raises(IndexError):
            pairs[5]
        other = gopro_tools.Pairs(str(data), "train", "linear_crf")
        assert not np.array_equal(other[0][0], pairs[0][0])
        assert pickle.loads(pickle.dumps(pairs)).names == pairs.names

    def test_files_of_a_mac_are_no_pairs(self, data: Path, tmp_path: Path) -> None:
        """Copied to exFAT, each file gets one that begins with ``._``."""
        copy = Path(shutil.copytree(data, tmp_path / "copy"))
        for path in list(copy.glob("train/*/*/*.png")):
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        assert len(gopro_tools.Pairs(copy, "train")) == len(gopro_tools.Pairs(data, "train"))

    @pytest.mark.parametrize("refused", ["sharp", "train"])
    def test_a_folder_that_may_not_be_read_is_named(
        self, data: Path, monkeypatch: pytest.MonkeyPatch, refused: str
    ) -> None:
        iterdir = Path.iterdir

        def refusing(path: Path) -> Iterator[Path]:
            if path.name == refused:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return iterdir(path)

        monkeypatch.setattr(Path, "iterdir", refusing)
        with pytest.raises(InputError, match=r"cannot be looked into \(Permission"):
            gopro_tools.Pairs(data, "train")

    def test_bad_pairs_are_named(self, data: Path) -> None:
        with pytest.raises(InputError, match="no sequences there"):
            gopro_tools.Pairs(data / "train")
        path = data / "train" / "GOPR0001_11_00" / "sharp" / "000002.png"
        path.write_bytes(b"")
        pairs = gopro_tools.Pairs(data)
        with pytest.raises(InputError, match=r"000002\.png"):
            pairs[1]

    def test_no_pairs_are_never_an_empty_sequence(self, data: Path, tmp_path: Path) -> None:
        """A loader of nothing trains on nothing, without a word."""
        with pytest.raises(InputError, match="blur_kind 'blur': expected one of gamma"):
            gopro_tools.Pairs(data, "train", "blur")  # type: ignore[arg-type]
        flat = ExportConfig(to="flat", blur_kind="gamma")
        export(data, flat, tmp_path / "flat")
        with pytest.raises(InputError, match="train: no PNG images in the folders sharp and blur_"):
            gopro_tools.Pairs(tmp_path / "flat")

    def test_a_data_loader_takes_them_as_they_are(self, data: Path) -> None:
        torch = pytest.importorskip("torch")
        pairs = gopro_tools.Pairs(data, "train")
        loader = torch.utils.data.DataLoader(pairs, batch_size=2)
        blurred, sharp = next(iter(loader))
        assert blurred.shape == sharp.shape == (2, 48, 64, 3)
        assert blurred.dtype == torch.uint8
        assert len(loader) == 3


def wrongly(data: Path) -> dict[str, tuple[Callable[[], object], str]]:
    """Calls of people who did not read the types, and what they are told."""
    sources = Sources(dataset=data)
    fast = EvaluateConfig(protocol=("psnr_rgb",), n_resamples=5)
    method = RestoreConfig(method="m", restorer=Brighter())
    return {
        "path for sources": (lambda: gopro_tools.evaluate(data, fast), r"Sources\(...\) was exp"),
        "configs swapped": (lambda: gopro_tools.evaluate(fast, sources), r"Sources\(...\) was exp"),
        "unknown field": (
            lambda: gopro_tools.evaluate(sources, {"protocols": ["psnr_rgb"]}),
            "EvaluateConfig: got an unexpected keyword argument 'protocols'",
        ),
        "missing field": (
            lambda: gopro_tools.detect(sources, {}),
            "DetectConfig: missing 1 required keyword-only argument: 'detector'",
        ),
        "text for a tuple": (
            lambda: EvaluateConfig(protocol="psnr_rgb"),
            "protocol is 'psnr_rgb' \\(str\\); a tuple of str was expected",
        ),
        "dict for a tuple": (
            lambda: Sources(dataset=data, restored={"m": "out"}),
            "restored is .* a tuple of str was expected",
        ),
        "other choice": (
            lambda: EvaluateConfig(bootstrap_over="frame"),
            "bootstrap_over is 'frame' \\(str\\); 'sequence' or 'image' was expected",
        ),
        "folder for a kind": (
            lambda: Sources(dataset=data, blur_kind="blur_gamma"),
            "'gamma' or 'linear_crf' or 'real' or None was expected",
        ),
        "text for a number": (lambda: EvaluateConfig(n_resamples="10"), "int was expected"),
        "number for a switch": (lambda: TablesConfig(published=2), "bool was expected"),
        "switch for a number": (lambda: VerifyConfig(jobs=True), "int was expected"),
        "no seed": (lambda: EvaluateConfig(seed=-1), "--seed at least 0"),
        "no path": (lambda: gopro_tools.verify(None), "The input is None .* a path was expected"),
        "no pairs": (lambda: gopro_tools.Pairs(3), "The input is 3 .* a path was expected"),
        "no output": (lambda: gopro_tools.restore(data, method, out=None), "out is None"),
        "class": (lambda: RestoreConfig(method="m", restorer=Brighter), "such as MyNetwork"),
        "function": (lambda: RestoreConfig(method="m", restorer=abs), "such as MyNetwork"),
        "result": (
            lambda: gopro_tools.compare(gopro_tools.evaluate(sources, fast)),
            "give them out=DIR, and DIR to compare",
        ),
        "executor": (
            lambda: gopro_tools.evaluate(sources, fast, executor="threads"),
            "a concurrent.futures.Executor was expected",
        ),
        "shard": (
            lambda: gopro_tools.evaluate(sources, fast, out=data / "s", shard=(3, 2)),
            "--shard 3/2",
        ),
    }


@pytest.mark.parametrize("name", wrongly(Path()))
def test_calls_with_other_types_end_in_words(data: Path, name: str) -> None:
    call, said = wrongly(data)[name]
    with pytest.raises(InputError, match=said):
        call()


def test_what_means_the_same_is_taken(data: Path, tmp_path: Path) -> None:
    """Text for paths, lists and generators for tuples, dicts for configs."""
    write_results = RestoreConfig(method="brighter", restorer=Brighter())
    gopro_tools.restore(data, write_results, out=tmp_path / "restored")
    config = {"protocol": ["psnr_rgb"], "n_resamples": np.int64(5)}
    named = (f"brighter={tmp_path / name}" for name in ("restored",))
    sources = {"dataset": str(data), "restored": named}
    result = gopro_tools.evaluate(sources, config, out=str(tmp_path / "scores"))
    assert result.methods == ("blurred", "brighter")
    tables = gopro_tools.compare([str(tmp_path / "scores")], {"metrics": ["psnr"]})
    assert tables.tables[0].methods == ("blurred", "brighter")
    assert gopro_tools.verify(str(data), {"jobs": 1}, out=str(tmp_path / "findings.csv")).ok
    assert (tmp_path / "findings.csv").is_file()
