"""From folders that the other commands leave behind to `Content`."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from gopro_tools.animation import ANIMATION_FILE, blink
from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, SPLITS, BlurKind, Split, sequences_of
from gopro_tools.errors import InputError
from gopro_tools.faults import reason_of
from gopro_tools.files import named_below
from gopro_tools.findings import Finding, is_findings_file, read_findings
from gopro_tools.images import read_rgb
from gopro_tools.metrics import METRICS, score
from gopro_tools.mistakes import chosen
from gopro_tools.pairing import pair_images
from gopro_tools.records import read_record
from gopro_tools.report.content import CheckView, Collection, DatasetView
from gopro_tools.sources import BLURRED, SHARP, Sources, recall_sources
from gopro_tools.text import read_csv
from gopro_tools.threads import Progress
from gopro_tools.verify import verify

EVALUATION_FILE = "per_image.csv"
DETECTION_FILE = "detection_per_image.csv"
_SUMMARIES = {EVALUATION_FILE: "summary.csv", DETECTION_FILE: "detection.csv"}
_DETECTION_SCORES = ("precision", "recall", "f1", "tp", "fp", "fn")
_BLUR_LENGTHS = ("sequence", "name", "blur_px")
_FACTS = ("n_frames", "sharpness")
"""Columns of the manifest shown for each pair; so are those that end in `_FACT_UNITS`."""
_CHECKED, _PRECISION_DB = "psnr_rgb", 0.005
"""The score that shows whether images are still those that were scored."""
_MOST_ANIMATION_BYTES = 5_000_000
_FACT_UNITS = ("_px", "_share", "_sigma")


def read_comparisons(
    folders: Sequence[Path], sources: Sources | None, problems: list[str] | None = None
) -> list[Collection]:
    """Per-image scores in and below some folders; those of the same images are joined.

    Args:
        folders: OUT folders of evaluate or detect, or folders that have such folders in them.
        sources: Where the images lie, for folders whose images have moved or that do not say.
        problems: Gets why each folder that cannot be read is left out, where there are others.

    Raises:
        InputError: Two of them disagree about one number, no folder can be read, or ``sources``
            are not there.
    """
    if sources is not None:
        pair_images(replace(sources, allow_missing=True))
    found = [results for folder in folders for results in folders_with_scores(folder)]
    collections: list[Collection] = []
    left_out: list[str] = []
    for results in found:
        try:
            collections.append(_read_results(results, sources))
        except (InputError, OSError) as error:
            left_out.append(reason_of(error))
    if left_out and (problems is None or not collections):
        raise InputError("\n".join(left_out))
    if problems is not None:
        problems += left_out
    return joined(collections)


def folders_with_scores(folder: Path) -> Iterator[Path]:
    """OUT folders of evaluate and detect: the folder itself, or those below it."""
    for path in sorted({file.parent for file in named_below(folder, *_SUMMARIES)}):
        parts = path.relative_to(folder).parts
        complete = any((path / summary).is_file() for summary in _SUMMARIES.values())
        if complete and not any(part.endswith(".partial") for part in parts):
            yield path


def _read_results(folder: Path, given: Sources | None) -> Collection:
    """One OUT folder: its scores, and the images where they are found."""
    recalled, labels_file = recall_sources(folder) or (None, None)
    sources = given or recalled
    rows: list[dict[str, str]] = []
    labels: dict[str, str] = {}
    for name, summary in _SUMMARIES.items():
        if (folder / name).is_file() and (folder / summary).is_file():
            rows += read_csv(folder / name, ("method", "sequence", "name"))
            first = read_csv(folder / summary, ("dataset", "split", "blur_kind"))[0]
            labels = {what: first[what] for what in ("dataset", "split", "blur_kind")}
    collection = Collection(labels=labels, keys=list(dict.fromkeys(map(_key, rows))))
    _read_scores(collection, rows)
    with suppress(InputError):  # without a record, scores are still shown
        collection.notes += [f"Doubtful: {doubt}" for doubt in read_record(folder).doubts]
    if sources is None:
        collection.notes.append(
            "The results do not say where their images lie, so only scores are shown; name them "
            "with --dataset, or --sharp and --blurred, and --restored."
        )
    else:
        _find_images(collection, sources)
        if sources.dataset is not None:
            _add_facts(collection, sources.dataset, sources.split)
    _add_blur_lengths(collection, folder.parent / "blur_lengths.csv")
    if (folder / DETECTION_FILE).is_file():
        from gopro_tools.report.boxes import read_boxes

        _read_sweep(collection, folder)
        try:
            collection.boxes = read_boxes(folder, collection.keys, labels_file)
        except InputError as error:
            collection.missing.append(str(error))
    return collection


def _key(row: Mapping[str, str]) -> str:
    return str(PurePosixPath(row["sequence"]) / row["name"])


def _read_scores(collection: Collection, rows: Sequence[Mapping[str, str]]) -> None:
    index = {key: i for i, key in enumerate(collection.keys)}
    for row in rows:
        for metric, text in row.items():
            if metric in METRICS or metric in _DETECTION_SCORES:
                methods = collection.scores.setdefault(metric, {})
                series = methods.setdefault(row["method"], [None] * len(index))
                series[index[_key(row)]] = _number(text)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if np.isnan(value) else value


def _find_images(collection: Collection, sources: Sources) -> None:
    try:
        pairing = pair_images(replace(sources, allow_missing=True))
    except InputError as error:
        collection.missing.append(f"The images were not found, so only scores are shown: {error}")
        return
    by_key = {images.key: images.paths for images in pairing.image_sets}
    known = [by_key.get(key, {}) for key in collection.keys]
    for method in dict.fromkeys(method for paths in known for method in paths):
        collection.paths[method] = [paths.get(method) for paths in known]
    if n_missing := sum(not paths for paths in known):
        collection.missing.append(f"{n_missing} of {len(known)} images were not found.")
    if not any(images.more_sharp for images in pairing.image_sets):
        collection.notes += _changed_since(collection)


def _changed_since(collection: Collection) -> Iterator[str]:
    """Methods whose images are no longer those that were scored, judging by a few of them."""
    sharp = collection.paths.get(SHARP, [])
    for method, scores in collection.scores.get(_CHECKED, {}).items():
        results = collection.paths.get(method, [])
        for index in chosen(len(collection.keys)) if sharp and results else ():
            then, paths = scores[index], (sharp[index], results[index])
            if then is None or paths[0] is None or paths[1] is None:
                continue
            try:
                right, image = read_rgb(paths[0]), read_rgb(paths[1])
            except InputError:
                continue  # the gallery names it
            same_size = right.shape == image.shape
            now = score(right, image, (_CHECKED,))[_CHECKED] if same_size else math.nan
            if not math.isclose(now, then, abs_tol=_PRECISION_DB):
                yield (
                    f"{method}: the images have changed since they were scored "
                    f"({collection.keys[index]}: {then:.2f} dB then, {now:.2f} dB now). The scores "
                    "are from before; run evaluate again."
                )
                break


def _add_facts(collection: Collection, dataset: Path, split: str) -> None:
    """Add length of blur and the like, from the manifest or from a rendered dataset's motion."""
    index = {key: i for i, key in enumerate(collection.keys)}
    for name in ("manifest.csv", "motion.csv"):
        if not (dataset / name).is_file():
            continue
        for row in read_csv(dataset / name, ("split", "sequence", "name")):
            at = index.get(_key(row))
            if at is None or row["split"] != split:
                continue
            for column, text in row.items():
                wanted = column in _FACTS or column.endswith(_FACT_UNITS)
                if wanted and (value := _number(text)) is not None:
                    collection.facts.setdefault(column, [None] * len(index))[at] = value


def _add_blur_lengths(collection: Collection, path: Path) -> None:
    """Add the lengths that a benchmark's record holds beside its scores."""
    if path.is_file() and "blur_px" not in collection.facts:
        lengths = {_key(row): _number(row["blur_px"]) for row in read_csv(path, _BLUR_LENGTHS)}
        if any(key in lengths for key in collection.keys):
            collection.facts["blur_px"] = [lengths.get(key) for key in collection.keys]


def _read_sweep(collection: Collection, folder: Path) -> None:
    summary = read_csv(folder / "detection.csv", ("reference_confidence",))[0]
    columns = ("method", "reference_confidence", "confidence", "precision", "recall")
    for row in read_csv(folder / "detection_sweep.csv", columns):
        if row["reference_confidence"] == summary["reference_confidence"]:
            numbers = {name: _number(row[name]) for name in ("confidence", "precision", "recall")}
            collection.sweep.append({"method": row["method"], **numbers})


def joined(collections: Sequence[Collection]) -> list[Collection]:
    """Merge what is known about the same images; others stay apart.

    Raises:
        InputError: Two of them disagree about a number.
    """
    result: list[Collection] = []
    for new in collections:
        old = next((old for old in result if _same_images(old, new)), None)
        if old is None:
            result.append(new)
        else:
            _add(old, new)
    return result


def _add(old: Collection, new: Collection) -> None:
    for metric, methods in new.scores.items():
        for method, series in methods.items():
            if old.scores.setdefault(metric, {}).setdefault(method, series) != series:
                raise InputError(
                    f"{method} has two values of {metric} on {old.title}: the folders disagree. "
                    "Leave one out, or give one method another name."
                )
    for method, paths in new.paths.items():
        old.paths.setdefault(method, paths)
    old.facts = new.facts | old.facts
    old.boxes = old.boxes or new.boxes
    old.sweep = old.sweep or new.sweep
    old.remarks = old.remarks | new.remarks
    old.notes += [note for note in new.notes if note not in old.notes]
    old.missing += [what for what in new.missing if what not in old.missing]


def _same_images(a: Collection, b: Collection) -> bool:
    """Whether two collections show the same images: by name, and by file if both have files."""
    named_alike = a.labels == b.labels and a.keys == b.keys
    return named_alike and not (a.paths and b.paths and _sharp(a) != _sharp(b))


def _sharp(collection: Collection) -> list[Path | None]:
    return [path and path.resolve() for path in collection.paths.get(SHARP, [])]


def read_checks(path: Path) -> list[CheckView]:
    """The CSV files of `gopro_tools.verify`: the file itself, or those in a folder or below it.

    Raises:
        InputError: One of them is damaged.
    """
    files = sorted(named_below(path, "*.csv")) if path.is_dir() else [path]
    return [
        CheckView(name=file.name, findings=read_findings(file))
        for file in files
        if is_findings_file(file)
    ]


def add_remarks(collections: Sequence[Collection], findings: Sequence[Finding]) -> None:
    """Attach to the pairs of a dataset what was found in them."""
    for collection in collections:
        known = set(collection.keys)
        for finding in findings:
            key = str(PurePosixPath(finding.sequence) / finding.name)
            if finding.split == collection.labels["split"] and key in known:
                remark = f"{finding.severity}, {finding.check}: {finding.message}"
                remarks = collection.remarks.setdefault(key, [])
                remarks += [remark] if remark not in remarks else []


def read_dataset(
    root: Path, *, blur_kind: BlurKind | None, check: bool, on_progress: Progress
) -> DatasetView:
    """A dataset in the GOPRO layout: its pairs, rejected windows and what a check finds.

    Args:
        root: The dataset.
        blur_kind: Which blurred images; ``gamma`` where there are any, else ``linear_crf``.
        check: Run `gopro_tools.verify` on it.
        on_progress: Called with the number of images checked and in total.
    """
    splits: dict[str, dict[str, int]] = {}
    collections: list[Collection] = []
    for split in SPLITS:
        if sequences_of(root, split):
            collection = _pairs(root, split, blur_kind)
            collections.append(collection)
            splits[split] = dict(Counter(key.rpartition("/")[0] for key in collection.keys))
    findings = verify(root, on_progress=on_progress) if check else None
    add_remarks(collections, findings or ())
    rejected = root / "rejected.csv"
    columns = ("split", "sequence", "source", "reason")
    return DatasetView(
        name=root.resolve().name,
        splits=splits,
        rejected=read_csv(rejected, columns) if rejected.is_file() else (),
        findings=findings,
        collections=collections,
        animation=_animation(root, collections),
    )


def _animation(root: Path, collections: Sequence[Collection]) -> bytes | None:
    """The loop that came with the dataset, or one of its pairs."""
    made = root / ANIMATION_FILE
    if made.is_file() and made.stat().st_size <= _MOST_ANIMATION_BYTES:
        return made.read_bytes()
    pairs = [
        (blurred, sharp)
        for collection in collections
        for blurred, sharp in zip(collection.paths[BLURRED], collection.paths[SHARP], strict=True)
        if blurred is not None and sharp is not None
    ]
    try:
        return blink(pairs) if pairs else None
    except InputError:
        return None  # the gallery names the image


def _pairs(root: Path, split: Split, blur_kind: BlurKind | None) -> Collection:
    """Pairs of a split; images without a partner are left out, as the check reports them."""
    kind = blur_kind or _kind_of(root, split)
    sources = Sources(dataset=root, split=split, blur_kind=kind, allow_missing=True)
    pairing = pair_images(sources)
    collection = Collection(
        labels=sources.labels, keys=[images.key for images in pairing.image_sets]
    )
    for method in (SHARP, BLURRED):
        collection.paths[method] = [images.paths[method] for images in pairing.image_sets]
    _add_facts(collection, root, split)
    return collection


def _kind_of(root: Path, split: Split) -> BlurKind:
    """The kind of blur that is there: gamma, unless there is only the other."""
    for kind, folder in BLUR_FOLDERS.items():
        if any((root / split / name / folder).is_dir() for name in sequences_of(root, split)):
            return kind
    raise InputError(
        f"{root / split}: no blurred images; {SHARP_FOLDER} beside "
        f"{' or '.join(BLUR_FOLDERS.values())} was expected in each sequence."
    )
