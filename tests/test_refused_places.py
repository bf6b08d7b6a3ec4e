"""Places that cannot be written, and one input of several that cannot be read.

The first is said before the work, the second leaves the others done; both name the file and what
to do.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gopro_tools.errors import InputError
from gopro_tools.export import ExportConfig, export, verify_export
from gopro_tools.faults import system_message
from gopro_tools.files import named_below, refuse_unwritable, write_atomic
from gopro_tools.report import report
from tests.commands import ROOT, command_line, environment, run_command_line
from tests.test_full_disk import COMMANDS, material
from tests.tiny_dataset import write_dataset

__all__ = ["material"]  # the fixture
NEEDS_A_SERVER = "download"


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {NEEDS_A_SERVER}))
def test_a_file_in_place_of_the_folder(material: Path, tmp_path: Path, name: str) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    words = COMMANDS[name].format(m=material, out=taken / "out").split()
    ended = run_command_line(*words, PYTHONPATH=f"{ROOT}{os.pathsep}{material}", timeout_s=300)
    assert ended.returncode == 2, ended.stderr
    said = " ".join(ended.stderr.split())
    assert f"error: {taken}" in said or f"error: --out {taken}" in said
    assert any(advice in said for advice in ("name another", "choose")), said
    assert taken.read_text() == "mine"


EARLY = {
    "verify": "gopro_tools.verify nowhere -o {out}",
    "export verify": "gopro_tools.export verify nowhere nowhere -o {out}",
    "check": "gopro_tools.gopro_large check nowhere nowhere -o {out}",
    "regenerate": "gopro_tools.gopro_large regenerate nowhere -o somewhere --findings {out}",
    "download": "gopro_tools.gopro_large download -o somewhere --findings {out} "
    "--endpoint http://127.0.0.1:9",
    "report": "gopro_tools.report nowhere --single-file -o {out}",
}
"""Commands whose work fails at its beginning: what they say first was looked at before it."""


@pytest.mark.parametrize("name", EARLY)
def test_the_place_is_looked_at_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").write_text("mine")
    out = tmp_path / "taken" / "result"
    ended = run_command_line(*EARLY[name].format(out=out).split())
    assert ended.returncode == 2, ended.stderr
    assert f"{tmp_path / 'taken'}: Not a directory. A folder was expected" in ended.stderr


def test_places_that_can_and_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    refuse_unwritable(None)
    refuse_unwritable(tmp_path / "file")  # it is replaced
    refuse_unwritable(tmp_path / "new" / "deep" / "file")
    refuse_unwritable(tmp_path, is_folder=True)
    with pytest.raises(IsADirectoryError):
        refuse_unwritable(tmp_path)
    with pytest.raises(NotADirectoryError):
        refuse_unwritable(tmp_path / "file", is_folder=True)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PermissionError) as refused:
        refuse_unwritable(tmp_path / "new" / "file")
    assert system_message(refused.value).startswith(
        f"{tmp_path}: Permission denied. Choose another"
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]  # nothing was made


def test_errors_name_the_file_and_not_its_temporary_name(tmp_path: Path) -> None:
    name = tmp_path / ("long" * 70 + ".md")
    with pytest.raises(OSError, match="too long") as refused:
        write_atomic(name, "x")
    assert system_message(refused.value) == f"{name}: File name too long. Choose a shorter name."
    gone = tmp_path / "nowhere" / "temporary"
    with pytest.raises(FileNotFoundError) as refused:
        write_atomic(tmp_path / "table.md", "x", gone)
    assert system_message(refused.value).startswith(f"{tmp_path / 'table.md'}: No such file")


# --- inputs that may not be read ---


def as_anybody(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command for which permissions count, which they do not for root."""
    line = command_line(*map(str, words))
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv, as root may read everything")
        rights = "-dac_override,-dac_read_search"
        line = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *line]
    ended = subprocess.run(
        line, capture_output=True, text=True, check=False, timeout=300, env=environment()
    )
    assert ended.returncode in (0, 1, 2), ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("verb", ["tables", "report"])
@pytest.mark.parametrize("secret", ["run.json", "summary.csv", "per_image.csv", ""])
def test_one_result_of_two_that_may_not_be_read(
    material: Path, tmp_path: Path, verb: str, secret: str
) -> None:
    for name in ("a", "b"):
        shutil.copytree(material / "scores", tmp_path / "results" / name)
    hidden = tmp_path / "results" / "b" / secret
    hidden.chmod(0)
    try:
        out = tmp_path / ("table.md" if verb == "tables" else "page")
        ended = as_anybody(f"gopro_tools.{verb}", tmp_path / "results", "-o", out)
    finally:
        hidden.chmod(0o755)
    said = " ".join(ended.stderr.split())
    assert re.search(
        f"{re.escape(str(hidden))}: (cannot be (read|looked into) \\(P|P)ermission denied", said
    )
    assert "Errno" not in said
    assert "again" not in said
    if verb == "report" and secret in ("", "run.json"):  # looked for, and named, before the page
        assert ended.returncode == 2
        assert not out.exists()
    else:
        assert ended.returncode == 1
        assert out.exists()


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_video_that_may_not_be_read_leaves_the_photo_done(material: Path, tmp_path: Path) -> None:
    clip = Path(shutil.copyfile(material / "clip.mp4", tmp_path / "clip.mp4"))
    photo = material / "dataset/test/GOPR0002_11_00/blur/000001.png"
    clip.chmod(0)
    ended = as_anybody("gopro_tools.deblur", clip, photo, "-o", tmp_path / "out")
    assert ended.returncode == 1, ended.stderr
    assert f"{clip}: Permission denied" in " ".join(ended.stderr.split())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000001.png"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_network_that_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    shutil.copyfile(
        ROOT / "gopro_tools/weights/deepdeblur_k2_small.onnx", tmp_path / "network.onnx"
    )
    (tmp_path / "network.onnx").chmod(0)
    dataset = write_dataset(tmp_path / "dataset", train=(), test=(1,))
    photo = dataset / "test/GOPR0001_11_00/blur/000001.png"
    ended = as_anybody(
        "gopro_tools.deblur", photo, "-o", tmp_path / "out", "--weights", tmp_path / "network.onnx"
    )
    said = " ".join(ended.stderr.split())
    assert ended.returncode == 2
    assert "network.onnx: Permission denied. Choose another place, or change" in said
    assert "download" not in said


def test_folders_that_may_not_be_looked_into_are_no_empty_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("a", "b/c"):
        write_atomic(tmp_path / place / "run.json", "{}")
    found = sorted(named_below(tmp_path, "run.json", "*.csv"))
    assert found == [tmp_path / "a/run.json", tmp_path / "b/c/run.json"]
    assert not list(named_below(tmp_path / "a/run.json", "run.json"))
    with pytest.raises(FileNotFoundError):
        list(named_below(tmp_path / "nowhere", "run.json"))
    errors: list[OSError] = []
    assert not list(named_below(tmp_path / "nowhere", "run.json", on_error=errors.append))
    assert len(errors) == 1


# --- inputs that are not what they are named as ---


@pytest.mark.parametrize("to", ["flat", "webdataset"])
def test_a_link_to_nothing_leaves_the_other_pairs_exported(tmp_path: Path, to: str) -> None:
    dataset = write_dataset(tmp_path / "dataset", train=(3,), test=(2,))
    broken = dataset / "train/GOPR0001_11_00/blur_gamma/000002.png"
    broken.unlink()
    broken.symlink_to("nowhere.png")
    config = ExportConfig(to=to, blur_kind="gamma")  # type: ignore[arg-type]
    result = export(dataset, config, tmp_path / "out")
    assert result.n_samples == 4
    assert result.left_out == [
        f"{broken}: a link to nowhere.png, which is not there; repair or remove it."
    ]


def test_kinds_that_a_dataset_lacks_and_folders_that_are_none(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", train=(1,), test=(1,))
    with pytest.raises(InputError, match=r"has no blur_real, but blur_gamma and blur\."):
        export(dataset, ExportConfig(to="flat", blur_kind="real"), tmp_path / "out")
    (tmp_path / "photos").mkdir()
    for config in (ExportConfig(to="flat"), ExportConfig(to="flat", blur_kind="gamma")):
        with pytest.raises(InputError, match="photos: no dataset in the GOPRO layout"):
            export(tmp_path / "photos", config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_exports_own_file_that_is_damaged_says_what_to_do(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", train=(1,), test=(1,))
    out, config = tmp_path / "out", ExportConfig(to="flat", blur_kind="gamma")
    export(dataset, config, out)
    (out / ".export.json").write_text("{")
    with pytest.raises(InputError, match=rf"damaged, .* Remove {out} and export again\."):
        verify_export(out, dataset)
    with pytest.raises(InputError, match=rf"damaged, .* Remove {out} and export again\."):
        export(dataset, config, out)


def test_what_a_page_cannot_show_is_said_and_counts(material: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(material / "dataset", dataset)
    broken = dataset / "test/GOPR0002_11_00/blur_gamma/000001.png"
    broken.write_bytes(broken.read_bytes()[:200])
    ended = run_command_line("gopro_tools.report", dataset, "-o", tmp_path / "page")
    assert ended.returncode == 1
    assert f"not shown: {broken}" in " ".join(ended.stderr.split())
    scores = tmp_path / "elsewhere" / "scores"
    shutil.copytree(material / "scores", scores)
    missing: list[str] = []
    report(scores, tmp_path / "moved", on_missing=missing.append)
    assert "only scores are shown" in missing[0]  # the dataset lay elsewhere


@pytest.mark.parametrize("words", ["--dataset nowhere", "--sharp nowhere --blurred nowhere"])
def test_images_that_are_named_and_not_there_are_an_error(
    material: Path, tmp_path: Path, words: str
) -> None:
    ended = run_command_line(
        "gopro_tools.report", material / "scores", *words.split(), "-o", tmp_path / "page"
    )
    assert ended.returncode == 2
    assert "nowhere" in ended.stderr
    assert not (tmp_path / "page").exists()


def test_a_table_is_not_written_under_the_name_of_another_kind(
    material: Path, tmp_path: Path
) -> None:
    out = tmp_path / "table.xlsx"
    ended = run_command_line("gopro_tools.tables", material / "scores", "-o", out)
    assert ended.returncode == 2
    assert "table.xlsx: .md, .csv or .tex was expected, or --format" in ended.stderr
    assert not out.exists()
    asked = run_command_line(
        "gopro_tools.tables", material / "scores", "-o", out, "--format", "csv"
    )
    assert asked.returncode == 0
    nobody = run_command_line("gopro_tools.tables", material / "scores", "--methods", "nobody")
    assert "method blurred" in nobody.stderr  # those that there are
