"""Every command in README and CONTRIBUTING runs on small inputs, or has options that exist.

The Python in README is run by test_api.py.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_detectors import onnx_model, yolox_head
from tiny_dataset import smooth_image

from gopro_tools.deblur import shipped_network
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import encode_jpeg, encode_png
from gopro_tools.video_output import VideoWriter

ROOT = Path(__file__).resolve().parent.parent

NOT_RUN = {
    "make": "sets up an environment",
    "pip": "installs packages",
    "dask": "starts a cluster",
}
ONLY_PARSED = {
    "gopro_tools.gopro_large": "needs the original dataset",
    "gopro_tools.response calibrate": "needs a camera's bracket",
    "benchmarks.table1": "trains for minutes or days",
    "benchmarks.train": "trains",
    "benchmarks.restore": "needs trained weights",
}
"""Commands whose arguments are checked without running them, and why."""
ONLY_PARSED_WITH = {
    "--executor": "needs a cluster",
    "--shard": "is one job of an array, on a dataset of its own",
    "s3://": "needs a bucket",
}
"""Parts of commands that have the same effect."""
JOB = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "8"}
"""What the scheduler of an array tells a job."""

_PARSE = """
import functools, json, runpy, sys, tyro
parse = tyro.cli
def only_parse(function, *args, **options):
    if not isinstance(function, (type, functools.partial)):
        function = functools.wraps(function)(lambda *a, **k: 0)
    return parse(function, *args, **options)
tyro.cli = only_parse
failed = []
for words in json.loads(sys.argv[1]):
    sys.argv = words
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code:
            failed.append(" ".join(words))
print(json.dumps(failed))
"""
"""Parses many commands in one process, and prints those that fail."""


def blocks() -> Iterator[str]:
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        yield from re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)


def commands() -> list[str]:
    lines = []
    for block in blocks():
        variables = dict(JOB)
        for line in block.replace("\\\n", " ").splitlines():
            line = line.split("  #")[0].strip()
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            if assigned := re.fullmatch(r'(\w+)="(.*)"', line):
                variables[assigned[1]] = assigned[2]
            elif line and not line.startswith("#"):
                lines.append(line)
    return list(dict.fromkeys(lines))


def module_of(command: str) -> str:
    words = shlex.split(command)
    return " ".join(words[2:4]) if words[:2] == ["python", "-m"] else words[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with everything the commands name."""
    folder = tmp_path_factory.mktemp("newcomer")
    rng = np.random.default_rng(0)
    (folder / "videos").mkdir()
    for number in range(3):
        scene = smooth_image(rng, (512, 640))
        with VideoWriter(
            folder / "videos" / f"walk{number}.mp4",
            size_hw=(512, 512),
            seconds_per_tick=Fraction(1, 240),
        ) as writer:
            for tick in range(24):
                writer.write(scene[:, 4 * tick : 4 * tick + 512], tick)
    with VideoWriter(
        folder / "clip.mp4", size_hw=(96, 128), seconds_per_tick=Fraction(1, 25)
    ) as writer:
        for tick in range(5):
            writer.write(smooth_image(rng, (96, 128)), tick)
    write_atomic(folder / "photo.jpg", encode_jpeg(smooth_image(rng, (96, 128)), 95))
    for number in range(2):
        photograph = cv2.resize(smooth_image(rng, (120, 160)), (320, 240))
        for name in ("photographs", "restored_photographs"):
            write_atomic(folder / name / f"{number}.png", encode_png(photograph.astype("u1")))
    head = yolox_head(2)
    head[0, 30] = [0.5, 0.5, 1.5, 1.5, 1.0, 1.0, 0.0]
    write_atomic(folder / "yolox_nano.onnx", onnx_model(head, names=("person", "car")))
    return folder


def run(place: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place, env=_environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def prepare(place: Path) -> None:
    """``restored/``: what a user's own method would have left there."""
    if (place / "dataset/test").is_dir() and not (place / "restored").exists():
        for path in (place / "dataset/test").glob("*/blur_gamma/*.png"):
            target = place / "restored" / path.parent.parent.name / path.name
            write_atomic(target, path.read_bytes())


def test_there_are_commands_to_test() -> None:
    assert len(commands()) > 15
    for command in ("synthesize", "verify", "evaluate", "report", "deblur"):
        assert any(f"gopro_tools.{command}" in line for line in commands()[:8])


def split_commands() -> tuple[list[list[str]], list[list[str]]]:
    """Words after ``python -m`` of what is run, and of what is only parsed."""
    only_parsed = set(ONLY_PARSED)
    try:
        shipped_network()
    except InputError:
        only_parsed.add("gopro_tools.deblur")
    run_all, parse_all = [], []
    for command in commands():
        words = shlex.split(command)
        if words[0] in NOT_RUN:
            continue
        assert words[:2] == ["python", "-m"], f"what is this? {command}"
        parsed = any(module_of(command).startswith(known) for known in only_parsed)
        parsed |= any(part in command for part in ONLY_PARSED_WITH)
        (parse_all if parsed else run_all).append(words[2:])
    return run_all, parse_all


def test_every_command_runs(place: Path) -> None:
    """In the order of the pages, as a newcomer would type them."""
    failed = []
    for words in split_commands()[0]:
        prepare(place)
        result = run(place, ["-m", *words])
        if result.returncode != 0:
            failed.append(f"{' '.join(words)}\n{result.stderr[-1500:]}")
    assert not failed, "\n\n".join(failed)


def test_what_is_not_run_has_the_right_options(place: Path) -> None:
    wrong = ["benchmarks.train", "--no-such-option", "3"]
    result = run(place, ["-c", _PARSE, json.dumps([*split_commands()[1], wrong])])
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == [" ".join(wrong)], result.stderr


def test_the_picture_is_there_and_small() -> None:
    (name,) = re.findall(
        r"!\[.*?\]\((results/readme\.\w+)\)", (ROOT / "README.md").read_text("utf-8")
    )
    assert (ROOT / name).stat().st_size < 300_000


def test_what_is_not_run_is_still_named_in_the_pages() -> None:
    named = [module_of(command) for command in commands()]
    for known in (*NOT_RUN, *ONLY_PARSED):
        assert any(module.startswith(known) for module in named), f"{known} is not there any more"
    for part in ONLY_PARSED_WITH:
        assert any(part in command for command in commands()), f"{part} is not there any more"
