"""Trained networks that come with the checkout, and how their cards are written.

``results/weights/<method>.safetensors`` are weights of finished trainings of `benchmarks.train`, as
they left them; `benchmarks.table1.publish` makes the card of each from the training's record.
"""

from pathlib import Path

from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file
from gopro_tools.records import RunRecord, iterate_runs

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


def cards(results: Path) -> dict[Path, str]:
    """The card of each weight file, by its path.

    Raises:
        InputError: No record of a training is of such weights.
    """
    trainings = {run.weights_sha256: run for _, run in iterate_runs(results, "train")}
    texts = {}
    for path in sorted((results / "weights").glob("*.safetensors")):
        record = trainings.get(sha256_of_file(path))
        if record is None or record.method != path.stem:
            raise InputError(
                f"{path}: no training of {path.stem} under {results / 'runs/train'} has these "
                "weights; keep its record with `benchmarks.train --results`."
            )
        texts[path.with_suffix(".md")] = _card(record)
    return texts


def _card(record: RunRecord) -> str:
    recipe, results = record.config["recipe"], record.results
    dataset = record.dataset or {}
    gain = results["validation_psnr_rgb_db"] - results["validation_blurred_psnr_rgb_db"]
    machine = ", ".join(record.machine.get("gpus") or [record.machine["cpu"]])
    lines = [
        f"# {record.method}, {record.scale} scale",
        "",
        f"A narrow network ({recipe['n_features']} features) for images of about 320x180 with blur "
        "of 1 to 10 px: GOPRO in miniature. It is not the paper's network, and gains less on "
        "images of full size, whose blur is longer than any it has seen; halve or quarter them.",
        "",
        f"- Trained on {dataset['n_pairs']} rendered pairs, blur_kind {dataset['blur_kind']}, "
        f"{results['n_patches']:,} patches of 64 px, preset {recipe['preset']}, "
        f"seed {record.seed}, on {machine}; code {record.code_revision}.",
        f"- Validation on {results['n_validation_images']} rendered images of photographs that it "
        f"was not trained on: {results['validation_psnr_rgb_db']:.2f} dB, {gain:+.2f} dB over "
        "blurred (psnr_rgb).",
        f"- SHA-256 {record.weights_sha256}; hash of the training images "
        f"{dataset['content_sha256']}.",
        "- Licence: MIT, as the code. The rendered scenes show wallpapers of Debian's packages "
        "(gnome-backgrounds, mate-backgrounds, plasma-workspace-wallpapers, lomiri-wallpapers, "
        "under their free licences), two photographs of scikit-learn, and frames of "
        "gopro/gpmf-parser's sample video (MIT or Apache-2.0). No image of them is in the file.",
        "",
    ]
    return "\n".join(lines) + "\n"
