"""Every command on a full disk: one sentence that names the disk, exit code 2, no traceback.

A full disk in the middle of a synthesis, and resuming, is in `test_synthesize.py`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from baselines.checkpoints.store import save_checkpoint
from baselines.deepdeblur.network import DeepDeblur
from gopro_tools.detection.detectors import DETECTORS
from gopro_tools.restorers import RESTORERS
from gopro_tools.scenes import write_video
from tests.commands import ROOT, run_command_line
from tests.test_synthesize import EXACT, moving
from tests.tiny_dataset import write_dataset

pytestmark = pytest.mark.skipif(
    not Path("/proc/mounts").exists() or os.geteuid() != 0, reason="needs root to mount a tmpfs"
)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands work on."""
    folder = tmp_path_factory.mktemp("material")
    write_dataset(folder / "dataset", train=(3,), test=(2,))
    write_video(folder / "clip.mp4", moving(40), 240, EXACT)
    (folder / "restorer.py").write_text(RESTORERS.example)
    (folder / "detector.py").write_text(DETECTORS.example)
    torch.manual_seed(0)
    network = DeepDeblur(n_scales=1, n_resblocks=1, n_features=4)
    save_checkpoint(
        folder / "net.safetensors",
        {"restorer": network},
        method="deepdeblur",
        config={},
        step=1,
    )
    ended = run_command_line(
        "gopro_tools.evaluate", "--dataset", folder / "dataset", "--blur-kind", "gamma",
        "--out", folder / "scores",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system on which folders can be made, but nothing can be written to files."""
    small = tmp_path / "full"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        with (small / "ballast").open("wb", buffering=0) as file:
            while free := shutil.disk_usage(small).free:
                file.write(bytes(min(free, 4096)))
        yield small
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


COMMANDS = {
    "synthesize": "gopro_tools.synthesize {m}/clip.mp4 -o {out}",
    "stills": "gopro_tools.synthesize_stills {m}/dataset/train/GOPR0001_11_00/sharp -o {out}",
    "verify": "gopro_tools.verify {m}/dataset -o {out}/findings.csv",
    "evaluate": "gopro_tools.evaluate --dataset {m}/dataset --blur-kind gamma -o {out}",
    "detect": "gopro_tools.detect --dataset {m}/dataset --blur-kind gamma "
    "--detector detector:make -o {out}",
    "tables": "gopro_tools.tables {m}/scores -o {out}/table.md",
    "scenes": "gopro_tools.scenes --out {out} --clips 1 --seconds 0.05 --size 64x96",
    "export": "gopro_tools.export {m}/dataset -o {out} --to flat --blur-kind gamma",
    "download": "gopro_tools.gopro_large download -o {out} --endpoint http://127.0.0.1:9",
    "restore": "benchmarks.restore {m}/dataset --method restorer:make --out {out}",
    "train": "benchmarks.train deepdeblur-k1:smoke --n-features 4 "
    "--n-resblocks 1 --patch-px 32 --batch 2 --n-epochs 1 --n-epochs-decay 0 --device cpu "
    "--n-validation-images 1 --data {m}/dataset --out {out}",
    "export lmdb": "gopro_tools.export {m}/dataset -o {out} --to lmdb --blur-kind gamma "
    "--crop-px 32 --crop-step-px 16",
    "export webdataset": "gopro_tools.export {m}/dataset -o {out} --to webdataset "
    "--blur-kind gamma",
    "report": "gopro_tools.report {m}/scores -o {out}",
    "report of a dataset": "gopro_tools.report {m}/dataset -o {out}",
    "report in one file": "gopro_tools.report {m}/scores --single-file -o {out}/page.html",
    "deblur": "gopro_tools.deblur {m}/dataset/test/GOPR0002_11_00/blur/000001.png -o {out}",
    "deblur a video": "gopro_tools.deblur {m}/clip.mp4 -o {out}",
    "ONNX": "baselines.checkpoints export {m}/net.safetensors {out}/new.onnx",
    "rendered": "gopro_tools.rendered --scale smoke --out {out}",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_sentence(material: Path, full: Path, name: str) -> None:
    words = COMMANDS[name].format(m=material, out=full / "out").split()
    ended = run_command_line(*words, PYTHONPATH=f"{ROOT}{os.pathsep}{material}", timeout_s=300)
    assert ended.returncode == 2, ended.stderr
    said = ended.stderr.splitlines()[-1] if name != "rendered" else ended.stderr
    if name != "download":  # there is no server, and nothing to write without one
        assert "No space left on device" in said or "GB free" in said, ended.stderr
    assert not (full / "out" / "run.json").exists()


DATABASE = ("data.mdb", "lock.mdb")


@pytest.mark.parametrize(
    "name", ["report of a dataset", "export lmdb", "export webdataset", "stills"]
)
def test_a_disk_that_fills_on_the_way(material: Path, tmp_path: Path, name: str) -> None:
    """With room made, the same command ends well, and its files are those of any other run."""

    def run(out: Path) -> subprocess.CompletedProcess[str]:
        return run_command_line(*COMMANDS[name].format(m=material, out=out).split(), timeout_s=300)

    def files_of(out: Path) -> dict[str, bytes]:
        """All but databases, whose pages lie in the order of writing; their lists are compared."""
        return {
            path.relative_to(out).as_posix(): path.read_bytes()
            for path in out.rglob("*")
            if path.is_file() and not path.name.startswith(DATABASE)
        }

    assert run(tmp_path / "whole").returncode == 0
    whole = files_of(tmp_path / "whole")
    small = tmp_path / "small"
    small.mkdir()
    everything = (path for path in (tmp_path / "whole").rglob("*") if path.is_file())
    n_kilobytes = sum(path.stat().st_size for path in everything) // 1024
    options = f"size={n_kilobytes * 2 // 3}k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        ended = run(small / "out")
        assert ended.returncode == 2, ended.stderr
        assert "No space left on device. Make room" in ended.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
        assert run(small / "out").returncode == 0
        assert files_of(small / "out") == whole
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)
