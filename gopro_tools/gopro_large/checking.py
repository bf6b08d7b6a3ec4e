"""Verify a copy of GOPRO_Large against GOPRO_Large_all."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gopro_tools.dataset import SPLITS, sequences_of
from gopro_tools.errors import InputError
from gopro_tools.findings import Finding, Severity
from gopro_tools.gopro_large.config import KINDS, CheckConfig, Kind
from gopro_tools.gopro_large.table import (
    LargeImage,
    LargeSequence,
    images_of,
    present_sequences,
    ranges,
    read_frames,
    recipe,
    refuse_images,
)
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.text import size_text
from gopro_tools.threads import Progress, thread_pool


@dataclass(slots=True)
class Agreement:
    """How the images of one kind agree with the frames."""

    n_exact: int = 0
    """Images equal in every value."""
    n_within: int = 0
    """Others within the tolerance."""
    n_off: int = 0
    """Others."""
    values_by_level: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """(256,) how many values differ by k levels, k = 0..255."""

    def add(self, values_by_level: NDArray[np.int64], tolerance_levels: int) -> int:
        """Count one image; returns the largest difference in levels."""
        largest = int(np.flatnonzero(values_by_level)[-1])
        self.values_by_level += values_by_level
        self.n_exact += largest == 0
        self.n_within += 0 < largest <= tolerance_levels
        self.n_off += largest > tolerance_levels
        return largest


@dataclass(slots=True)
class CheckResult:
    """What `check` found."""

    findings: list[Finding] = field(default_factory=list)
    agreement: dict[Kind, Agreement] = field(default_factory=dict)
    n_unreleased: int = 0
    """Images whose blur could not be checked, as their frames were never released."""


def check(config: CheckConfig, *, on_progress: Progress | None = None) -> CheckResult:
    """Compare every image of a copy of GOPRO_Large with what the released frames give.

    Args:
        config: Which copy, which frames, which tolerance.
        on_progress: Called after each image (all kinds of it together).

    Returns:
        Findings (an image that is off, missing or unreadable is an error; one whose frames were
        never released a note) and counts.

    Raises:
        InputError: There is no such copy, or there are no such frames.
    """
    _refuse_mixed_up(config)
    with_frames, no_frames = present_sequences(config.frames, config.sequences, "frames")
    in_copy, not_in_copy = present_sequences(config.dataset, config.sequences, "images")
    result = CheckResult(
        findings=[
            *no_frames,
            *not_in_copy,
            *_missing_folders(config, in_copy),
            *_foreign_images(config),
        ],
        agreement={kind: Agreement() for kind in config.kinds},
    )
    images = [
        image for sequence in with_frames if sequence in in_copy for image in sequence.images()
    ]
    with thread_pool(config.jobs) as pool:
        compared = pool.map(lambda image: _compare(image, config), images)
        for done, (image, one) in enumerate(zip(images, compared, strict=True), start=1):
            result.findings += one.findings
            result.n_unreleased += one.unreleased
            for kind, values_by_level in one.values_by_level.items():
                tolerance = config.tolerance_levels if kind == "blur_gamma" else 0
                largest = result.agreement[kind].add(values_by_level, tolerance)
                if largest > tolerance:
                    n_off = values_by_level[tolerance + 1 :].sum()
                    result.findings.append(
                        Finding(
                            "error",
                            kind,
                            f"{n_off} of {values_by_level.sum()} values are more than {tolerance} "
                            f"levels from what frames {ranges(image.frames)} give, by {largest} at "
                            "most",
                            *image.key,
                        )
                    )
            if on_progress:
                on_progress(done, len(images))
    result.findings.sort(key=lambda finding: finding.sort_key)
    return result


def _refuse_mixed_up(config: CheckConfig) -> None:
    """Name the mistake where the two folders were mixed up."""
    order = "The order is `check GOPRO_Large GOPRO_Large_all`: the images, then their frames."
    refuse_images(config.frames, config.sequences, order)
    for sequence in recipe(config.sequences):
        images = config.dataset / sequence.split / sequence.sequence
        has_kinds = any((images / kind).is_dir() for kind in KINDS)
        if images.is_dir() and not has_kinds and next(images.glob("*.png"), None) is not None:
            raise InputError(
                f"{config.dataset}: holds GOPRO_Large_all (frames lie in {images} itself); the "
                f"images of GOPRO_Large were expected there. {order}"
            )


@dataclass(slots=True)
class _Compared:
    findings: list[Finding] = field(default_factory=list)
    values_by_level: dict[Kind, NDArray[np.int64]] = field(default_factory=dict)
    unreleased: bool = False


def _compare(image: LargeImage, config: CheckConfig) -> _Compared:
    compared = _Compared()
    frames, problems = read_frames(image, config.frames)
    compared.findings += problems
    compared.unreleased = any(finding.check == "unreleased" for finding in problems)
    expected: Mapping[Kind, Rgb] = {}
    if not problems:
        expected = images_of(image, frames)
    elif image.middle_frame in frames:
        expected = {"sharp": frames[image.middle_frame]}
    paths = {kind: image.path(config.dataset, kind) for kind in config.kinds}
    # `_missing_folders` reports folders that are missing as a whole.
    missing = [k for k, path in paths.items() if path.parent.is_dir() and not path.is_file()]
    if missing:
        # A rebuilt copy cannot have the 14; the original has them.
        severity: Severity = "warning" if compared.unreleased else "error"
        message = f"{', '.join(missing)}: {image.name} is missing"
        compared.findings.append(Finding(severity, "missing", message, *image.key))
    for kind, path in paths.items():
        if not path.is_file():
            continue
        try:
            found = read_rgb(path)
        except InputError as error:
            message = f"{kind}/{image.name}: {str(error).removeprefix(f'{path}: ')}"
            compared.findings.append(Finding("error", "unreadable", message, *image.key))
            continue
        if kind not in expected:
            continue
        if found.shape != expected[kind].shape:
            sizes = size_text(found.shape), size_text(expected[kind].shape)
            message = f"{kind} is {sizes[0]}, its frames are {sizes[1]}"
            compared.findings.append(Finding("error", "size", message, *image.key))
            continue
        difference = np.maximum(found, expected[kind]) - np.minimum(found, expected[kind])
        compared.values_by_level[kind] = np.bincount(difference.ravel(), minlength=256)
    return compared


def _missing_folders(config: CheckConfig, sequences: Iterable[LargeSequence]) -> Iterator[Finding]:
    for sequence in sequences:
        place = sequence.split, sequence.sequence
        for kind in config.kinds:
            if not config.dataset.joinpath(*place, kind).is_dir():
                yield Finding("error", "missing", f"there is no folder {kind}", *place)


def _foreign_images(config: CheckConfig) -> Iterator[Finding]:
    """What a copy has that GOPRO_Large does not."""
    own: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for sequence in recipe():
        own[sequence.split, sequence.sequence] = {image.name for image in sequence.images()}
    for split in SPLITS:
        for sequence_name in sequences_of(config.dataset, split):
            if config.sequences and sequence_name not in config.sequences:
                continue
            place = split, sequence_name
            if place not in own:
                yield Finding("error", "foreign", "no sequence of GOPRO_Large", *place)
                continue
            for kind in config.kinds:
                folder = config.dataset / split / sequence_name / kind
                for path in sorted(folder.glob("[!.]*")):
                    if path.name not in own[place]:
                        message = f"{kind}/{path.name} is not an image of GOPRO_Large"
                        yield Finding("error", "foreign", message, *place, path.name)
