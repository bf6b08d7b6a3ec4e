"""The doctor of the machine: what works, what is missing, what is broken."""

import importlib.util
import json
import subprocess
import sys
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
    without("torch", "torchvision", "lpips", "onnxruntime", "ultralytics", "matplotlib")
    parts = by_name(examine())
    assert parts["torch"].status == "missing"
    assert parts["torch"].hint == "pip install 'gopro-tools[train]'"
    assert parts["onnxruntime"].hint == "pip install 'gopro-tools[detect]'"
    assert parts["matplotlib"].hint == "pip install 'gopro-tools[report]'"
    assert parts["CUDA GPU"].status == "missing"
    assert parts["LPIPS"].status == "missing"
    monkeypatch.setattr(doctor, "examine", lambda: list(parts.values()))
    assert doctor.command() == 0, "missing extras are no fault"
    text = capsys.readouterr().out
    assert "[missing] torch" in text
    assert "-> pip install 'gopro-tools[train]'" in text


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
