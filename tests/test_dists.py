"""DISTS against piq's, with stand-in weights; and what it says where weights are missing."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skimage.data
from scipy import ndimage

from gopro_tools.images import Rgb
from gopro_tools.metrics import METRICS, dists
from gopro_tools.metrics.parts import MetricParts, parts_from

torch = pytest.importorskip("torch")
PHOTO: Rgb = skimage.data.astronaut()[:96, :128]
BLURRED: Rgb = ndimage.uniform_filter1d(PHOTO, 7, axis=1)


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Random weights under the names and shapes of the real ones."""
    try:
        from torchvision.models.vgg import cfgs, make_layers
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"torchvision does not import: {error}")
    torch.manual_seed(0)
    layers = make_layers(cfgs["D"])
    vgg, own = tmp_path / "vgg16.pth", tmp_path / "weights.pt"
    features = {f"features.{k}": v for k, v in layers.state_dict().items()}
    torch.save(features, vgg)
    names = ("alpha", "beta")
    torch.save({name: torch.rand(1, 1475, 1, 1) for name in names}, own)
    for path, name in ((vgg, "VGG16_SHA256_PREFIX"), (own, "DISTS_SHA256_PREFIX")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(dists, name, digest[:8])
    dists._weights.cache_clear()
    return vgg, own


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_dists_is_piqs(stand_ins: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import piq
    import piq.perceptual
    from torchvision.models.vgg import cfgs, make_layers

    vgg, own = stand_ins

    def network(**_: Any) -> Any:
        features = make_layers(cfgs["D"])
        weights = torch.load(vgg, weights_only=True)
        features.load_state_dict({k.removeprefix("features."): v for k, v in weights.items()})
        return SimpleNamespace(features=features)

    monkeypatch.setattr(
        torch.hub, "load_state_dict_from_url", lambda *_, **__: torch.load(own, weights_only=True)
    )
    monkeypatch.setattr(piq.perceptual, "vgg16", network)
    x, y = (torch.from_numpy(i).permute(2, 0, 1)[None] / 255 for i in (PHOTO, BLURRED))
    with torch.no_grad():
        whole = sum(w.sum() for w in torch.load(own, weights_only=True).values())
        # piq leaves the weights as they are; the authors' code makes them sum to one.
        expected = 1 - (1 - piq.DISTS()(x, y).item()) / whole.item()
    with parts_from(MetricParts(dists_weights=(own, vgg))):  # the order does not matter
        assert dists.dists_absent() is None
        assert METRICS["dists"](PHOTO, BLURRED) == pytest.approx(expected, rel=1e-4)
        assert METRICS["dists"](PHOTO, PHOTO) == pytest.approx(0, abs=1e-6)
        assert METRICS["dists"](PHOTO, BLURRED) > 0.001


def test_dists_says_what_is_missing(stand_ins: tuple[Path, Path], tmp_path: Path) -> None:
    vgg, own = stand_ins
    why = dists.dists_absent() or ""
    assert "vgg16-397923af.pth and the authors' weights.pt" in why
    assert "--dists-weights" in why
    other = tmp_path / "other.pth"
    other.write_bytes(own.read_bytes()[:-1])
    for files, message in (
        ((vgg,), "needs the authors' weights.pt"),
        ((own, other), "other.pth: damaged, or others"),
        ((tmp_path / "absent.pt",), "absent.pt: no such file"),
    ):
        with parts_from(MetricParts(dists_weights=files)):
            assert message in (dists.dists_absent() or "")
