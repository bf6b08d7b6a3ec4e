"""One contract over every executor: the same bytes, whoever works and whoever dies."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from commands import ROOT, assert_ended, run_command_line, start_command_line, wait_until
from executor_tasks import Negative, Task, work
from stub_detector import Brightest
from tiny_dataset import write_dataset

from gopro_tools.detect import DetectConfig, detect
from gopro_tools.distributed import DaskExecutor, dask
from gopro_tools.errors import InputError, PassingError
from gopro_tools.evaluate import Sources, evaluate
from gopro_tools.executors import EXECUTORS, mapped, named_executor
from gopro_tools.processes import Workers
from gopro_tools.records import read_record
from gopro_tools.restoring import RestoreConfig, restore
from gopro_tools.scenes import Encoding, write_video
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize.output import STATE_FOLDER
from gopro_tools.verify import verify

pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
# Dask leaves sockets and event loops of dead workers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")

TESTS = str(ROOT / "tests")


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskExecutor]:
    executor = dask(workers=2)
    assert isinstance(executor, DaskExecutor)
    yield executor
    executor.shutdown()


@pytest.fixture(params=["threads", "processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "dask":
        yield request.getfixturevalue("cluster")
        return
    pool: Executor = ThreadPoolExecutor(2)
    if request.param == "processes":
        pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    yield pool
    pool.shutdown(cancel_futures=True)


def worker_pids(executor: Executor) -> list[int]:
    if isinstance(executor, DaskExecutor):
        return list(executor._client.run(os.getpid).values())
    assert isinstance(executor, ProcessPoolExecutor)
    return list(executor._processes)


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cut into several segments, which take long enough to be interrupted."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 256, (60, 90, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    frames = (np.roll(texture, (i, 2 * i), axis=(0, 1))[:160, :240] for i in range(640))
    write_video(path, frames, 240, Encoding(crf=25, gop_size=30))
    return path


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured response: a file that workers have to find."""
    path = tmp_path_factory.mktemp("camera") / "camera.npy"
    np.save(path, np.repeat(np.linspace(0, 1, 256)[:, None] ** 2, 3, axis=1))
    return path


@pytest.fixture(scope="module")
def truth(clip: Path, camera: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("truth") / "out"
    synthesize(clip, SynthesisConfig(response=str(camera)), out=out, jobs=1)
    return tree(out)


# --- tasks ---------------------------------------------------------------------------------------


def run(executor: Executor, tasks: list[Task]) -> tuple[list[int], list[int]]:
    done: list[int] = []
    crashed: list[int] = []
    with Workers(2, executor) as workers:
        workers.run(
            work,
            tasks,
            lambda task, result: done.append(result),
            lambda task: crashed.append(task[0]),
        )
    return sorted(done), crashed


def test_a_task_that_ends_its_process_costs_itself_alone(
    executor: Executor, tmp_path: Path
) -> None:
    if isinstance(executor, ThreadPoolExecutor):
        pytest.skip("threads die with this process")
    tasks = [(i, "exits" if i == 3 else "", tmp_path) for i in range(12)]
    done, crashed = run(executor, tasks)
    assert crashed == [3]
    assert done == [i for i in range(12) if i != 3]


def test_a_worker_that_is_killed_costs_nothing(executor: Executor, tmp_path: Path) -> None:
    if isinstance(executor, ThreadPoolExecutor):
        pytest.skip("threads die with this process")
    tasks = [(i, "is killed once" if i == 2 else "", tmp_path) for i in range(12)]
    assert run(executor, tasks) == (list(range(12)), [])


def test_equal_tasks_are_run_each(executor: Executor, tmp_path: Path) -> None:
    """Dask takes equal calls for one unless told that they are not pure."""
    done, _ = run(executor, [(1, "", tmp_path)] * 3)
    assert done == [1, 1, 1]


def test_an_exception_of_the_work_arrives(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a fault in the work"):
        run(executor, [(0, "raises", tmp_path), (1, "", tmp_path)])


def test_results_come_in_order(executor: Executor) -> None:
    assert list(mapped(abs, range(-50, 0), executor=executor)) == list(range(50, 0, -1))
    assert list(mapped(abs, [], executor=executor)) == []


class Recording(Executor):
    """Holds its tasks until twice as many as its slots are in flight, and a moment longer."""

    n_slots = 3

    def __init__(self) -> None:
        self.most_in_flight = self.in_flight = 0
        self.is_full = threading.Event()

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.in_flight == 2 * self.n_slots:
            self.is_full.set()

        def end() -> None:
            self.is_full.wait(timeout=60)
            time.sleep(0.02)  # one too many would be submitted now
            self.in_flight -= 1
            future.set_result(function(*args, **options))

        threading.Thread(target=end).start()
        return future


def test_the_executor_says_how_many_tasks_are_in_flight(tmp_path: Path) -> None:
    executor = Recording()
    run(executor, [(i, "", tmp_path) for i in range(30)])
    assert executor.most_in_flight == 6


def test_an_executor_that_drops_its_tasks_ends_the_run_in_words(tmp_path: Path) -> None:
    class Dropping(Recording):
        def submit(self, function: Any, /, *args: Any, **options: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            return future

    with pytest.raises(PassingError, match="went away"):
        run(Dropping(), [(0, "", tmp_path)])


class Foreign(Executor):
    """What strangers call an executor."""

    def __init__(self, what: str) -> None:
        self.what = what
        if what == "counts in words":
            self.n_slots = "many"

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Any:
        if self.what == "runs at once":
            return function(*args)
        if self.what == "is shut down":
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        if self.what == "cannot pickle":
            future.set_exception(TypeError("cannot pickle '_thread.lock' object"))
        else:
            future.set_result(None)
        return future


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("runs at once", r"gave a _Answer; a concurrent\.futures\.Future was expected"),
        ("is shut down", r"takes no more tasks: cannot schedule .* run the same command again"),
        ("cannot pickle", r"cannot be sent to the workers of the executor \(Foreign\)"),
        ("counts in words", r"n_slots of the executor \(Foreign\) is 'many'"),
        ("returns nothing", r"gave a NoneType for a task"),
    ],
)
def test_what_is_no_executor_is_named(what: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        run(Foreign(what), [(0, "", tmp_path)])


FACTORIES = """\
from concurrent.futures import ThreadPoolExecutor

class Faulty(ThreadPoolExecutor):
    def shutdown(self, **options):
        super().shutdown(**options)
        raise OSError("the scheduler hung up")

def faulty(): return Faulty(1)
def a_class(): return ThreadPoolExecutor
def exits(): raise SystemExit(3)
def old(): return Old(1)

class Old(ThreadPoolExecutor):
    def shutdown(self):
        super().shutdown()
"""


def test_factories_of_strangers_end_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "strangers.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    for name, said in (("a_class", "the class ThreadPoolExecutor"), ("exits", "SystemExit: 3")):
        with pytest.raises(InputError, match=said), named_executor(f"strangers:{name}"):
            pass
    with named_executor("strangers:faulty") as executor:
        assert list(mapped(abs, [-1], executor=executor)) == [1]
    assert "shutdown() failed: OSError: the scheduler hung up" in caplog.text
    with pytest.raises(InputError, match="the first error"), named_executor("strangers:old"):
        raise InputError("the first error")


# --- commands ------------------------------------------------------------------------------------


def test_synthesis_gives_the_same_bytes_though_a_worker_is_killed(
    executor: Executor,
    clip: Path,
    camera: Path,
    truth: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where files are named from a working folder that the workers do not share."""
    (tmp_path / "camera.npy").write_bytes(camera.read_bytes())
    monkeypatch.chdir(tmp_path)
    killed: list[int] = []

    def kill(n_done: int, n_total: int) -> None:
        if 0 < n_done < n_total and not killed and not isinstance(executor, ThreadPoolExecutor):
            killed.append(worker_pids(executor)[0])
            os.kill(killed[0], signal.SIGKILL)

    config = SynthesisConfig(response="camera.npy")
    synthesize(clip, config, out="out", executor=executor, on_progress=kill)
    assert bool(killed) != isinstance(executor, ThreadPoolExecutor)
    assert tree(tmp_path / "out") == truth


def test_two_shards_make_one_dataset(
    cluster: DaskExecutor, clip: Path, camera: Path, truth: dict[str, str], tmp_path: Path
) -> None:
    config = SynthesisConfig(response=str(camera))
    out = tmp_path / "out"
    assert synthesize(clip, config, out=out, shard=(1, 2), executor=cluster).segments_left
    assert not synthesize(clip, config, out=out, shard=(2, 2), executor=cluster).segments_left
    assert tree(out) == truth


def test_a_coordinator_that_is_killed_resumes_on_another_cluster(
    cluster: DaskExecutor, clip: Path, camera: Path, truth: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = (clip, "-o", out, "--response", camera, "--executor")
    process = start_command_line(
        "gopro_tools.synthesize", *arguments, "gopro_tools.distributed:dask:workers=2"
    )
    wait_until(lambda: list(out.glob(f"{STATE_FOLDER}/train-*.json")), process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert children
    assert_ended(children, timeout_s=60)
    name = f"gopro_tools.distributed:dask:address={cluster._client.scheduler.address}"
    ended = run_command_line("gopro_tools.synthesize", *arguments, name, timeout_s=300)
    assert ended.returncode == 0, ended.stderr
    assert tree(out) == truth
    assert cluster.submit(abs, -1).result(timeout=60) == 1  # the cluster outlives its user


@pytest.mark.parametrize("executor", ["threads", "dask"], indirect=True)
def test_scores_findings_and_boxes_are_the_same(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "data", test=(9, 8), size_hw=(64, 80))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(TESTS)
    sources = Sources(dataset=Path("data"), blur_kind="gamma", restored=("same=data/restored",))
    for path in Path("data/test").rglob("blur_gamma/*.png"):
        copy = Path("data/restored") / path.parts[2] / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    config = DetectConfig(detector="stub_detector:make", n_resamples=50, overlays=0)
    for out, given in (("here", None), ("there", executor)):
        evaluate(sources, out=Path(out, "scores"), executor=given)
        detect(sources, config, out=Path(out, "boxes"), executor=given)
    here, there = tree(Path("here")), tree(Path("there"))
    assert here.keys() == there.keys()
    differing = {name for name in here if here[name] != there[name]}
    assert differing <= {"scores/run.json", "boxes/run.json"}  # they hold times
    assert verify(Path("data"), executor=executor) == verify(Path("data"))


@pytest.mark.parametrize("executor", ["threads", "dask"], indirect=True)
def test_restored_images_are_the_same(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "data", test=(9, 8), size_hw=(64, 80))
    broken = tmp_path / "data/test/GOPR0003_11_00/blur_gamma/000004.png"
    monkeypatch.chdir(tmp_path)
    config = RestoreConfig(method="executor_tasks:Negative")
    restore("data", config, out="here")
    there = restore("data", config, out="there", executor=executor)
    assert there.summary.n_restored == 17
    names = {name for name in tree(Path("here")) if name.endswith(".png")}
    assert len(names) == 17
    assert all(tree(Path("here"))[name] == tree(Path("there"))[name] for name in names)
    assert there.record is not None
    assert there.record.config == read_record(Path("here")).config
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/good.png").write_bytes(broken.read_bytes())
    (tmp_path / "folder/bad.png").write_bytes(b"no image")
    failed = restore("folder", config, out="some", executor=executor)
    assert failed.record is None
    assert len(failed.summary.failures) == 1
    assert "bad.png" in failed.summary.failures[0]


def test_a_restorer_object_cannot_be_sent(executor: Executor, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    config = RestoreConfig(method="mine", restorer=Negative(None, "cpu"))
    with pytest.raises(InputError, match="stays in this process"):
        restore(tmp_path / "data", config, out=tmp_path / "out", executor=executor)


def test_a_detector_object_cannot_be_sent(executor: Executor, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    sources = Sources(dataset=tmp_path / "data")
    with pytest.raises(InputError, match="stays in this process"):
        detect(sources, DetectConfig(detector="x"), detector=Brightest(), executor=executor)


# --- naming one ----------------------------------------------------------------------------------


def test_an_executor_is_named_like_every_part(tmp_path: Path) -> None:
    with named_executor("") as none:
        assert none is None
    with named_executor("concurrent.futures:ThreadPoolExecutor:max_workers=3") as pool:
        assert isinstance(pool, ThreadPoolExecutor)
    with pytest.raises(InputError, match="has no submit"), named_executor("builtins:dict"):
        pass


def test_an_address_keeps_its_port() -> None:
    _, options = EXECUTORS.imported(
        "gopro_tools.distributed:dask:address=tcp://10.0.0.1:8786:workers=2"
    )
    assert options == {"address": "tcp://10.0.0.1:8786", "workers": 2}


def test_a_scheduler_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gopro_tools.distributed._CONNECT_S", 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        dask(address="tcp://127.0.0.1:9")


def test_workers_of_another_version_are_refused(
    cluster: DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gopro_tools.distributed.versions", lambda: {"numpy": "0.1"})
    # The function that the workers run must be one that they can import.
    client = cluster._client
    monkeypatch.setattr(client, "run", lambda _: {"tcp://w": {"numpy": "9"}}, raising=False)
    from gopro_tools.distributed import _check_versions

    with pytest.raises(InputError, match=r"tcp://w has numpy 9 instead of 0\.1"):
        _check_versions(client)
