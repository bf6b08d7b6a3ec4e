"""The layer that every command shares: how commands end, and what reaches the terminal."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from gopro_tools.console import EXIT_FAULT, EXIT_USAGE, exit_code_of, progress_bar, stderr
from gopro_tools.errors import InputError
from gopro_tools.files import claimed, refuse_links, write_atomic, written_whole
from gopro_tools.processes import Workers
from gopro_tools.text import printable
from tests.commands import (
    assert_ended,
    command_line,
    environment,
    hear_signals,
    run_command_line,
)

COMMANDS = [
    *(f"gopro_tools.{name}" for name in ("synthesize", "verify", "evaluate", "tables")),
    *("baselines.checkpoints", "benchmarks.restore"),
]


def _raise(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("x.png: empty."), EXIT_USAGE, "error: x.png: empty."),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.csv"),
            2,
            "a.csv: No space.*room",
        ),
        (OSError(errno.EROFS, "Read-only file system", "a.csv"), 2, "Read-only.*another place"),
        (OSError("12 requested and 0 written"), EXIT_USAGE, "error: 12 requested and 0 written"),
        (MemoryError(), EXIT_USAGE, "not enough memory"),
        (KeyboardInterrupt(), 130, "Stopped"),
        (KeyError("x"), EXIT_FAULT, r"unexpected KeyError: 'x'.*fault of the program.*\.log"),
        (RecursionError("too deep"), EXIT_FAULT, "unexpected RecursionError"),
    ],
)
def test_whatever_is_raised_ends_in_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    assert exit_code_of(_raise(error)) == code
    text = capsys.readouterr().err
    assert re.search(said, text), text
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text


def test_the_log_of_a_fault_has_what_its_line_leaves_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert exit_code_of(_raise(IndexError("the fault"))) == EXIT_FAULT
    (log,) = tmp_path.iterdir()
    assert str(log) in capsys.readouterr().err
    text = log.read_text()
    assert "Traceback" in text
    assert "IndexError: the fault" in text
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert exit_code_of(_raise(IndexError("the fault"))) == EXIT_FAULT
    assert "no log could be written" in capsys.readouterr().err


ODD_NAME = "x[/bold][red]\x1b[31m\x9b2J:smile:\u202e\udcff\x07.mp4"


def test_names_reach_the_terminal_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=ODD_NAME)
    table.add_column(ODD_NAME)
    table.add_row(ODD_NAME)
    table.add_row(Text(ODD_NAME))
    stderr.print(f"failed: {ODD_NAME}", style="red")
    stderr.print(table)
    text = capsys.readouterr().err
    assert not set(text) & set("\x1b\x9b\x07\u202e")
    assert text.count("x[/bold][red]\\x1b[31m\\x9b2J:smile:\\u202e\\udcff\\x07.mp4") >= 3
    assert printable("plain ünïcode 名前\n\t") == "plain ünïcode 名前\n\t"


def _into_a_closed_pipe(command: list[str]) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does when it has seen enough
    ended = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment(), check=False
    )
    os.close(writer)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("module", COMMANDS)
def test_a_closed_pipe_is_no_traceback(module: str) -> None:
    assert _into_a_closed_pipe(command_line(module, "--help")) == (141, "")


def test_closed_and_full_streams_while_writing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from gopro_tools.console import run_command, stderr\n"
        "def command() -> int:\n"
        "    'Write.'\n"
        "    sys.stdout.write('line\\n' * 100000)\n"
        "    stderr.print('done')\n"
        "    return 0\n"
        "run_command(command, [])"
    )
    assert _into_a_closed_pipe([sys.executable, str(script)]) == (141, "")
    for redirection, code, said in (
        (">&-", 0, "done"),
        ("2>&- >/dev/null", 0, ""),
        (">/dev/full", 2, "No space left on device"),
        (">/dev/full 2>/dev/full", 2, ""),
    ):
        ended = subprocess.run(
            ["bash", "-c", f"{sys.executable} {script} {redirection}"],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        assert ended.returncode == code, (redirection, ended.stderr)
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr
        assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("module", ["gopro_tools.synthesize", "gopro_tools.detect"])
@pytest.mark.parametrize("n_later", [0, 1, 30, 100, 170, 250])
def test_ctrl_c_during_imports_is_quiet(module: str, n_later: int) -> None:
    # Python reports each module that it has loaded. Before our first one, Python itself answers.
    words = command_line(module, "--help")
    process = subprocess.Popen(
        [words[0], "-X", "importtime", *words[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=hear_signals,
    )
    assert process.stderr is not None
    names = (line.rpartition("|")[2].strip() for line in process.stderr)
    assert "gopro_tools" in names
    for _ in range(n_later):
        assert next(names)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode in (0, 130)  # 0 where it had shown its help already
    assert "Traceback" not in text


def started(folder: Path, text: str, *arguments: str) -> "subprocess.Popen[str]":
    """Run a script as a shell would, and wait until it says that it has started."""
    script = folder / "script.py"
    script.write_text(text)
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        preexec_fn=hear_signals,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


UNRAISABLE = """
import time
from gopro_tools.console import run_command
class Slow:
    def __del__(self):  # Python drops what is raised here, and reports it with a traceback
        print("started", flush=True)
        time.sleep(60)
def command() -> int:
    "Work."
    Slow()
    time.sleep(60)
    return 0
if __name__ == "__main__":
    run_command(command)
"""


def test_ctrl_c_that_python_drops_ends_the_command_all_the_same(tmp_path: Path) -> None:
    process = started(tmp_path, UNRAISABLE)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=30)
    assert (process.returncode, text) == (130, "Stopped.\n")


STUBBORN = """
import sys, threading, time, ctypes, signal
from concurrent.futures import ThreadPoolExecutor
from gopro_tools.console import run_command
from gopro_tools.processes import Workers
def sleep(seconds):
    libc = ctypes.PyDLL(None)   # holds the interpreter's lock, as some libraries do
    for _ in range(seconds * 10):
        libc.usleep(100_000)
    return seconds
def in_c(task):
    ctypes.CDLL(None).sleep(60)  # a long call into a library: no handler of Python's runs
def command(how: str) -> int:
    "Work."
    print("started", flush=True)
    if how == "workers":
        with Workers(2) as workers:
            workers.run(in_c, [1, 2, 3], lambda task, result: None, lambda task: None)
    elif how == "threads":
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(in_c, [1, 2, 3]))
    elif how == "library":
        in_c(0)
    elif how == "saving":
        found = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: found.setdefault("signal", True))
        while True:
            time.sleep(0.1)
    return 0
if __name__ == "__main__":
    run_command(command)
"""


@pytest.mark.parametrize("how", ["workers", "threads", "library", "saving"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_command_ends_within_two_seconds(tmp_path: Path, how: str, name: str) -> None:
    process = started(tmp_path, STUBBORN, "--how", how)
    time.sleep(1.0)  # its processes are there by now
    children = psutil.Process(process.pid).children(recursive=True)
    assert bool(children) == (how == "workers")
    number = getattr(signal, name)
    begin = time.monotonic()
    os.killpg(process.pid, number)
    if how == "saving":  # one signal asks it to save; it is the second that ends it
        time.sleep(0.3)
        assert process.poll() is None
        os.killpg(process.pid, number)
    _, text = process.communicate(timeout=60)
    assert time.monotonic() - begin < 2.0 + 0.5  # the machine may be busy
    assert process.returncode == 128 + number, text
    assert "Traceback" not in text
    assert_ended(children, 1)


INTERRUPTED_AT_THE_END = """
import signal
import sys
from gopro_tools import console
from gopro_tools.errors import InputError
report = console.stderr.print
def interrupted(*args, **options):
    signal.raise_signal(signal.SIGINT)
    report(*args, **options)
console.stderr.print = interrupted
def command(how: str) -> int:
    "Work."
    if how == "twice":
        signal.raise_signal(signal.SIGINT)
    raise InputError("wrong")
if __name__ == "__main__":
    console.run_command(command)
"""


@pytest.mark.parametrize("how", ["once", "twice"])
def test_ctrl_c_while_the_end_is_reported(tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED_AT_THE_END)
    ended = subprocess.run(
        [sys.executable, str(script), "--how", how],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        preexec_fn=hear_signals,
    )
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    assert ("Stopped" in ended.stderr) is (how == "twice")


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(STUBBORN)
    process = subprocess.Popen(
        [sys.executable, str(script), "--how", "workers"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1.0)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate()
    assert_ended(children, 5)


def test_nohup_is_respected(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(STUBBORN.replace("in_c(0)", "time.sleep(2)"))
    process = subprocess.Popen(
        [sys.executable, str(script), "--how", "library"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode == 0


# --- processes -----------------------------------------------------------------------------------


def _die(how: int) -> int:
    if how < 0:
        os.kill(os.getpid(), -how)
        time.sleep(10)
    if how == 3:
        os._exit(1)
    if how == 5:
        raise ValueError("a fault in the work")
    return how


def test_a_crash_takes_down_its_own_task_alone() -> None:
    done: dict[int, int] = {}
    crashed: list[int] = []
    tasks = [0, 1, 3, -signal.SIGSEGV, 4, -signal.SIGABRT, 6]
    with Workers(2) as workers:
        workers.run(_die, tasks, done.__setitem__, crashed.append)
    assert sorted(crashed) == sorted([3, -signal.SIGSEGV, -signal.SIGABRT])
    assert done == {i: i for i in (0, 1, 4, 6)}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_kill_from_outside_is_no_crash(number: int) -> None:
    crashed: list[int] = []
    with pytest.raises(InputError, match=r"ended from outside.*memory"), Workers(2) as workers:
        workers.run(_die, [0, -number, 1], lambda task, result: None, crashed.append)
    assert crashed == []


def test_an_exception_of_the_work_arrives_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="a fault in the work") as caught, Workers(1) as workers:
        workers.run(_die, [5], lambda task, result: None, lambda task: None)
    assert "in _die" in "".join(caught.value.__notes__)


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from gopro_tools.processes import Workers\n"
        "def work(task):\n    return task\n"
        "with Workers(1) as workers:\n"
        "    workers.run(work, [1], print, print)\n"
    )
    ended = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert 'if __name__ == "__main__":' in ended.stderr.splitlines()[-1]


MASKS = """
import signal
from gopro_tools.processes import Workers
def mask(task):
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())
if __name__ == "__main__":
    with Workers(2) as workers:
        workers.run(mask, range(4), lambda task, found: print(len(found)), print)
"""


def test_no_worker_hears_what_a_terminal_sends_to_all(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MASKS)
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, env=environment()
    )
    assert result.stdout.split() == ["2"] * 4  # SIGINT and SIGHUP, from the first worker on


# --- files ---------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "before\udcff")
    assert path.read_text() == "before\\udcff"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomic(path, "after")
    assert caught.value.filename == str(path)
    assert path.read_text() == "before\\udcff"
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_a_file_system_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomic(path, b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize("name", [".", "folder", "folder/.."])
def test_a_folder_where_a_file_goes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        write_atomic(Path(name), b"x")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("result", "temporary"):
        (out / name).symlink_to(outside / "precious")
    write_atomic(out / "result", "new", temporary=out / "temporary")
    assert (outside / "precious").read_text() == "precious"
    assert (out / "result").read_text() == "new"
    assert not (out / "result").is_symlink()
    (out / "deep").mkdir()
    (out / "deep" / "link").symlink_to(outside)
    refuse_links(out, "deep", "other/link")
    with pytest.raises(InputError, match=r"deep/link: a link.*Remove the link"):
        refuse_links(out, "deep/link/below")
    with pytest.raises(InputError, match="a link"), claimed(out, "deep/link"):
        pass


def test_a_folder_is_held_by_one_run_and_swept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    left_behind = [out / ".gopro-12-34.tmp", out / "sub" / ".gopro-12-34.tmp.mp4"]
    for path in left_behind:
        path.write_bytes(b"half")
    (out / ".mine.tmp").write_bytes(b"")
    with claimed(out, "sub"):
        assert not any(path.exists() for path in left_behind)
        with pytest.raises(InputError, match="another run is at work there"), claimed(out):
            pass
    assert {path.name for path in out.iterdir()} == {".mine.tmp", "sub"}
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(InputError, match="cannot be used as an output folder"),
        claimed(tmp_path / "file"),
    ):
        pass


def test_what_an_interrupted_run_left_is_not_taken_up(tmp_path: Path) -> None:
    partial = tmp_path / "results.partial"
    partial.mkdir()
    (partial / "stale.csv").write_text("of another run")
    with written_whole(tmp_path / "results") as folder:
        (folder / "new.csv").write_text("")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["new.csv"]
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "second") as folder:
        _ = 1 / 0
    assert not (tmp_path / "second").exists()


def test_plots_leave_the_home_folder_alone(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    code = (
        "from pathlib import Path; from gopro_tools.figures import new_figure; "
        "new_figure(2, 2).savefig(Path('x.png'))"
    )
    environ = environment(HOME=str(home), TMPDIR=str(temporary))
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environ.pop(name, None)
    pytest.importorskip("matplotlib")
    subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, check=True)
    assert list(home.rglob("*")) == []


def test_commands_without_arguments_say_what_they_need() -> None:
    for module in ("gopro_tools.verify", "gopro_tools.evaluate"):
        assert run_command_line(module).returncode == 2


def test_the_console_prints_to_what_stderr_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    stderr.print("here")
    assert stream.getvalue() == "here\n"


def test_a_progress_bar_says_what_is_done_and_how_fast() -> None:
    def shown(bar: Progress) -> str:
        console = Console(file=io.StringIO(), width=120)
        console.print(bar.get_renderable())
        return console.file.getvalue()

    with progress_bar("images", "Scoring") as bar:
        bar.show(1, 4)
        (task,) = bar.tasks
        assert (task.description, task.completed, task.total) == ("Scoring", 1, 4)
        bar.show(2, 4)
        bar.show(3, 4)
        assert re.search(r"Scoring .* 3/4 images \d+\.\d/s ", shown(bar))
        bar.show_task("file.zip", 1, None, rate="3.0 MB/s")
        assert re.search(r"file\.zip .* 1/4 images 3\.0 MB/s ", shown(bar))
