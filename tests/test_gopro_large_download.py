"""Downloading the original: from a server on this machine, with all that goes wrong on the way."""

import errno
import hashlib
import io
import os
import shutil
import sys
import threading
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gopro_tools.errors import InputError
from gopro_tools.gopro_large import DownloadConfig, download, recipe
from gopro_tools.gopro_large.table import KINDS
from gopro_tools.images import encode_png

NOWHERE = "http://127.0.0.1:9"


@dataclass
class Site:
    """What the server has, and how it behaves."""

    data: bytes
    url: str = ""
    etag: str = '"1"'
    sha256: str | None = None
    with_ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which an answer's connection is cut, one an answer."""
    asked_from: list[int] = field(default_factory=list)
    """Where each answer began."""


@pytest.fixture
def site(packed: bytes) -> Iterator[Site]:
    site = Site(packed)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if self.path != "/datasets/snah/GOPRO_Large/resolve/main/GOPRO_Large.zip":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(site.data)))
            self.send_header("ETag", site.etag)
            if site.sha256:
                self.send_header("X-Linked-Etag", f'"{site.sha256}"')
                self.send_header("X-Linked-Size", str(len(site.data)))
            self.end_headers()

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            start = int(asked[6:].split("-")[0]) if asked and site.with_ranges else 0
            site.asked_from.append(start)
            body = site.data[start:]
            self.send_response(206 if start else 200)
            if start:
                end = len(site.data) - 1
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(site.data)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if site.cut_after:
                body = body[: site.cut_after.pop(0)]
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def packed() -> bytes:
    """The whole dataset with its 9,642 files, each image one pixel."""
    pixel = encode_png(np.zeros((1, 1, 3), np.uint8))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("GOPRO_Large/readme.txt", "not an image")
        for sequence in recipe():
            for image in sequence.images():
                for kind in KINDS:
                    path = image.path(Path("GOPRO_Large"), kind)
                    archive.writestr(path.as_posix(), pixel)
    return file.getvalue()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the Hub's tries
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)  # 10 MB else


def test_it_is_downloaded_unpacked_and_complete(site: Site, tmp_path: Path) -> None:
    site.sha256 = hashlib.sha256(site.data).hexdigest()
    seen: set[str] = set()
    config = DownloadConfig(out=tmp_path, endpoint=site.url)
    result = download(config, on_progress=lambda task, done, total: seen.add(task))
    assert (result.n_unpacked, result.n_kept, result.findings) == (9642, 0, [])
    assert seen == {"GOPRO_Large.zip", "unpacking GOPRO_Large.zip"}
    assert [path.name for path in tmp_path.iterdir()] == ["GOPRO_Large"]
    assert {path.name for path in (tmp_path / "GOPRO_Large").iterdir()} == {"train", "test"}
    # All there: nothing is asked of the server again.
    again = download(DownloadConfig(out=tmp_path, endpoint=NOWHERE))
    assert again.n_unpacked == 0
    assert not again.findings


def test_cut_connections_resume_where_they_broke(site: Site, tmp_path: Path) -> None:
    site.cut_after = [100_000, 50_000]
    result = download(DownloadConfig(out=tmp_path, endpoint=site.url, keep_zip=True))
    assert site.asked_from == [0, 100_000, 150_000]
    assert (tmp_path / "GOPRO_Large.zip").read_bytes() == site.data
    assert not result.findings


def test_a_later_call_resumes_and_a_changed_file_starts_again(site: Site, tmp_path: Path) -> None:
    config = DownloadConfig(out=tmp_path, endpoint=site.url, keep_zip=True)
    site.cut_after = [100_000, *[0] * 6]
    with pytest.raises(InputError, match=r"no connection.*same command resumes"):
        download(config)
    site.etag, site.asked_from = '"2"', []
    site.cut_after = [70_000, *[0] * 6]
    with pytest.raises(InputError, match="no connection"):
        download(config)
    assert set(site.asked_from) == {0, 70_000}
    site.asked_from, site.cut_after = [], []
    download(config)
    assert site.asked_from == [70_000]
    assert (tmp_path / "GOPRO_Large.zip").read_bytes() == site.data
    assert not list(tmp_path.glob("*.partial"))


def test_a_server_without_ranges_starts_again(site: Site, tmp_path: Path) -> None:
    site.with_ranges, site.cut_after = False, [100_000]
    assert not download(DownloadConfig(out=tmp_path, endpoint=site.url)).findings
    assert site.asked_from == [0, 0]


def test_what_is_not_the_file_is_removed(site: Site, tmp_path: Path) -> None:
    site.sha256 = "0" * 64
    with pytest.raises(InputError, match=r"SHA-256.*0000"):
        download(DownloadConfig(out=tmp_path, endpoint=site.url))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("endpoint", "complaint"), [(NOWHERE, "no connection"), ("{site}/mirror", "answered 404")]
)
def test_no_way_there_says_what_to_do(
    site: Site, tmp_path: Path, endpoint: str, complaint: str
) -> None:
    config = DownloadConfig(out=tmp_path, endpoint=endpoint.format(site=site.url))
    with pytest.raises(InputError, match=rf"{complaint}.*GOPRO_Large\.zip.*same command"):
        download(config)


def test_without_the_library_or_the_network_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"no connection.*HF_HUB_OFFLINE.*GOPRO_Large\.zip"):
        download(DownloadConfig(out=tmp_path, endpoint=NOWHERE))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install '\.\[download\]' in the checkout.*, or get"):
        download(DownloadConfig(out=tmp_path, endpoint=NOWHERE))


def test_a_full_disk_keeps_what_has_arrived(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DownloadConfig(out=tmp_path, endpoint=site.url, keep_zip=True)
    site.cut_after = [100_000]
    with monkeypatch.context() as patch:

        def full(file: io.FileIO, data: bytes) -> int:
            if file.tell() >= 100_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return io.FileIO.write(file, data)

        patch.setattr("gopro_tools.gopro_large.downloading._Reporting.write", full)
        with pytest.raises(InputError, match=r"No space left on device.*same command resumes"):
            download(config)
    assert not download(config).findings
    assert site.asked_from == [0, 100_000, 100_000]


def test_a_file_got_by_hand_is_taken(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "GOPRO_Large.zip").write_bytes(packed)
    assert not download(DownloadConfig(out=tmp_path, endpoint=NOWHERE)).findings
    assert (tmp_path / "GOPRO_Large.zip").read_bytes() == packed  # it is not ours to remove


def test_unpacking_goes_on_after_damage(packed: bytes, tmp_path: Path) -> None:
    damaged = bytearray(packed)
    at = packed.index(b"GOPR0881_11_01/sharp/000300.png") + 60  # in the data of that image
    damaged[at] ^= 255
    config = DownloadConfig(out=tmp_path, endpoint=NOWHERE)
    (tmp_path / "GOPRO_Large.zip").write_bytes(damaged)
    with pytest.raises(InputError, match=r"GOPRO_Large\.zip: damaged.*what was unpacked stays"):
        download(config)
    (tmp_path / "GOPRO_Large.zip").write_bytes(packed)
    result = download(config)
    assert result.n_kept > 5000
    assert result.n_kept + result.n_unpacked == 9642
    (tmp_path / "GOPRO_Large.zip").write_bytes(packed[:-1000])
    next((tmp_path / "GOPRO_Large").rglob("*.png")).unlink()
    with pytest.raises(InputError, match="damaged or not a ZIP"):
        download(config)


def test_what_the_archive_lacks_is_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "GOPRO_Large.zip", "w") as archive:
        archive.writestr("train/GOPR0372_07_00/sharp/000047.png", b"")
    result = download(DownloadConfig(out=tmp_path))
    assert len(result.findings) == 3214
    assert "both archives" in result.checked


@pytest.mark.parametrize("name", ["../train/x.png", "train/../../x.png", "/train/../x.png"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    out = tmp_path / "a" / "b"
    out.mkdir(parents=True)
    with zipfile.ZipFile(out / "GOPRO_Large.zip", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(InputError, match="leads out"):
        download(DownloadConfig(out=out))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["GOPRO_Large.zip"]


def test_space_is_checked_before_anything_is_asked_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"GB are free.*Make room"):
        download(DownloadConfig(out=tmp_path, endpoint=site.url))
    assert site.asked_from == []


@pytest.mark.parametrize("options", [{"what": ()}, {"what": ("GOPRO_Large", "GOPRO_Large")}])
def test_unusable_settings(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        DownloadConfig(out=tmp_path, **options)  # type: ignore[arg-type]


# --- what an archive may hold ---------------------------------------------------------------------


def _archive(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], **options: int) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", **options) as archive:  # type: ignore[call-overload]
        warnings.simplefilter("ignore")  # of names given twice
        for name, data in members:
            archive.writestr(name, data)
    return path


def _member(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


IMAGE = "train/GOPR0372_07_00/sharp/000047.png"


def _encrypted(path: Path) -> Path:
    _archive(path, (IMAGE, b"data"))
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    return path


def _overlapping(path: Path) -> Path:
    """Many members of the directory that name one and the same data."""
    names = [f"train/GOPR0372_07_00/sharp/{number:06d}.png" for number in range(100, 200)]
    _archive(path, *((name, os.urandom(3000) if i == 0 else b"") for i, name in enumerate(names)))
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\1\2")
    sizes, place = data[first + 16 : first + 28], data[first + 42 : first + 46]
    at = first
    for _ in names:
        data[at + 16 : at + 28], data[at + 42 : at + 46] = sizes, place
        at = data.find(b"PK\1\2", at + 1)
    path.write_bytes(data)
    return path


STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "encrypted": (_encrypted, "encrypted"),
    "overlong": (lambda p: _archive(p, (f"train/{'n' * 300}/sharp/1.png", b"")), "longer than"),
    "overlong in bytes": (lambda p: _archive(p, (f"train/{'名' * 100}/a.png", b"")), "longer than"),
    "twice": (lambda p: _archive(p, (IMAGE, b"a"), (IMAGE, b"b")), "are one file"),
    "twice but for case": (lambda p: _archive(p, (IMAGE, b"a"), (IMAGE[:-3] + "PNG", b"b")), "one"),
    "under two roots": (lambda p: _archive(p, (IMAGE, b"a"), ("x/" + IMAGE, b"b")), "are one file"),
    "link": (lambda p: _archive(p, (_member(IMAGE, 0o120777), b"/etc/passwd")), "is a link"),
    "fifo": (lambda p: _archive(p, (_member(IMAGE, 0o010666), b"")), "is a link or a device"),
    "bomb": (
        lambda p: _archive(p, (IMAGE, bytes(64 << 20)), compression=zipfile.ZIP_DEFLATED),
        "grows from",
    ),
    "overlapping": (_overlapping, "overlap"),
    "drive": (lambda p: _archive(p, (f"C:/{IMAGE}", b"")), "leads out"),
    "backslashes": (lambda p: _archive(p, ("train\\..\\..\\x.png", b"")), "leads out"),
}


@pytest.mark.parametrize("how", STRANGE)
def test_strange_members_are_named_and_nothing_is_unpacked(tmp_path: Path, how: str) -> None:
    make, said = STRANGE[how]
    make(tmp_path / "GOPRO_Large.zip")
    tracemalloc.start()
    with pytest.raises(InputError, match=said):
        download(DownloadConfig(out=tmp_path, endpoint=NOWHERE))
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["GOPRO_Large.zip"]


def test_notes_of_macos_are_passed_over(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "GOPRO_Large.zip"
    path.write_bytes(packed)
    with zipfile.ZipFile(path, "a") as archive:
        for name in (f"__MACOSX/{IMAGE}", "train/.DS_Store", IMAGE.replace("000047", "._000047")):
            archive.writestr(name, b"notes")
    assert download(DownloadConfig(out=tmp_path)).n_unpacked == 9642


def test_a_large_member_is_streamed(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 64
    _archive(tmp_path / "GOPRO_Large.zip", (IMAGE, data))
    tracemalloc.start()
    download(DownloadConfig(out=tmp_path))
    assert tracemalloc.get_traced_memory()[1] < 24 << 20
    tracemalloc.stop()
    assert (tmp_path / "GOPRO_Large" / IMAGE).read_bytes() == data


def test_what_is_there_is_compared_and_what_is_said_is_true(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "GOPRO_Large.zip").write_bytes(packed)
    download(DownloadConfig(out=tmp_path))
    altered = tmp_path / "GOPRO_Large" / IMAGE
    data = altered.read_bytes()
    altered.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    # All names are there: nothing was opened, and nothing else is claimed.
    assert "not checked" in download(DownloadConfig(out=tmp_path)).checked
    (tmp_path / "GOPRO_Large" / IMAGE.replace("000047", "000054")).unlink()
    result = download(DownloadConfig(out=tmp_path))
    assert (result.n_unpacked, result.n_kept) == (2, 9640)
    assert altered.read_bytes() == data
    assert "9,642 file(s) have the archive's checksum" in result.checked


def test_links_in_the_output_are_refused(packed: bytes, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    (out / "GOPRO_Large").mkdir(parents=True)
    outside.mkdir()
    (out / "GOPRO_Large" / "train").symlink_to(outside)
    (out / "GOPRO_Large.zip").write_bytes(packed)
    with pytest.raises(InputError, match="a link"):
        download(DownloadConfig(out=out))
    assert list(outside.iterdir()) == []
