"""Sources wherever they lie: those on this machine directly, those at a URL through a copy.

A source in object storage is found by its name, copied to the machine of the worker that reads it,
and known by the version that the listing gave.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from gopro_tools.errors import InputError, PassingError
from gopro_tools.seal import DATASET_FILE
from gopro_tools.storage import Objects, Stored, copied, url_of, version_of, visible
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.plan import Probe, probe_source
from gopro_tools.synthesize.segment import SegmentRecord, SegmentTask, process_segment
from gopro_tools.synthesize.sources import Source, discover, stamp_of

Result = TypeVar("Result")


def discover_anywhere(paths: Sequence[Path], exclude: Path | None = None) -> list[Source]:
    """`discover` among files and folders, or among URLs.

    Raises:
        InputError: As `discover`; or some are URLs and some are not.
    """
    urls = [url for path in paths if (url := url_of(path))]
    if not urls:
        return discover(paths, exclude)
    if len(urls) < len(paths):
        raise InputError(
            f"{urls[0]}: sources must be either all URLs or all files on this machine; make two "
            "datasets."
        )
    excluded = url_of(exclude) if exclude else ""
    # Names alone decide what is a source and what it is called: empty files stand for the objects.
    with TemporaryDirectory() as folder:
        listings: dict[Path, tuple[str, dict[str, Stored]]] = {}
        for url in urls:
            objects = Objects(url)
            root = Path(folder) / url.replace("://", "/")
            listing = {
                name: stored
                for name, stored in visible(objects.listing()).items()
                if not excluded or not f"{url}/{name}".startswith(f"{excluded}/")
            }
            if not listing:
                raise InputError(f"{url}: nothing is stored there; a video or a folder expected.")
            _stand_in(objects, listing, root)
            listings[root.resolve()] = url, listing
        return [_source_at(source, listings) for source in discover(list(listings))]


def probe_anywhere(source: Source, config: SynthesisConfig) -> Probe:
    """`probe_source`, through a copy where the source is a URL."""
    if not source.url:
        return probe_source(source, config)

    def probe(path: Path) -> Probe:
        found = probe_source(replace(source, path=path), config)
        info = found.info and replace(
            found.info,
            complaints=tuple(_named(text, path, source) for text in found.info.complaints),
        )
        return replace(found, source=source, error=_named(found.error, path, source), info=info)

    return _through_copy(source, probe)


def make_anywhere(task: SegmentTask) -> SegmentRecord:
    """`process_segment`, through a copy where the source is a URL."""
    source = task.probe.source
    if not source.url:
        return process_segment(task)

    def make(path: Path) -> SegmentRecord:
        # The copy has the content that was probed, but its own times and path.
        there = replace(task.probe, source=replace(source, path=path), stamp=stamp_of(path))
        return process_segment(replace(task, probe=there))

    return _through_copy(source, make)


def _through_copy(source: Source, use: Callable[[Path], Result]) -> Result:
    with copied(source.url, source.version) as path:
        try:
            return use(path)
        except PassingError as error:
            raise PassingError(_named(str(error), path, source)) from error


def _named(text: str, path: Path, source: Source) -> str:
    """A message that names the source, and not the copy that nobody will find."""
    return text.replace(str(path), str(source.path))


def _stand_in(objects: Objects, listing: dict[str, Stored], root: Path) -> None:
    """Create empty files with the names of objects; those that say whose a folder is are copied."""
    for name in listing:
        path = root / name if name else root
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    objects.get([name for name in listing if name.rpartition("/")[2] == DATASET_FILE], root)


def _source_at(found: Source, listings: dict[Path, tuple[str, dict[str, Stored]]]) -> Source:
    """The source that a stand-in stands for."""
    path = found.path.resolve()
    root = next(root for root in listings if path.is_relative_to(root))
    url, listing = listings[root]
    inside = "" if path == root else path.relative_to(root).as_posix()
    if inside in listing:
        own = {"": listing[inside]}
    else:
        prefix = f"{inside}/" if inside else ""
        own = {
            name.removeprefix(prefix): stored
            for name, stored in listing.items()
            if name.startswith(prefix)
        }
    place = f"{url}/{inside}" if inside else url
    return replace(found, path=Path(place), url=place, version=version_of(own))
