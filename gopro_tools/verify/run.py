"""Checking a dataset: what lies in its folders, what its manifest promises, its pixels."""

import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, SPLITS, VALIDATION, sequences_of
from gopro_tools.errors import InputError
from gopro_tools.executors import mapped
from gopro_tools.files import natural_key, write_atomic
from gopro_tools.findings import Finding, findings_csv, has_errors
from gopro_tools.layouts import GOPRO, Pairs, Place, find_dataset, list_pairs
from gopro_tools.naming import group_of
from gopro_tools.shape import config_from, path_from
from gopro_tools.shown import ShownResult
from gopro_tools.storage import local_copy
from gopro_tools.threads import Progress
from gopro_tools.verify.across import Seen
from gopro_tools.verify.config import VerifyConfig
from gopro_tools.verify.folders import (
    ImageSet,
    Manifest,
    check_manifest_rows,
    check_names,
    check_partners,
    check_recordings,
    kinds_of_dataset,
    list_images,
    read_manifest,
)
from gopro_tools.verify.pixels import Result, check_images, looked_at
from gopro_tools.verify.published import check_rows, check_seal, check_state

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Verification(ShownResult, Sequence[Finding]):
    """Result of `verify`: a sequence of findings, empty if all is well."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no finding says that the data is wrong."""
        return not has_errors(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, index: Any) -> Any:
        return self.findings[index]

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per finding."""
        import pandas as pd

        text = findings_csv(self.findings)
        return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)

    def _repr_html_(self) -> str:
        return super()._repr_html_() if self.findings else "<p>No findings.</p>"


def verify(
    dataset: Path | str,
    config: VerifyConfig | None = None,
    *,
    out: Path | str | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
) -> Verification:
    """Check a dataset in the GOPRO_Large layout, and its manifest if it has one.

    For a dataset of another layout (see `gopro_tools.layouts`), partners and pixels are checked.

    Args:
        dataset: The folder with ``train`` and ``test``, or a URL of one.
        config: Limits and number of jobs.
        out: CSV file for the findings; None writes none.
        on_progress: Called with the number of images done and in total.
        executor: Checks the images in place of threads here; it must see the same files.

    Returns:
        Findings in the order of the folders, the same on every run.

    Raises:
        InputError: ``dataset`` has no known layout, or ``out`` cannot be written.
    """
    # An executor's workers may have another working folder.
    config = config_from(VerifyConfig, config)
    root = local_copy(dataset)
    root = root.absolute() if executor else root
    findings = tuple(_findings(root, config, on_progress, executor))
    if out is not None:
        out = path_from(out, "out")
        try:
            write_atomic(out, findings_csv(findings))
        except OSError as error:
            raise InputError(f"{out}: cannot be written ({error.strerror}).") from error
    return Verification(findings=findings)


def _findings(
    root: Path, config: VerifyConfig, progress: Progress | None, executor: Executor | None
) -> list[Finding]:
    places = _places(root)
    ours = [place for place in places if place.layout == GOPRO and _is_split(place.folder)]
    if places and not ours:
        return _verify_other(root, places, config, progress, executor)
    if ours:
        root = ours[0].folder.parent  # the dataset may lie in a folder that holds nothing else
    findings = list(check_state(root))
    more = [place.folder.name for place in ours if place.folder.name not in SPLITS]
    sequences = [(split, name) for split in (*SPLITS, *more) for name in sequences_of(root, split)]
    if not sequences and findings:
        return findings
    if not sequences:
        raise InputError(
            f"{root}: no dataset in the GOPRO layout there; folders such as "
            f"train/GOPR0372_07_00/{SHARP_FOLDER} were expected. `python -m "
            "gopro_tools.synthesize` makes one from videos, and gopro_tools.evaluate --sharp "
            "--blurred takes two folders."
        )
    findings += [*check_names(root, sequences), *check_recordings(sequences)]
    manifest, manifest_findings = read_manifest(root)
    findings += manifest_findings

    images: list[ImageSet] = []
    listings = {place: list_images(root, *place) for place in sequences}
    kinds = kinds_of_dataset(listings.values(), manifest)
    if kinds == (SHARP_FOLDER,):
        message = f"no blurred images: neither {' nor '.join(BLUR_FOLDERS.values())} is there"
        findings.append(Finding("error", "missing", message))
    for (split, sequence), listing in listings.items():
        findings += listing.findings
        findings += check_partners(split, sequence, listing, kinds)
        images += [
            ImageSet(root=root, split=split, sequence=sequence, name=name, places=found)
            for name, found in listing.sets.items()
        ]
    findings += check_manifest_rows(manifest, images)
    findings += check_rows(manifest)
    findings += check_seal(root, manifest, images)
    findings += _check_pixels(images, config, manifest, progress, executor)
    return sorted(findings, key=lambda finding: finding.sort_key)


def _is_split(folder: Path) -> bool:
    return folder.name in SPLITS or folder.name.lower() in VALIDATION


def _places(root: Path) -> list[Place]:
    """The splits that are there. An error in one counts only if there is no other."""
    found: list[Place] = []
    problems: list[InputError] = []
    for split in (*SPLITS, *VALIDATION):
        try:
            if place := find_dataset(root, split):
                found.append(place)
        except InputError as error:
            problems.append(error)
    if problems and not found:
        raise problems[0]
    return found


def _verify_other(
    root: Path,
    places: Sequence[Place],
    config: VerifyConfig,
    progress: Progress | None,
    executor: Executor | None,
) -> list[Finding]:
    """Partners and pixels of a dataset that is laid out as other programs have it."""
    findings: list[Finding] = []
    images: list[ImageSet] = []
    for place in {(place.folder, place.split): place for place in places}.values():
        by_kind = _pairs_by_kind(place)
        kinds_said = f" of {' and '.join(by_kind)}" if len(by_kind) > 1 else ""
        keys = {key for pairs in by_kind.values() for key in (*pairs.sharp, *pairs.blurred)}
        n_pairs = sum(len(p.sharp.keys() & p.blurred.keys()) for p in by_kind.values())
        where = f", split {place.split}" if place.split else ""
        message = f"{place.layout} layout{where}: {n_pairs} pairs{kinds_said}"
        findings.append(Finding("info", "layout", message))
        for key in sorted(keys, key=lambda key: natural_key(str(key))):
            sharp = [pairs.sharp[key][0] for pairs in by_kind.values() if key in pairs.sharp]
            kinds = {SHARP_FOLDER: sharp[:1]}
            kinds |= {
                kind: [pairs.blurred[key]] if key in pairs.blurred else []
                for kind, pairs in by_kind.items()
            }
            sequence = "" if key.parent == PurePosixPath() else str(key.parent)
            for kind, paths in kinds.items():
                if not paths:
                    message = f"the {kind} image is missing"
                    findings.append(
                        Finding("error", "missing", message, place.split, sequence, key.name)
                    )
            there = {kind: paths[0] for kind, paths in kinds.items() if paths}
            images.append(
                ImageSet(
                    root=root,
                    split=place.split,
                    sequence=sequence,
                    name=key.name,
                    places=there,
                )
            )
    names = {(image.split, group_of(PurePosixPath(image.sequence, image.name))) for image in images}
    findings += check_recordings(sorted(names))
    findings += _check_pixels(images, config, None, progress, executor)
    return sorted(findings, key=lambda finding: finding.sort_key)


def _pairs_by_kind(place: Place) -> dict[str, Pairs]:
    """The pairs of each kind of blur that has its own folder under GOPRO's names."""
    found: dict[str, Pairs] = {}
    for blur_kind, folder in BLUR_FOLDERS.items():
        try:
            pairs = list_pairs(place, blur_kind)
        except InputError:  # not of this kind
            continue
        if pairs.blurred and pairs.blurred not in [other.blurred for other in found.values()]:
            found[folder] = pairs
    return found if len(found) > 1 else {"blurred": list_pairs(place, None)}


def _check_pixels(
    images: Sequence[ImageSet],
    config: VerifyConfig,
    manifest: Manifest | None,
    progress: Progress | None,
    executor: Executor | None,
) -> list[Finding]:
    findings: list[Finding] = []
    seen = Seen()
    promised = manifest or {}
    small = looked_at(images)
    work = [
        (image, promised.get(image.key, {}), small.get(index, set()))
        for index, image in enumerate(images)
    ]
    check = partial(_check_one, config)
    with closing(mapped(check, work, jobs=config.jobs, executor=executor)) as results:
        for done, (image, result) in enumerate(zip(images, results, strict=True), start=1):
            findings += result.findings
            findings += seen.add(image, result)
            if progress:
                progress(done, len(images))
    return [*findings, *seen.findings()]


def _check_one(config: VerifyConfig, work: tuple[ImageSet, Mapping[str, str], set[str]]) -> Result:
    image, promised, small = work
    return check_images(image, config, promised, small)
