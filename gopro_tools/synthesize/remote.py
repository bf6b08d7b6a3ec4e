"""A dataset below a URL: made here a segment at a time, and uploaded whole.

A worker makes a segment in its own folder, uploads the images, and uploads the segment's record
last, so that its existence means, as on a disk, that the images exist. The tables are made from the
records by the process that began the run: the only one, as objects have no locks.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.processes import Workers
from gopro_tools.seal import DATASET_FILE, changed_files, read_seal
from gopro_tools.storage import Objects, Stored
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.copies import make_anywhere
from gopro_tools.synthesize.output import IDENTITY_FILE, STATE_FOLDER, difference, identity_of
from gopro_tools.synthesize.plan import Plan
from gopro_tools.synthesize.publish import PUBLISHED_FILES, publish
from gopro_tools.synthesize.repair import listed_pairs
from gopro_tools.synthesize.run import Summary, nothing_to_make, plan_of, summary_of
from gopro_tools.synthesize.segment import SegmentRecord, SegmentTask
from gopro_tools.synthesize.tasks import records_of, run_segments, tasks_of, writing
from gopro_tools.threads import Progress

logger = logging.getLogger(__name__)

_IDENTITY = f"{STATE_FOLDER}/{IDENTITY_FILE}"


def synthesize_to(
    url: str,
    workers: Workers,
    sources: Sequence[Path],
    config: SynthesisConfig,
    progress: Progress | None,
) -> Summary:
    """`synthesize` into objects below a URL; interrupted, the same call resumes.

    Raises:
        InputError: Something else is stored there, or it cannot be written to.
        PassingError: The storage does not answer; what was uploaded stays.
    """
    target = Objects(url)
    target.listing()  # before minutes of probing
    with TemporaryDirectory() as folder:
        out = Path(folder) / target.name
        plan = plan_of(sources, Path(url), config, workers)
        if not plan.segments:
            raise nothing_to_make(plan)
        there = target.listing()
        if DATASET_FILE in there:
            return _finished(target, there, plan, out)
        _begin(target, there, plan, out)
        tasks = tasks_of(plan, out, workers.n_jobs)
        pending = _pending(target, there, tasks)
        with writing():
            shown = run_segments(
                workers,
                partial(make_and_put, target),
                tasks,
                pending,
                progress,
                on_crash=partial(_put_record, target),
                on_made=_keep_record,
            )
            publish(
                plan,
                records_of(tasks),
                out,
                out / STATE_FOLDER,
                shown=shown,
                bring=partial(_bring, target, out),
            )
        for name in PUBLISHED_FILES:  # the seal comes last
            if (out / name).exists():
                target.put(out, [name])
        target.remove(name for name in target.listing() if name.startswith(f"{STATE_FOLDER}/"))
        made = summary_of(out, plan, read_seal(out), already_complete=False)
    return replace(made, out=Path(url))


def make_and_put(target: Objects, task: SegmentTask) -> SegmentRecord:
    """Make a segment in its own folder, upload its images, and then its record."""
    with TemporaryDirectory() as folder:
        out = Path(folder)
        record_name = _record_name(task)
        here = replace(
            task, out=out, record=out / record_name, temporary=out / f"{record_name}.tmp"
        )
        here.record.parent.mkdir()
        record = make_anywhere(here)
        target.put(out, list(record.files))
        target.put(out, [record_name])
    return record


def _record_name(task: SegmentTask) -> str:
    return f"{STATE_FOLDER}/{task.record.name}"


def _keep_record(task: SegmentTask, record: SegmentRecord) -> None:
    """Keep a record for the tables."""
    write_atomic(task.record, record.to_json(), task.temporary, durable=False)


def _put_record(target: Objects, task: SegmentTask, record: SegmentRecord) -> None:
    _keep_record(task, record)
    target.put(task.out, [_record_name(task)])


def _bring(target: Objects, out: Path, names: Sequence[str]) -> None:
    target.get(names, out)


def _begin(target: Objects, there: Mapping[str, Stored], plan: Plan, out: Path) -> None:
    """Record whose the objects will be, or find that this was done before."""
    wanted = identity_of(plan)
    path = out / _IDENTITY
    if _IDENTITY in there:
        target.get([_IDENTITY], out)
        begun = json.loads(path.read_text(encoding="utf-8"))
        if begun != wanted:
            raise _made_otherwise(target, difference(begun, wanted))
    elif there:
        raise InputError(
            f"{target.url}: holds objects that this program did not make, such as "
            f"{next(iter(there))}; name an empty or new place."
        )
    else:
        write_atomic(path, json.dumps(wanted, indent=1, sort_keys=True))
        target.put(out, [_IDENTITY])


def _pending(
    target: Objects, there: Mapping[str, Stored], tasks: Sequence[SegmentTask]
) -> list[SegmentTask]:
    """The segments that are not yet there with all their images."""
    stored = [task for task in tasks if _record_name(task) in there]
    if stored:
        target.get([_record_name(task) for task in stored], stored[0].out)
        logger.info("%s: %d of %d segments are there.", target.url, len(stored), len(tasks))
    return [task for task in tasks if not _is_there(SegmentRecord.read(task), there)]


def _is_there(record: SegmentRecord | None, there: Mapping[str, Stored]) -> bool:
    return record is not None and all(
        name in there and there[name].n_bytes == n_bytes
        for name, (n_bytes, _) in record.files.items()
    )


def _finished(target: Objects, there: Mapping[str, Stored], plan: Plan, out: Path) -> Summary:
    """The summary of what is there, if that is what was asked for, and complete."""
    target.get([name for name in PUBLISHED_FILES if name in there], out)
    seal = read_seal(out)
    wanted = {key: value for key, value in identity_of(plan).items() if key != "versions"}
    if seal.identity != wanted:
        raise _made_otherwise(target, difference(seal.identity, wanted))
    changes = [f"{name} is {what}" for name, what in changed_files(out, seal).items()]
    changes += [f"{name} is missing" for name in _images(out) if not _has(there, name)]
    if seal.state != "whole" or changes:
        raise InputError(
            f"{target.url}: a finished dataset that was changed ({', '.join(changes[:3])}"
            f"{'...' if len(changes) > 3 else ''}). Name another place, or remove what is there."
        )
    made = summary_of(out, plan, seal, already_complete=True)
    return replace(made, out=Path(target.url))


def _images(out: Path) -> Iterator[str]:
    """Images that the manifest lists."""
    if (out / MANIFEST_FILE).exists():
        for (split, sequence, name), hashes in listed_pairs(out).items():
            yield from (f"{split}/{sequence}/{kind}/{name}" for kind in hashes)


def _has(there: Mapping[str, Stored], name: str) -> bool:
    return name in there and there[name].n_bytes > 0


def _made_otherwise(target: Objects, how: str) -> InputError:
    return InputError(
        f"{target.url}: holds a dataset made with other settings ({how}). Name another place, or "
        "remove what is there."
    )
