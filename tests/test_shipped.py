"""Weights that come with the checkout: found by name, whole, and on a page that says enough."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from baselines.methods import method_named
from baselines.options import RestoreOptions
from benchmarks.pages import filled, tables
from benchmarks.shipped import FOLDER, weights_named
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file

SHIPPED = sorted(FOLDER.glob("*.safetensors"))


def test_names_mean_the_checkout_s_weights_and_paths_stay_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights_named("deepdeblur-k3", None) is None
    assert weights_named("deepdeblur-k3", Path("x.pt")) == Path("x.pt")
    assert weights_named("deepdeblur-k3", Path("reduced")) == FOLDER / "deepdeblur-k3.safetensors"
    with pytest.raises(InputError, match="no weights of sun2015-none"):
        weights_named("sun2015-none", Path("reduced"))
    (tmp_path / "reduced").mkdir()
    assert weights_named("deepdeblur-k3", Path("reduced")) == Path("reduced")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_weights_restore(path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 50, 3)).astype(np.uint8)
    restorer = method_named(path.stem).open(path, RestoreOptions(device="cpu"))
    assert restorer.restore(image).shape == image.shape
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["record"])
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    card = page.partition(f"## {path.name}\n")[2].partition("\n## ")[0]
    assert f"| {record['step'] * 16:,} patches of 64 px" in card
    assert path.stat().st_size < 3_000_000


def test_some_are_shipped() -> None:
    names = {path.stem for path in SHIPPED}
    assert names >= {"deepdeblur-k1", "deepdeblur-k2", "deepdeblur-k3", "deblurgan"}


def test_the_page_names_the_training_of_each(tmp_path: Path) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert filled(FOLDER / "README.md", FOLDER.parent) == page
    assert "Licence: MIT" in page
    for path in SHIPPED:
        card = page.partition(f"\n## {path.name}\n")[2].partition("\n## ")[0]
        assert f"| SHA-256 | {sha256_of_file(path)} |" in card
        assert f"| record | `runs/train/{path.stem}/" in card
    shutil.copytree(FOLDER.parent / "runs" / "train", tmp_path / "runs" / "train")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "x.safetensors").write_bytes(SHIPPED[0].read_bytes() + b"x")
    query = "SELECT parse_filename(filename) AS f, method FROM shipped('weights/*.safetensors')"
    assert "| x.safetensors |  |" in tables(tmp_path, query)
