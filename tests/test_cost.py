"""What networks cost, from restoring to the tables and the page."""

from pathlib import Path

import pytest
from test_report import data_of
from test_restore import CPU, Inverting, deepdeblur, run, weights
from tiny_dataset import write_dataset
from torch import nn

from baselines.cost import cost_of, n_macs
from baselines.options import RestoreOptions
from baselines.restoring import NetworkRestorer, in_tiles
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.report import report
from gopro_tools.tables import compare

__all__ = ["weights"]  # the fixture


def test_the_arithmetic_of_a_convolution() -> None:
    network = nn.Conv2d(3, 3, 5, padding=2)
    expected = {"n_parameters": 3 * 3 * 25 + 3, "n_macs": 3 * 3 * 25 * 720 * 1280}
    assert n_macs(network, (720, 1280)) == expected["n_macs"]
    restorer = NetworkRestorer(network, CPU)
    assert cost_of(restorer) == expected
    assert cost_of(in_tiles(restorer, RestoreOptions(device="cpu", tile=64), 2)) == expected
    assert cost_of(Inverting()) == {}


def test_tables_and_page_show_the_cost_of_restored_methods(weights: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", test=(2,))
    for name in ("one", "two"):
        out = tmp_path / name
        assert run(dataset, method="deepdeblur", weights=weights, out=out, options=CPU) == 0
    sources = Sources(
        dataset=dataset, restored=(f"one={tmp_path / 'one'}", f"two={tmp_path / 'two'}")
    )
    evaluate(sources, EvaluateConfig(protocol=("psnr_rgb",)), out=tmp_path / "scores")
    expected = cost_of(NetworkRestorer(deepdeblur(), CPU))
    table = compare([tmp_path / "scores"]).to_dataframe()
    values = {(row["method"], row["metric"]): row["value"] for _, row in table.iterrows()}
    for method in ("one", "two"):
        assert values[method, "parameters_m"] == pytest.approx(expected["n_parameters"] / 1e6)
        assert values[method, "macs_g"] == pytest.approx(expected["n_macs"] / 1e9)
    assert ("blurred", "macs_g") not in values
    (shown,) = data_of(report([tmp_path / "scores"], tmp_path / "page"))["tables"]
    labels = [heading["lines"][0] for heading in shown["headings"]]
    assert {"parameters (M) ↓", "MACs (G) ↓"} <= set(labels)
