"""Download GOPRO_Large from its author's page on the Hugging Face Hub, unpack it and check it.

`huggingface_hub` (the extra ``download``) does the transfer. The partial file is ours: the Hub's
own `hf_hub_download` starts over after an interruption, which costs hours with such archives.
"""

import hashlib
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError, installs
from gopro_tools.files import claimed, sha256_of_file, sync_file_system
from gopro_tools.findings import Finding
from gopro_tools.gopro_large.checking import check
from gopro_tools.gopro_large.config import KINDS, Archive, CheckConfig, DownloadConfig
from gopro_tools.gopro_large.table import recipe
from gopro_tools.gopro_large.unpacking import need_space, unpack

log = logging.getLogger(__name__)

REPOSITORY = "snah/GOPRO_Large"
"""The author's dataset on the Hub."""
LICENCE = (
    "GOPRO_Large is licensed CC BY 4.0. Cite: Nah, Kim, Lee: Deep Multi-Scale Convolutional Neural "
    "Network for Dynamic Scene Deblurring, CVPR 2017."
)

OnProgress = Callable[[str, int, int], None]


@dataclass(slots=True)
class DownloadResult:
    """What was downloaded, and what the check found."""

    n_unpacked: int = 0
    """Files written now."""
    n_kept: int = 0
    """Files that were there already, with the archive's checksum."""
    checked: str = ""
    """What was checked, in words."""
    findings: list[Finding] = field(default_factory=list)
    """What is missing or wrong."""


def download(
    config: DownloadConfig, *, on_progress: OnProgress = lambda task, done, total: None
) -> DownloadResult:
    """Download, unpack and check; after an interruption the same call resumes.

    Args:
        config: What, and where to.
        on_progress: Called with the name of a task, and the bytes or files done and in total.

    Raises:
        InputError: `huggingface_hub` is missing, no connection, too little space, or a file that is
            not what it should be.
    """
    with claimed(config.out):
        return _download(config, on_progress)


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
            _fetch(packed, config.endpoint, progress)
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


class _Reporting(io.FileIO):
    """A file that reports its size as it grows."""

    on_bytes: Callable[[int], None]

    def write(self, data: Any) -> int:
        n_written = super().write(data)
        self.on_bytes(self.tell())
        return n_written


def _fetch(path: Path, endpoint: str | None, progress: OnProgress) -> None:
    """Download a file of the dataset to ``path``, continuing a partial one."""
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, HTTPError
    except ImportError as error:
        raise InputError(
            f"{path.name}: downloading needs huggingface_hub; {installs('download')}, "
            f"or {_by_hand(path)}"
        ) from error
    url = hf_hub_url(REPOSITORY, path.name, repo_type="dataset", endpoint=endpoint)
    try:
        remote = get_hf_file_metadata(url, token=False)
        # A partial file of another version is of no use.
        version = hashlib.sha256(str(remote.etag).encode()).hexdigest()[:8]
        begun = path.with_name(f"{path.name}.{version}.partial")
        for other in {*path.parent.glob(f"{path.name}.*.partial")} - {begun}:
            log.warning("%s changed on the server; the download starts again.", path.name)
            other.unlink()
        _receive(remote, begun, path.name, progress)
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise InputError(
            f"{url}: the server answered {status}. Try again later, or {_by_hand(path)}"
        ) from error
    except (HTTPError, OSError) as error:
        if reason := getattr(error, "errno", None) and error.strerror:
            raise InputError(
                f"{path.parent}: cannot be written ({reason}). Make room or fix that; the same "
                "command resumes."
            ) from error
        raise InputError(
            f"{url}: no connection ({error}). What has arrived is kept, and the same command "
            f"resumes; or {_by_hand(path)}"
        ) from error
    if remote.etag and len(remote.etag) == 64 and (found := sha256_of_file(begun)) != remote.etag:
        begun.unlink()
        raise InputError(
            f"{url}: what arrived is not the file (its SHA-256 is {found}, {remote.etag} was "
            "expected); it was removed. Start the same command again."
        )
    begun.replace(path)


def _receive(remote: Any, begun: Path, name: str, progress: OnProgress) -> None:
    """Append to ``begun`` what it lacks of a file on the Hub."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import tqdm

    have = begun.stat().st_size if begun.is_file() else 0
    if remote.size is not None:
        # The images are compressed already: unpacked, they are about as large as the ZIP.
        need_space(begun.parent, remote.size - have + remote.size, f"{name} and its images")
    with _Reporting(begun, "ab") as file:
        file.on_bytes = lambda done: progress(name, done, remote.size or 0)
        http_get(
            remote.location,
            file,
            resume_size=have,
            expected_size=remote.size,
            tqdm_class=partial(tqdm, disable=True),
        )


def _by_hand(path: Path) -> str:
    return f"get the file in another way, save it as {path} and start the same command again."


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
            on_progress=lambda done, total: progress("checking", done, total),
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
