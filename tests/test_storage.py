"""Object storage: the same datasets there and back, and a sentence for whatever goes wrong."""

import hashlib
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from commands import assert_ended, run_command_line, start_command_line, wait_until
from media import moving, written
from tiny_dataset import write_dataset

import gopro_tools.synthesize.remote as remote
from gopro_tools import Pairs
from gopro_tools.deblur import deblur
from gopro_tools.detect import DetectConfig, detect
from gopro_tools.errors import InputError, PassingError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.export import ExportConfig, export, verify_export
from gopro_tools.images import Rgb, encode_png
from gopro_tools.report import report
from gopro_tools.restoring import RestoreConfig, restore
from gopro_tools.storage import Objects, copied, local_copy, url_of, version_of
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize.copies import discover_anywhere
from gopro_tools.synthesize.segment import SegmentRecord
from gopro_tools.verify import verify

fsspec = pytest.importorskip("fsspec", reason="the extra `storage` is not installed")
# s3fs leaves sockets to the garbage collector, and botocore calls what Python is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore")

MAKE = SynthesisConfig(frames="7", fps=240.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOPRO_TOOLS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def memory() -> Iterator[str]:
    """A place in a storage that only this process sees."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield "memory://place"
    system.store.clear()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 on loopback."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket."""
    s3fs = pytest.importorskip("s3fs")
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "someone"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket{time.monotonic_ns()}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of several segments in all, a proxy of one, and a folder of frames."""
    folder = tmp_path_factory.mktemp("videos")
    written(folder / "GX010001.MP4", 700, gop_size=20)
    written(folder / "low.mp4", 44).rename(folder / "GX010001.LRV")
    written(folder / "day two/b.mp4", 60)
    (folder / "frames").mkdir()
    for number, frame in enumerate(moving(24)):
        (folder / f"frames/{number:04d}.png").write_bytes(encode_png(frame))
    return folder


@pytest.fixture(scope="module")
def truth(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("truth") / "out"
    synthesize(videos, MAKE, out=out, jobs=1)
    return digests({path.relative_to(out).as_posix(): path for path in files(out)})


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def digests(paths: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}


def stored(url: str, tmp_path: Path) -> dict[str, str]:
    objects = Objects(url)
    names = list(objects.listing())
    folder = tmp_path / "stored" / str(time.monotonic_ns())
    objects.get(names, folder)
    return digests({name: folder / name for name in names})


def upload(folder: Path, url: str) -> None:
    Objects(url).put(folder, [path.relative_to(folder).as_posix() for path in files(folder)])


def make(videos: Path | str, url: str, **options: Any) -> Any:
    with ThreadPoolExecutor(2) as pool:
        return synthesize(videos, MAKE, out=url, executor=pool, **options)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        (Path("s3://bucket/a/b"), "s3://bucket/a/b"),
        (Path("gs://bucket"), "gs://bucket"),
        (Path("file:///tmp/x"), "file:///tmp/x"),
        (Path("memory://a"), "memory://a"),
        (Path("/tmp/s3:/x"), ""),
        (Path("videos"), ""),
        ("C:/videos", ""),
    ],
)
def test_urls_are_known_as_text_and_as_paths(given: Path | str, url: str) -> None:
    assert url_of(given) == url


def test_a_folder_that_looks_like_a_url_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    assert url_of(Path("s3://bucket")) == ""


# --- writing -------------------------------------------------------------------------------------


def test_a_dataset_is_the_same_in_every_byte(
    videos: Path, truth: dict[str, str], memory: str, tmp_path: Path, cache: Path
) -> None:
    upload(videos, f"{memory}/videos")
    summary = make(f"{memory}/videos", f"{memory}/out")
    assert summary.n_pairs == len(summary.to_dataframe()) > 100
    assert stored(f"{memory}/out", tmp_path) == truth
    assert make(f"{memory}/videos", f"{memory}/out").already_complete
    local = tmp_path / "local"
    with ThreadPoolExecutor(2) as pool:
        synthesize(f"{memory}/videos", MAKE, out=local, executor=pool)
    assert digests({p.relative_to(local).as_posix(): p for p in files(local)}) == truth
    assert not list(cache.rglob("private-*"))


def test_an_interrupted_put_is_made_again(
    videos: Path,
    truth: dict[str, str],
    memory: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed between the images of a segment and its record."""
    put = Objects.put
    n_records = 0

    def interrupted(self: Objects, folder: Path, names: list[str]) -> None:
        nonlocal n_records
        if names and names[0].startswith(".synthesis/train"):
            n_records += 1
            if n_records == 2:
                raise PassingError("pulled the plug")
        put(self, folder, names)

    monkeypatch.setattr(Objects, "put", interrupted)
    with pytest.raises(PassingError, match="pulled the plug"), ThreadPoolExecutor(1) as pool:
        synthesize(videos, MAKE, out=f"{memory}/out", executor=pool)
    monkeypatch.setattr(Objects, "put", put)
    there = Objects(f"{memory}/out").listing()
    assert "dataset.json" not in there
    made: list[str] = []
    original = remote.make_and_put

    def counted(target: Objects, task: Any) -> SegmentRecord:
        made.append(task.name)
        return original(target, task)

    monkeypatch.setattr(remote, "make_and_put", counted)
    make(videos, f"{memory}/out")
    n_there = sum(name.startswith(".synthesis/train") for name in there)
    assert n_there >= 1
    assert f"{made[0]}.json" not in str(there)
    assert stored(f"{memory}/out", tmp_path) == truth


def test_an_image_that_was_lost_is_put_again(
    videos: Path, truth: dict[str, str], memory: str, tmp_path: Path
) -> None:
    make(videos, f"{memory}/out")
    objects = Objects(f"{memory}/out")
    image = next(name for name in truth if name.endswith("sharp/000003.png"))
    objects.remove([image])
    with pytest.raises(InputError, match=r"was changed \(.*000003.png is missing"):
        make(videos, f"{memory}/out")


def test_what_is_of_others_is_refused(videos: Path, memory: str, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    Objects(f"{memory}/mine").put(tmp_path, ["note.txt"])
    with pytest.raises(InputError, match=r"did not make, such as note\.txt"):
        make(videos, f"{memory}/mine")
    make(videos, f"{memory}/out")
    with (
        pytest.raises(InputError, match=r"made with other settings .*frames"),
        ThreadPoolExecutor(1) as pool,
    ):
        synthesize(videos, SynthesisConfig(frames="9"), out=f"{memory}/out", executor=pool)
    with pytest.raises(InputError, match="no locks"):
        make(videos, f"{memory}/other", shard=(1, 2))
    with pytest.raises(InputError, match="either all URLs or all files"):
        make([videos, f"{memory}/out"], f"{memory}/other")


def test_a_source_that_changes_is_noticed(videos: Path, memory: str) -> None:
    upload(videos / "day two", memory)
    objects = Objects(f"{memory}/b.mp4")
    version = version_of(objects.listing())
    with copied(objects.url, version) as path:
        assert path.read_bytes() == (videos / "day two/b.mp4").read_bytes()
    (videos / "day two/b.mp4").stat()
    fsspec.filesystem("memory").pipe("/place/b.mp4", b"another")
    with copied(objects.url, version) as path:  # the copy is still of the version asked for
        assert path.stat().st_size > 7
    with (
        pytest.raises(PassingError, match="it changed or disappeared"),
        copied(objects.url, version[::-1]),
    ):
        pass


def test_an_output_among_the_sources_is_no_source(
    videos: Path, truth: dict[str, str], memory: str, tmp_path: Path
) -> None:
    upload(videos, memory)
    Objects(f"{memory}/out").put(videos / "frames", ["0001.png", "0002.png"])
    names = {source.name for source in discover_anywhere([Path(memory)], Path(f"{memory}/out"))}
    assert names == {"GX010001.MP4", "day two/b.mp4", "frames"}


# --- reading -------------------------------------------------------------------------------------


def test_a_dataset_is_read_as_on_disk(memory: str, tmp_path: Path, cache: Path) -> None:
    root = write_dataset(tmp_path / "data", size_hw=(64, 80), test=(3, 2))
    upload(root, f"{memory}/data")
    there, here = Pairs(f"{memory}/data", "test"), Pairs(root, "test")
    assert there.names == here.names
    for one, two in zip(there, here, strict=True):
        assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert not list(cache.rglob("train/*/*/*.png"))  # what was not asked for was not copied
    assert verify(f"{memory}/data") == verify(root)
    scores = [
        evaluate(
            Sources(dataset=place, blur_kind="gamma"),
            EvaluateConfig(protocol=("nah2017",), n_resamples=10),
        )
        for place in (Path(f"{memory}/data"), root)
    ]
    assert (scores[0].scores == scores[1].scores).all()
    assert scores[0].sources.labels == scores[1].sources.labels


def test_only_what_changed_is_copied_again(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_dataset(tmp_path / "data", test=(3,), train=())
    upload(root, memory)
    folder = local_copy(memory)
    asked: list[str] = []
    get = Objects.get

    def counted(self: Objects, names: list[str], into: Path) -> None:
        asked.extend(names)
        get(self, names, into)

    monkeypatch.setattr(Objects, "get", counted)
    assert local_copy(memory) == folder
    assert asked == []
    one, two = sorted(p.relative_to(root).as_posix() for p in root.rglob("sharp/*.png"))[:2]
    (root / one).write_bytes((root / two).read_bytes())
    time.sleep(0.01)
    Objects(memory).put(root, [one])
    Objects(memory).remove([two])
    local_copy(memory)
    assert asked == [one]
    assert (folder / one).read_bytes() == (root / one).read_bytes()
    assert not (folder / two).exists()


# --- S3 ------------------------------------------------------------------------------------------


def test_s3_through_commands_and_a_killed_coordinator(
    videos: Path, truth: dict[str, str], s3: str, tmp_path: Path
) -> None:
    upload(videos, f"{s3}/videos")
    arguments = (f"{s3}/videos", "-o", f"{s3}/out", "--frames", "7", "--fps", "240", "--jobs", "2")
    process = start_command_line("gopro_tools.synthesize", *arguments)
    objects = Objects(f"{s3}/out")
    wait_until(
        lambda: any(name.startswith(".synthesis/train") for name in objects.listing()), process
    )
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert_ended(children, timeout_s=60)
    assert process.returncode == -signal.SIGKILL
    assert "dataset.json" not in objects.listing()
    ended = run_command_line("gopro_tools.synthesize", *arguments, timeout_s=300)
    assert ended.returncode == 0, ended.stderr
    assert stored(f"{s3}/out", tmp_path) == truth
    checked = run_command_line("gopro_tools.verify", f"{s3}/out", timeout_s=300)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(Pairs(f"{s3}/out")) == sum("/sharp/" in name for name in truth)


def test_detect_reads_s3(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    root = write_dataset(tmp_path / "data", size_hw=(64, 80), test=(3, 2))
    upload(root, f"{s3}/data")
    config = DetectConfig(detector="stub_detector:make", n_resamples=10, overlays=0)
    there, here = (
        detect(Sources(dataset=place, blur_kind="gamma"), config).summary
        for place in (Path(f"{s3}/data"), root)
    )
    assert there.equals(here)


# --- what goes wrong -----------------------------------------------------------------------------


def test_nothing_there_is_said(memory: str, s3: str) -> None:
    for url in (f"{memory}/nothing", f"{s3}/nothing"):
        with pytest.raises(InputError, match="nothing is stored there"):
            verify(url)
    with pytest.raises(InputError, match="no such bucket"):
        verify(f"{s3}-of-another/data")


def test_wrong_credentials_are_said(
    s3: str, endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import s3fs

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(s3fs.S3FileSystem, "find", refused)
    with pytest.raises(InputError, match=r"access was refused \(Access Denied\)"):
        Objects(s3).listing()


def test_a_storage_that_does_not_answer_is_said(
    monkeypatch: pytest.MonkeyPatch, s3: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    ended = run_command_line(
        "gopro_tools.verify", f"{s3}/data", timeout_s=100, AWS_MAX_ATTEMPTS="1"
    )
    assert ended.returncode == 2
    assert "the storage does not answer as expected" in ended.stderr.replace("\n", " ")


def test_a_protocol_without_its_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="ftps-of-mine"):
        Objects("ftps-of-mine://host/x").listing()
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(InputError, match=r"gs:// needs one more package: .*\[gs\]"):
        Objects("gs://bucket/x").listing()


def test_other_commands_write_to_no_url(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", test=(2,))
    sources = Sources(dataset=root, blur_kind="gamma")
    with pytest.raises(InputError, match="only to folders on this machine"):
        evaluate(sources, out=Path("s3://bucket/scores"))
    for write in (
        lambda out: report([root], out),
        lambda out: deblur([root], out),
        lambda out: export(root, ExportConfig(to="flat", blur_kind="gamma"), out),
        lambda out: restore(root, RestoreConfig(method="twice", restorer=Twice()), out=out),
    ):
        with pytest.raises(InputError, match="only to folders on this machine"):
            write(Path("s3://bucket/out"))
    assert not Path("s3:").exists()


class Twice:
    """A restorer that makes every value half as large."""

    def restore(self, blurred: Rgb) -> Rgb:
        return blurred // 2


def test_datasets_and_results_at_urls_are_inputs_of_all_commands(
    memory: str, tmp_path: Path, cache: Path
) -> None:
    root = write_dataset(tmp_path / "data", train=(1,), test=(2,))
    upload(root, f"{memory}/data")
    url = f"{memory}/data"

    config = RestoreConfig(method="twice", restorer=Twice(), code_sha256="none")
    there = restore(url, config, out=tmp_path / "there")
    here = restore(root, config, out=tmp_path / "here")
    assert [path for _, path in there.images] == [path for _, path in here.images] != []
    assert there.record is not None
    assert here.record is not None
    assert there.record.dataset == here.record.dataset
    assert not list((cache / "datasets").rglob("train/*/sharp/*.png")), "nobody reads these"

    exported = export(url, ExportConfig(to="flat", blur_kind="gamma"), tmp_path / "flat")
    assert exported.n_samples == 3
    upload(tmp_path / "flat", f"{memory}/flat")
    assert verify_export(f"{memory}/flat", url) == []

    evaluate(
        Sources(dataset=root, blur_kind="gamma", restored=(f"twice={tmp_path / 'here'}",)),
        EvaluateConfig(protocol=("psnr_rgb",), n_resamples=10),
        out=tmp_path / "scores",
    )
    upload(tmp_path / "scores", f"{memory}/scores")
    page = report([f"{memory}/scores", url], tmp_path / "page").read_text()
    assert "twice" in page


def test_single_objects_are_deblurred(memory: str, tmp_path: Path, cache: Path) -> None:
    photo = encode_png(np.full((20, 30, 3), 90, np.uint8))
    fsspec.filesystem("memory").pipe_file("/place/photos/train/one.png", photo)
    fsspec.filesystem("memory").pipe_file("/place/photos/two.png", photo)
    alone = deblur([f"{memory}/photos/two.png"], tmp_path / "one")
    assert [path.name for path in alone.written] == ["two.png"]
    # A folder of that name is no split where there is no dataset.
    both = deblur([f"{memory}/photos"], tmp_path / "both")
    assert {path.name for path in both.written} == {"one.png", "two.png"}
    # What was an object may be a folder later, and the other way about.
    fsspec.filesystem("memory").rm("/place/photos", recursive=True)
    fsspec.filesystem("memory").pipe_file("/place/photos", photo)
    assert local_copy(f"{memory}/photos", may_be_file=True).read_bytes() == photo
    fsspec.filesystem("memory").rm("/place/photos")
    fsspec.filesystem("memory").pipe_file("/place/photos/three.png", photo)
    assert [path.name for path in local_copy(f"{memory}/photos").iterdir()] == ["three.png"]


@pytest.mark.parametrize("name", ["train/../../../out.png", "..\\..\\out.png", ".."])
def test_an_object_whose_name_leads_out_of_its_folder_is_refused(
    memory: str, cache: Path, name: str
) -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/place/data/dataset.json", b"{}")
    system.store[f"/place/data/{name}"] = system.store["/place/data/dataset.json"]
    with pytest.raises(InputError, match="leads out of its folder"):
        local_copy(f"{memory}/data")
    assert not list(cache.rglob("*.png"))
