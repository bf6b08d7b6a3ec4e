"""Object storage through fsspec: `s3://`, `gs://`, `memory://` and whatever else it knows.

Nothing is computed on objects. What is read is copied to this machine first, once for each version
of an object; what is written is made here and uploaded whole. So everything else deals only with
files, and fsspec is loaded only for a URL.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gopro_tools.errors import InputError, PassingError, installs
from gopro_tools.files import user_cache, write_atomic, written_whole
from gopro_tools.locks import held
from gopro_tools.shape import path_from

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE)
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_AT_ONCE = 256
"""Objects per request to fsspec, which transfers several of them in parallel."""
_COPY_S = 6 * 3600.0
"""How long a process waits for another that is copying the same thing."""
_LEFT_BEHIND_S = 7 * 86400.0
"""Copies unused for this long are removed, as are links of killed processes."""
_PRIVATE = "private-"
_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "mtime", "LastModified",
             "last_modified", "updated", "created")  # fmt: skip
"""What the protocols call the property that reveals a changed object, best first."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a listing says about an object."""

    n_bytes: int
    version: str
    """Differs if the content does."""


def url_of(path: Path | str) -> str:
    """The URL that a path was made from (``Path("s3://a/b")`` is ``s3:/a/b``); "" for a file's."""
    text = path.as_posix() if isinstance(path, Path) else path
    match = _URL.fullmatch(text)
    if match is None or Path(f"{match[1]}:").exists():
        return ""
    scheme, rest = match[1].lower(), match[2].rstrip("/")
    return f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects below a URL, by their names below it (with forward slashes)."""

    url: str

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rstrip("/").rpartition("/")[2]

    def listing(self) -> dict[str, Stored]:
        """All objects; none where there is nothing. An object at the URL itself has the name "".

        Raises:
            InputError: The bucket does not exist or may not be read, its protocol needs a package,
                or the name of an object leads out of its folder.
            PassingError: It does not answer.
        """
        system, root = self._opened()
        with _asking(self.url):
            system.invalidate_cache()
            found = system.find(root, detail=True) if system.exists(root) else {}
            bucket = root.partition("/")[0]
            if not found and bucket and not system.exists(bucket):
                raise FileNotFoundError(f"there is no {bucket}")
        root = root.rstrip("/")
        listing = {
            path.removeprefix(root).lstrip("/"): Stored(int(facts["size"] or 0), _version(facts))
            for path, facts in found.items()
            if facts.get("type", "file") == "file"
        }
        # For object storage, ".." is a name like any other; as a file's path it would lead
        # elsewhere.
        if leading_out := [name for name in listing if ".." in re.split(r"[/\\]", name)]:
            raise InputError(
                f"{self.url}: the name of an object leads out of its folder ({leading_out[0]}); "
                "rename or remove it."
            )
        return listing

    def get(self, names: Sequence[str], folder: Path) -> None:
        """Copy objects into a folder, each under its name; the one named "" becomes ``name``.

        Raises:
            InputError: As `listing`.
            PassingError: One is gone, or the storage does not answer.
        """
        system, root = self._opened()
        for some in _chunks(names):
            here = [folder / (name or self.name) for name in some]
            for path in here:
                path.parent.mkdir(parents=True, exist_ok=True)
            there = [f"{root.rstrip('/')}/{name}" if name else root for name in some]
            with _asking(self.url):
                system.get(there, [str(path) for path in here])

    def put(self, folder: Path, names: Sequence[str]) -> None:
        """Store files of a folder under their names; all are there when this returns.

        Raises:
            InputError: As `listing`.
            PassingError: The storage does not answer.
        """
        system, root = self._opened()
        for some in _chunks(names):
            here = [str(folder / name) for name in some]
            with _asking(self.url):
                system.put(here, [f"{root.rstrip('/')}/{name}" for name in some])

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects."""
        system, root = self._opened()
        for some in _chunks(list(names)):
            with _asking(self.url):
                system.rm([f"{root.rstrip('/')}/{name}" for name in some])

    def _opened(self) -> tuple[Any, str]:
        """The protocol's file system, and the URL in its notation."""
        scheme = self.url.partition(":")[0]
        try:
            import fsspec
        except ImportError as error:
            extra = _EXTRAS.get(scheme, "storage")
            raise InputError(f"{self.url}: URLs need fsspec: {installs(extra)}.") from error
        try:
            system, root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            known = _EXTRAS.get(scheme)
            how = f": {installs(known)}" if known else f" ({error})"
            raise InputError(f"{self.url}: {scheme}:// needs one more package{how}.") from error
        except ValueError as error:
            raise InputError(f"{self.url}: {error}.") from error
        except Exception as error:  # credentials are looked up here already
            raise _unreachable(self.url, error) from error
        return system, str(root)


def local_copy(
    path: Path | str, *, skip: Callable[[str], bool] = lambda _: False, may_be_file: bool = False
) -> Path:
    """The folder itself, or a copy of what lies below a URL, brought up to date.

    Only new or changed objects are copied, and what is gone there is removed here.

    Args:
        path: A folder, or a URL.
        skip: Says by its name whether an object is not needed.
        may_be_file: Whether a file, or an object at the URL itself, will do.

    Raises:
        InputError: There is nothing, or it may not be read.
        PassingError: The storage does not answer.
    """
    there_or_here = path_from(path, "The input")
    url = url_of(path)
    if not url:
        return there_or_here
    objects = Objects(url)
    folder = cache_folder() / "datasets" / re.sub(r":/+", "/", url)
    index = folder.with_name(folder.name + ".versions")
    busy = f"{url}: another process is copying it to {folder}."
    with held(folder.with_name(f"{folder.name}.lock"), busy, timeout_s=_COPY_S):
        listing = objects.listing()
        # If there are others, an object at the URL itself only marks a folder.
        there = {name: stored for name, stored in listing.items() if name}
        if may_be_file:
            there = there or listing
        if not there:
            raise InputError(f"{url}: nothing is stored there; a folder of objects was expected.")
        if "" in there and folder.is_dir():
            shutil.rmtree(folder)
        here = _read_index(index)
        for name in here.keys() - there.keys():
            (folder / name).unlink(missing_ok=True)
        current = {
            name: version
            for name, version in here.items()
            if name in there and there[name].version == version and (folder / name).is_file()
        }
        write_atomic(index, _index_lines(current))
        for some in _chunks([name for name in there if name not in current and not skip(name)]):
            with TemporaryDirectory(dir=folder.parent, prefix=_PRIVATE) as temporary:
                objects.get(some, Path(temporary))
                for name in some:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(temporary) / (name or objects.name)).replace(folder / name)
            with index.open("a", encoding="utf-8") as file:
                file.write(_index_lines({name: there[name].version for name in some}))
    return folder


@contextmanager
def copied(url: str, version: str) -> Iterator[Path]:
    """Copy an object, or all below a URL, to this machine, and give its path there.

    The copy serves all processes of the machine, and stays for the next ones; old copies make room
    for new ones. What is given is a separate link, which is kept while it is in use.

    Args:
        url: Of an object, or of a folder of objects.
        version: `version_of` what is expected there.

    Raises:
        InputError: As `Objects.listing`.
        PassingError: There is another version by now, or the storage does not answer.
    """
    objects = Objects(url)
    folder = cache_folder() / "sources"
    entry = folder / hashlib.sha256(f"{url} {version}".encode()).hexdigest()[:32]
    with ExitStack() as stack:
        busy = f"{url}: another process is copying it to {entry}."
        with held(entry.with_suffix(".lock"), busy, timeout_s=_COPY_S):
            if not entry.is_dir():
                _copy(objects, version, entry)
            os.utime(entry)  # the last one to make room
            private = TemporaryDirectory(dir=folder, prefix=_PRIVATE)
            link = Path(stack.enter_context(private)) / objects.name
            if (entry / objects.name).is_dir():
                shutil.copytree(entry / objects.name, link, copy_function=os.link)
            else:
                link.hardlink_to(entry / objects.name)
        yield link


def visible(listing: Mapping[str, Stored]) -> dict[str, Stored]:
    """A listing without hidden objects: those with a part of the name that starts with a dot."""
    return {
        name: stored
        for name, stored in listing.items()
        if not any(part.startswith(".") for part in name.split("/"))
    }


def version_of(listing: Mapping[str, Stored]) -> str:
    """One version for everything in a listing."""
    lines = sorted(f"{name} {stored.n_bytes} {stored.version}" for name, stored in listing.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def cache_folder() -> Path:
    """Where copies lie on this machine: ``GOPRO_TOOLS_CACHE``, or the user's folder for caches."""
    named = os.environ.get("GOPRO_TOOLS_CACHE")
    return Path(named).absolute() if named else user_cache()


def _copy(objects: Objects, version: str, entry: Path) -> None:
    """Copy the expected version of a URL, whole or not at all."""
    listing = visible(objects.listing())
    if version_of(listing) != version:
        raise PassingError(
            f"{objects.url}: it changed or disappeared. Leave the source as it is, and run the "
            "same command again: it resumes."
        )
    entry.parent.mkdir(parents=True, exist_ok=True)
    _make_room(entry.parent, sum(stored.n_bytes for stored in listing.values()))
    with written_whole(entry) as partial:
        objects.get(list(listing), partial if "" in listing else partial / objects.name)


def _make_room(folder: Path, n_bytes: int) -> None:
    """Remove the least recently used copies until twice the needed space is free."""
    entries = [path for path in folder.iterdir() if path.is_dir()]
    for path in sorted(entries, key=lambda path: path.stat().st_mtime):
        is_left_behind = time.time() - path.stat().st_mtime > _LEFT_BEHIND_S
        if path.name.startswith(_PRIVATE) and not is_left_behind:
            continue
        if is_left_behind or shutil.disk_usage(folder).free < 2 * n_bytes:
            shutil.rmtree(path, ignore_errors=True)


def _read_index(path: Path) -> dict[str, str]:
    """Versions of what was copied, by name; what cannot be read is copied again."""
    versions: dict[str, str] = {}
    with suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, version = json.loads(line)
            versions[name] = version
    return versions


def _index_lines(versions: Mapping[str, str]) -> str:
    return "".join(json.dumps([name, version]) + "\n" for name, version in versions.items())


def _version(facts: Mapping[str, Any]) -> str:
    found = next((facts[name] for name in _VERSIONS if facts.get(name)), "")
    return f"{facts.get('size')} {found}"


def _chunks(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield list(names[start : start + _AT_ONCE])


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Turn what a storage library raises into a sentence."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"{url}: no such bucket or object ({_first_line(error)}). Check the name, and the "
            "endpoint that the credentials are for."
        ) from error
    except PermissionError as error:
        raise InputError(
            f"{url}: access was refused ({_first_line(error)}). Check the credentials and what "
            "they may do."
        ) from error
    except Exception as error:  # each protocol's library has exceptions of its own
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: Exception) -> PassingError:
    return PassingError(
        f"{url}: the storage does not answer as expected ({type(error).__name__}: "
        f"{_first_line(error)}). Check the network and the credentials, and run the same command "
        "again."
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
