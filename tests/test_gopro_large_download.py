"""Downloading the original: from a server on this machine, with all that goes wrong on the way."""

import hashlib
import io
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gopro_tools.errors import InputError
from gopro_tools.gopro_large import DownloadConfig, download, recipe
from gopro_tools.gopro_large.table import KINDS
from gopro_tools.images import encode_png


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
            if "missing" in self.path:
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
    monkeypatch.setattr("gopro_tools.gopro_large.downloading._FIRST_WAIT_S", 0.0)


def test_it_is_downloaded_unpacked_and_complete(site: Site, tmp_path: Path) -> None:
    site.sha256 = hashlib.sha256(site.data).hexdigest()
    seen: set[str] = set()
    config = DownloadConfig(out=tmp_path, url=site.url)
    result = download(config, lambda task, done, total: seen.add(task))
    assert (result.n_unpacked, result.n_kept, result.findings) == (9642, 0, [])
    assert seen == {"GOPRO_Large.zip", "unpacking GOPRO_Large.zip"}
    assert [path.name for path in tmp_path.iterdir()] == ["GOPRO_Large"]
    assert {path.name for path in (tmp_path / "GOPRO_Large").iterdir()} == {"train", "test"}
    # All there: nothing is asked of the server again.
    again = download(DownloadConfig(out=tmp_path, url="http://127.0.0.1:9"))
    assert again.n_unpacked == 0
    assert not again.findings


def test_cut_connections_go_on_where_they_broke(site: Site, tmp_path: Path) -> None:
    site.cut_after = [100_000, 50_000]
    result = download(DownloadConfig(out=tmp_path, url=site.url, keep_zip=True))
    assert site.asked_from == [0, 100_000, 150_000]
    assert (tmp_path / "GOPRO_Large.zip").read_bytes() == site.data
    assert not result.findings


def test_a_later_call_goes_on_and_a_changed_file_starts_again(site: Site, tmp_path: Path) -> None:
    config = DownloadConfig(out=tmp_path, url=site.url, n_tries=1, keep_zip=True)
    site.cut_after = [100_000, 0]
    with pytest.raises(InputError, match=r"no connection.*same command goes on"):
        download(config)
    site.etag, site.asked_from = '"2"', []
    site.cut_after = [70_000, 0]
    with pytest.raises(InputError, match="no connection"):
        download(config)
    assert site.asked_from == [0, 70_000]
    download(config)
    assert site.asked_from[-1] == 70_000
    assert (tmp_path / "GOPRO_Large.zip").read_bytes() == site.data


def test_a_server_without_ranges_starts_again(site: Site, tmp_path: Path) -> None:
    site.with_ranges, site.cut_after = False, [100_000]
    assert not download(DownloadConfig(out=tmp_path, url=site.url)).findings
    assert site.asked_from == [0, 0]


def test_what_is_not_the_file_is_removed(site: Site, tmp_path: Path) -> None:
    site.sha256 = "0" * 64
    with pytest.raises(InputError, match=r"SHA-256.*0000"):
        download(DownloadConfig(out=tmp_path, url=site.url))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "complaint"),
    [("http://127.0.0.1:9", "no connection"), ("{site}/missing", "404")],
)
def test_no_way_there_says_what_to_do(site: Site, tmp_path: Path, url: str, complaint: str) -> None:
    config = DownloadConfig(out=tmp_path, url=url.format(site=site.url), n_tries=2)
    with pytest.raises(InputError, match=rf"{complaint}.*GOPRO_Large\.zip.*same command"):
        download(config)


def test_a_file_got_by_hand_is_taken(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "GOPRO_Large.zip").write_bytes(packed)
    assert not download(DownloadConfig(out=tmp_path, url="http://127.0.0.1:9")).findings
    assert not (tmp_path / "GOPRO_Large.zip").exists()


def test_unpacking_goes_on_after_damage(packed: bytes, tmp_path: Path) -> None:
    damaged = bytearray(packed)
    at = packed.index(b"GOPR0881_11_01/sharp/000300.png") + 60  # in the data of that image
    damaged[at] ^= 255
    config = DownloadConfig(out=tmp_path, url="http://127.0.0.1:9")
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
        download(DownloadConfig(out=tmp_path, url=site.url))
    assert site.asked_from == []


@pytest.mark.parametrize("options", [{"what": ()}, {"n_tries": 0}])
def test_unusable_settings(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        DownloadConfig(out=tmp_path, **options)  # type: ignore[arg-type]
