"""Get GOPRO_Large from its author's mirror: resumable, space checked first, checked afterwards.

The standard library's HTTP is enough for one large file with ranges, and keeps the install small.
"""

import json
import logging
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gopro_tools.errors import InputError
from gopro_tools.files import claimed, sha256_of_file, sync_file_system, write_atomic
from gopro_tools.findings import Finding
from gopro_tools.gopro_large.checking import CheckConfig, check
from gopro_tools.gopro_large.table import KINDS, recipe
from gopro_tools.gopro_large.unpacking import need_space, unpack

log = logging.getLogger(__name__)

MIRROR = "https://huggingface.co/datasets/snah/GOPRO_Large/resolve/main"
LICENCE = (
    "GOPRO_Large is licensed CC BY 4.0. Cite: Nah, Kim, Lee: Deep Multi-Scale Convolutional Neural "
    "Network for Dynamic Scene Deblurring, CVPR 2017."
)

Archive = Literal["GOPRO_Large", "GOPRO_Large_all"]
OnProgress = Callable[[str, int, int], None]

_CHUNK = 1 << 20
_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """Get the original dataset, and check it."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder that GOPRO_Large goes into. A ZIP that lies there already is unpacked, and kept."""
    what: tuple[Archive, ...] = ("GOPRO_Large",)
    """GOPRO_Large (the pairs) and GOPRO_Large_all (the 240 fps frames they were made from)."""
    url: str = MIRROR
    """Where the ZIP files are."""
    keep_zip: bool = False
    """Keep the ZIP that was downloaded after it is unpacked."""
    n_tries: int = 8
    """How often to try again in a row without getting a byte."""
    findings: Path | None = None
    """CSV file for what the check finds; stdout by default."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if not self.what or len(set(self.what)) < len(self.what):
            raise InputError("--what: GOPRO_Large, GOPRO_Large_all or both, each once.")
        if self.n_tries < 1:
            raise InputError(f"--n-tries {self.n_tries}: at least 1 was expected.")


@dataclass(slots=True)
class DownloadResult:
    """What was got."""

    n_unpacked: int = 0
    """Files written now."""
    n_kept: int = 0
    """Files that were there already, with the archive's checksum."""
    checked: str = ""
    """What the check could say."""
    findings: list[Finding] = field(default_factory=list)
    """What is missing or wrong."""


@dataclass(frozen=True, kw_only=True)
class _Remote:
    """What the server says of a file."""

    size: int | None
    etag: str | None
    sha256: str | None


def download(
    config: DownloadConfig, progress: OnProgress = lambda task, done, total: None
) -> DownloadResult:
    """Download, unpack and check; interrupted, the same call goes on where it stopped.

    Args:
        config: What, and where to.
        progress: Called with a task, and bytes or files done and all.

    Raises:
        InputError: No connection, too little space, or a file that is not what it should be.
    """
    with claimed(config.out):
        return _download(config, progress)


def _download(config: DownloadConfig, progress: OnProgress) -> DownloadResult:
    result = DownloadResult()
    for archive in config.what:
        folder = config.out / archive
        if not _incomplete(archive, folder):
            log.info("%s: complete already.", folder)
            continue
        packed = config.out / f"{archive}.zip"
        is_yours = packed.is_file()
        if not is_yours:
            _fetch(f"{config.url.rstrip('/')}/{archive}.zip", packed, config.n_tries, progress)
        task = f"unpacking {packed.name}"
        unpacked = unpack(packed, folder, lambda done, total: progress(task, done, total))  # noqa: B023
        sync_file_system(folder)
        result.n_unpacked += unpacked.n_written
        result.n_kept += unpacked.n_kept
        if is_yours:
            log.info("%s was there before and is kept.", packed)
        elif not config.keep_zip:
            packed.unlink()
    _check(config, result, progress)
    return result


# --- fetching ---


def _fetch(url: str, path: Path, n_tries: int, progress: OnProgress) -> None:
    """Download to ``path``, going on from a partial file."""
    partial = path.with_name(path.name + ".partial")
    notes = path.with_name(path.name + ".partial.json")
    remote = _with_patience(lambda: _ask(url), n_tries, url, path)
    before = _notes_of(notes)
    if partial.is_file() and before != asdict(remote):
        log.warning("%s changed on the server since it was begun; it starts again.", path.name)
        partial.unlink()
    write_atomic(notes, json.dumps(asdict(remote)))
    have = partial.stat().st_size if partial.is_file() else 0
    if remote.size is not None:
        # The images are compressed already: unpacked, they are about as large as the ZIP.
        need_space(path.parent, remote.size - have + remote.size, f"{path.name} and its images")
    n_failures = 0
    while remote.size is None or have < remote.size:
        try:
            _receive(url, partial, remote, lambda done: progress(path.name, done, remote.size or 0))
            if remote.size is None:
                break
        except (OSError, HTTPException) as error:
            _refuse_final(error, url, path)
            now = partial.stat().st_size if partial.is_file() else 0
            n_failures = n_failures + 1 if now <= have else 0
            if n_failures >= n_tries:
                raise _no_connection(url, path, error) from error
            _wait(n_failures, error)
        have = partial.stat().st_size if partial.is_file() else 0
    _verify(partial, notes, remote, url)
    partial.replace(path)
    notes.unlink()


def _notes_of(path: Path) -> Any:
    """What the server said of the file when it was begun; None if nobody knows."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _ask(url: str) -> _Remote:
    """Size and hash. Large files lie elsewhere: only the first answer says their SHA-256."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with _NO_REDIRECT.open(request, timeout=_TIMEOUT_S) as answer:
            headers: Message = answer.headers
    except urllib.error.HTTPError as error:
        if error.code not in (301, 302, 303, 307, 308):
            raise
        headers = error.headers
    linked_size, linked_etag = headers.get("X-Linked-Size"), headers.get("X-Linked-Etag", "")
    etag = headers.get("ETag")
    if linked_size is None and headers.get("Location"):
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            headers = answer.headers
            etag = headers.get("ETag")
    size = linked_size or headers.get("Content-Length")
    digest = linked_etag.strip('W/"').lower()
    is_sha256 = len(digest) == 64 and all(c in "0123456789abcdef" for c in digest)
    return _Remote(
        size=int(size) if size and size.isdecimal() else None,
        etag=etag,
        sha256=digest if is_sha256 else None,
    )


def _receive(url: str, partial: Path, remote: _Remote, on_bytes: Callable[[int], None]) -> None:
    """Append what is missing, or write all of it where the server gives no ranges."""
    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        goes_on = have > 0 and answer.status == 206
        if goes_on and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
            raise InputError(f"{url}: the server sent another range than was asked for; try again.")
        done = have if goes_on else 0
        with partial.open("ab" if goes_on else "wb") as file:
            while block := answer.read(_CHUNK):
                file.write(block)
                done += len(block)
                on_bytes(done)
    if remote.size is not None and done < remote.size:
        raise ConnectionError(f"the connection ended after {done:,} of {remote.size:,} bytes")


def _verify(partial: Path, notes: Path, remote: _Remote, url: str) -> None:
    size = partial.stat().st_size
    wrong = None
    if remote.size is not None and size != remote.size:
        wrong = f"{size:,} bytes, {remote.size:,} were expected"
    elif remote.sha256 is not None and (found := sha256_of_file(partial)) != remote.sha256:
        wrong = f"its SHA-256 is {found}, {remote.sha256} was expected"
    if wrong:
        partial.unlink()
        notes.unlink(missing_ok=True)
        raise InputError(
            f"{url}: what arrived is not the file ({wrong}); it was removed. Start the same "
            "command again."
        )


def _with_patience(ask: Callable[[], _Remote], n_tries: int, url: str, path: Path) -> _Remote:
    for attempt in range(1, n_tries + 1):
        try:
            return ask()
        except (OSError, HTTPException) as error:
            _refuse_final(error, url, path)
            if attempt == n_tries:
                raise _no_connection(url, path, error) from error
            _wait(attempt, error)
    raise AssertionError


def _refuse_final(error: Exception, url: str, path: Path) -> None:
    """Raise at once what no patience mends."""
    if isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500:
        if error.code in (408, 416, 425, 429):
            return
        raise InputError(f"{url}: the server says {error.code} {error.reason}. {_by_hand(path)}")
    of_network = urllib.error.URLError | ConnectionError | TimeoutError | ssl.SSLError
    if isinstance(error, OSError) and not isinstance(error, of_network):
        raise InputError(f"{path.parent}: cannot be written ({error}).") from error


def _no_connection(url: str, path: Path, error: Exception) -> InputError:
    reason = getattr(error, "reason", None) or error
    return InputError(
        f"{url}: no connection ({reason}). What has arrived is kept. {_by_hand(path)}"
    )


def _by_hand(path: Path) -> str:
    return (
        f"Try again later (the same command goes on), or get the file in another way, put it to "
        f"{path} and start the same command again."
    )


def _wait(n_failures: int, error: Exception) -> None:
    seconds = min(60.0, _FIRST_WAIT_S * 2**n_failures)
    log.warning("Connection lost (%s); trying again in %.0f s.", error, seconds)
    time.sleep(seconds)


_FIRST_WAIT_S = 1.0


class _KeepRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Do not follow: the answer itself is wanted."""


_NO_REDIRECT = urllib.request.build_opener(_KeepRedirect)


# --- checking ---


def _incomplete(archive: Archive, folder: Path) -> list[Finding]:
    """Images that the recipe names and the folder lacks."""
    findings = []
    for sequence in recipe():
        place = sequence.split, sequence.sequence
        for image in sequence.images():
            if archive == "GOPRO_Large":
                paths = [image.path(folder, kind) for kind in KINDS]
            else:
                middle = f"{image.middle_frame:06d}.png"
                paths = [folder.joinpath(*place, middle)]
            absent = [path.relative_to(folder).as_posix() for path in paths if not path.is_file()]
            if absent:
                message = f"{', '.join(absent)}: missing"
                findings.append(Finding("error", "missing", message, *image.key))
    return findings


def _check(config: DownloadConfig, result: DownloadResult, progress: OnProgress) -> None:
    folders: Mapping[str, Path] = {
        name: config.out / name for name in ("GOPRO_Large", "GOPRO_Large_all")
    }
    if all(folder.is_dir() for folder in folders.values()):
        checked = check(
            CheckConfig(dataset=folders["GOPRO_Large"], frames=folders["GOPRO_Large_all"]),
            lambda done, total: progress("checking", done, total),
        )
        result.findings += checked.findings
        result.checked = "every image was compared with what its frames give"
        return
    for archive in config.what:
        result.findings += _incomplete(archive, folders[archive])
    n_checked = result.n_unpacked + result.n_kept
    what = (
        f"{n_checked:,} file(s) have the archive's checksum; of the images that the recipe names, "
        "each was looked for"
        if n_checked
        else "all images that the recipe names are there; what is in them was not checked"
    )
    result.checked = (
        f"{what}. Comparing them with their frames needs both archives (--what GOPRO_Large "
        "GOPRO_Large_all)"
    )
