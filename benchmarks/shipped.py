"""Trained networks that come with the checkout, and how their cards are written.

    python -m benchmarks.shipped TRAINING ... --scores EVALUATION ...

puts the weights of finished trainings (folders of `benchmarks.train`) into
``results/weights/<method>.safetensors`` with a card each, made from the training's record and from
evaluations (folders of `gopro_tools.evaluate`) in which the method has a row.
"""

import shutil
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.train.folder import WEIGHTS_FILE
from gopro_tools.console import run_command, stderr
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file, write_atomic
from gopro_tools.records import RunRecord, read_record
from gopro_tools.text import read_csv

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


def ship(training: Path, scores: tuple[Path, ...], folder: Path = FOLDER) -> Path:
    """Copy a training's weights, and write their card.

    Raises:
        InputError: The training is not finished, or its weights are not those of its record.
    """
    record = read_record(training)
    weights = training / WEIGHTS_FILE
    if not weights.is_file() or sha256_of_file(weights) != record.weights_sha256:
        raise InputError(f"{weights}: missing, or not the weights of its run.json.")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{record.method}.safetensors"
    shutil.copyfile(weights, target)
    lines = _card(record)
    for path in scores:
        lines += _score_lines(path, record.method)
    write_atomic(target.with_suffix(".md"), "\n".join(lines) + "\n")
    return target


def _card(record: RunRecord) -> list[str]:
    recipe, results = record.config["recipe"], record.results
    dataset = record.dataset or {}
    gain = results["validation_psnr_rgb_db"] - results["validation_blurred_psnr_rgb_db"]
    machine = ", ".join(record.machine.get("gpus") or [record.machine["cpu"]])
    return [
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


def _score_lines(evaluation: Path, method: str) -> list[str]:
    """Scores of a method, from the summary of an evaluation.

    Raises:
        InputError: It has no row of the method.
    """
    record = read_record(evaluation)
    rows = read_csv(evaluation / "summary.csv", ("method", "metric", "mean", "n_images"))
    found = {row["method"]: row for row in rows if row["metric"] == "psnr_rgb"}
    if method not in found or "blurred" not in found:
        raise InputError(f"{evaluation}: its summary.csv has no psnr_rgb of {method} and blurred.")
    restored, blurred = (float(found[name]["mean"]) for name in (method, "blurred"))
    name = (record.dataset or {}).get("name", evaluation.name)
    return [
        f"- {name}, {found[method]['n_images']} images: {restored:.2f} dB, "
        f"{restored - blurred:+.2f} dB over blurred (psnr_rgb, mean of the images)."
    ]


def command(
    trainings: tyro.conf.Positional[tuple[Path, ...]],
    scores: tuple[Path, ...] = (),
    folder: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = FOLDER,
) -> int:
    """Put the weights of finished trainings into the checkout, with cards.

    Args:
        trainings: Folders of benchmarks.train, one per method.
        scores: Folders of gopro_tools.evaluate whose scores the cards repeat.
        folder: Where weights and cards go.
    """
    for training in trainings:
        stderr.print(f"{ship(training, scores, folder)}")
    return 0


if __name__ == "__main__":
    run_command(command)
