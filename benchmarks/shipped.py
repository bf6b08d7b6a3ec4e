"""Trained networks that come with the checkout.

``results/weights/<method>.safetensors`` are weights of finished trainings of `benchmarks.train`, as
they left them; the page beside them says which.
"""

from pathlib import Path

from gopro_tools.errors import InputError

SHIPPED = "reduced"
"""What ``--weights`` calls them: the reduced scale's, GOPRO in miniature."""

FOLDER = Path(__file__).resolve().parent.parent / "results" / "weights"


def weights_named(method: str, weights: Path | None) -> Path | None:
    """The file that ``--weights`` means: a path, or ``reduced`` for those of the checkout.

    Raises:
        InputError: The checkout has none of this method.
    """
    if weights != Path(SHIPPED) or Path(SHIPPED).exists():
        return weights
    path = FOLDER / f"{method}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(path.stem for path in FOLDER.glob("*.safetensors"))) or "none"
        raise InputError(
            f"--weights {SHIPPED}: the checkout has no weights of {method} (it has {there}). Train "
            "some with benchmarks.train, or name a weight file."
        )
    return path
