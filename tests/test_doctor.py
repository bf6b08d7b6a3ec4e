"""The doctor of the machine: what works, what is missing, what is broken."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gopro_tools import doctor
from gopro_tools.console import EXIT_FINDINGS
from gopro_tools.doctor import Part, as_text, examine

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hide packages, as a base install does."""

    def hide(*names: str) -> None:
        class Blocker:
            @staticmethod
            def find_spec(name: str, *_: object) -> None:
                if name in names:
                    raise ModuleNotFoundError(f"No module named {name!r}")

        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in names else find(name)
        )
        monkeypatch.setattr(sys, "meta_path", [Blocker, *sys.meta_path])
        for name in names:
            monkeypatch.delitem(sys.modules, name, raising=False)

    return hide


def by_name(parts: list[Part]) -> dict[str, Part]:
    return {part.name: part for part in parts}


def test_a_base_install_names_the_extra_of_each_missing_package(
    without: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without("torch", "torchvision", "lpips", "onnxruntime", "ultralytics", "matplotlib", "spandrel")
    parts = by_name(examine())
    assert parts["torch"].status == "missing"
    assert parts["torch"].hint == "pip install '.[train]' in the checkout of gopro_tools"
    assert parts["onnxruntime"].hint.startswith("pip install '.[detect]'")
    assert parts["matplotlib"].hint.startswith("pip install '.[report]'")
    assert parts["CUDA GPU"].status == "missing"
    assert parts["LPIPS"].status == "missing"
    monkeypatch.setattr(doctor, "examine", lambda: list(parts.values()))
    assert doctor.command() == 0, "missing extras are no fault"
    text = capsys.readouterr().out
    assert "[missing] torch" in text
    hint = "-> pip install '.[train]' in the checkout of gopro_tools"
    packages = text.partition("packages\n")[2].partition("\n\n")[0].splitlines()
    assert sum(hint in line for line in packages) == 2, (
        "once below torch and torchvision, and lpips"
    )


def test_every_extra_is_looked_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert set(doctor._EXTRAS) == set(extras) - {"dev", "all"}
    for extra, packages in doctor._EXTRAS.items():
        needed = {re.split(r"[>=; ]", text)[0] for text in extras[extra]}
        assert set(packages) == needed, extra


def test_no_hint_names_a_package_of_the_registry_that_is_not_ours() -> None:
    """The project is on no registry: whoever takes its name there must not be installed."""
    for folder in ("gopro_tools", "baselines", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"gopro[-_]tools\[[a-z]+\]", path.read_text(encoding="utf-8")), (
                path
            )


def test_an_installed_part_that_fails_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(codec: str, pixel_format: str) -> str:
        raise RuntimeError(f"no {codec} today\nand a second line")

    monkeypatch.setattr(doctor, "_encodes", fails)
    for name in ("package", "device", "metric", "detector"):
        monkeypatch.setattr(doctor, f"_{name}_parts", list)
    part = by_name(examine())["H.264 encoder"]
    assert (part.status, part.detail) == ("broken", "RuntimeError: no libx264 today")
    assert doctor.command() == EXIT_FINDINGS
    assert "[broken]" in capsys.readouterr().out


def test_json_has_every_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [Part(group="g", name="n", status="missing", hint="h", detail="d")]
    monkeypatch.setattr(doctor, "examine", lambda: parts)
    assert doctor.command(as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"group": "g", "name": "n", "status": "missing", "detail": "d", "hint": "h",
         "required": False}
    ]  # fmt: skip
    assert as_text(parts) == "g\n  [missing] n  d\n               -> h\n"


def test_everything_required_works_on_this_machine() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gopro_tools.doctor", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr + result.stdout
    parts = by_name([Part(**part) for part in json.loads(result.stdout)])
    required = {part.name for part in parts.values() if part.required}
    assert {"Python", "decoding (PyAV)", "ONNX with OpenCV", "processor"} <= required
    assert all(parts[name].status == "works" for name in required)
    assert parts["H.264 encoder"].status == parts["FFV1 encoder (lossless)"].status == "works"
    assert all(bool(part.hint) == (part.status != "works") for part in parts.values())
