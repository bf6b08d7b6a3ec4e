"""Which images were scored and where they came from, for the records of evaluate and detect."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gopro_tools.content import content_facts, images_hash
from gopro_tools.errors import InputError
from gopro_tools.pairing import Pairing
from gopro_tools.records import RESTORE_SUITE, RUN_FILE, RunRecord, read_record
from gopro_tools.sources import BLURRED, SHARP, Sources, restored_folders

COSTS = ("n_parameters", "n_macs")
"""What restoring records about its network, for tables."""


def scored_dataset(
    sources: Sources,
    pairing: Pairing,
    hashes: Mapping[str, Sequence[str]],
    sizes_hw: Iterable[tuple[int, int]],
) -> dict[str, Any]:
    """Identity and names of the pairs that were scored (see `content_facts`).

    Args:
        sources: What was compared.
        pairing: The images that were read.
        hashes: Pixel hashes by method, in the order of the images.
        sizes_hw: Height and width of the images.
    """
    labels = sources.labels
    names = [(images.sequence, images.name) for images in pairing.image_sets]
    sharp = hashes.get(SHARP, hashes[BLURRED])  # no sharp ones: the blurred are the identity
    facts = content_facts(sharp, hashes[BLURRED], sizes_hw, names)
    if sources.dataset_name:
        facts["family"] = sources.dataset_name
    return {
        "name": labels["dataset"],
        "split": labels["split"],
        "blur_kind": labels["blur_kind"],
        **facts,
    }


def scored_methods(
    sources: Sources,
    dataset: Mapping[str, Any],
    hashes: Mapping[str, Sequence[str]],
    pairing: Pairing,
) -> dict[str, dict[str, Any]]:
    """What is known of each restored method, from the record that restoring left in its folder.

    A folder without one (another program's images) is known by its images alone.

    Args:
        sources: What was compared.
        dataset: Of `scored_dataset`.
        hashes: Pixel hashes by method.
        pairing: The images that were read.

    Raises:
        InputError: Images were restored from others than those they are compared with.
    """
    methods: dict[str, dict[str, Any]] = {}
    for name, folder in restored_folders(sources.restored).items():
        methods[name] = {"images_sha256": images_hash(hashes[name])}
        record = _restore_record(folder)
        if record is None:
            continue
        _check_inputs(name, folder, record, dataset, complete=not pairing.left_out)
        methods[name] |= {
            "scale": record.scale,
            "published_name": record.published_name,
            "weights_sha256": record.weights_sha256,
            "restored_by": record.method,
            "code_revision": record.code_revision,
        }
        methods[name] |= {cost: record.results[cost] for cost in COSTS if cost in record.results}
    return methods


def _restore_record(folder: Path) -> RunRecord | None:
    if not (folder / RUN_FILE).is_file():
        return None
    record = read_record(folder)
    return record if record.suite == RESTORE_SUITE else None


def _check_inputs(
    name: str, folder: Path, record: RunRecord, dataset: Mapping[str, Any], *, complete: bool
) -> None:
    """Refuse images that were restored from another kind of blur, another split or other files."""
    made_from = record.dataset or {}
    for what in ("split", "blur_kind"):
        before, now = made_from.get(what), dataset[what]
        if before and now and now != "unstated" and before != now:
            raise InputError(
                f"--restored {name}={folder}: restored from {what} {before} (its {RUN_FILE} says), "
                f"but compared with {what} {now}. Restore and compare the same images."
            )
    same_number = made_from.get("n_pairs") == dataset["n_pairs"]
    before = made_from.get("blurred_sha256")
    if complete and same_number and before and before != dataset["blurred_sha256"]:
        raise InputError(
            f"--restored {name}={folder}: restored from other blurred images than those it is "
            f"compared with ({RUN_FILE} there has the hash of their pixels). Restore again."
        )
