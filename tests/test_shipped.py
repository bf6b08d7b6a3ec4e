"""Weights that come with the checkout: found by name, whole, and with a card that says enough."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from baselines.methods import method_named
from baselines.options import RestoreOptions
from benchmarks.shipped import FOLDER, cards, weights_named
from gopro_tools.errors import InputError

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
def test_shipped_weights_restore_and_their_card_names_them(path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 50, 3)).astype(np.uint8)
    restorer = method_named(path.stem).open(path, RestoreOptions(device="cpu"))
    assert restorer.restore(image).shape == image.shape
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["record"])
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert f"{record['step'] * 16:,} patches" in card
    assert "Licence: MIT" in card
    assert path.stat().st_size < 3_000_000


def test_some_are_shipped() -> None:
    names = {path.stem for path in SHIPPED}
    assert names >= {"deepdeblur-k1", "deepdeblur-k2", "deepdeblur-k3", "deblurgan"}


def test_cards_are_made_from_the_records_of_the_weights(tmp_path: Path) -> None:
    made = cards(FOLDER.parent)
    assert set(made) == {path.with_suffix(".md") for path in SHIPPED}
    assert all(path.read_text(encoding="utf-8") == text for path, text in made.items())
    shutil.copytree(FOLDER.parent / "runs" / "train", tmp_path / "runs" / "train")
    weights = tmp_path / "weights" / SHIPPED[0].name
    weights.parent.mkdir()
    weights.write_bytes(SHIPPED[0].read_bytes() + b"x")
    with pytest.raises(InputError, match="no training of"):
        cards(tmp_path)
