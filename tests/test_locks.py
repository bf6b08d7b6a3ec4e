"""One process at a time in a folder, whoever comes, goes or is killed meanwhile."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

from gopro_tools import locks
from gopro_tools.errors import InputError
from gopro_tools.files import claimed
from gopro_tools.locks import held, is_held

N_PROCESSES = 20
N_TURNS = 10

CONTENDER = f"""
import os, sys
from pathlib import Path
from gopro_tools.locks import held

lock, inside = Path(sys.argv[1]), Path(sys.argv[2])
sys.stdin.readline()
for _ in range({N_TURNS}):
    with held(lock, "in use.", timeout_s=100):
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # raises where another is inside
        inside.unlink()
"""

OWNER = """
import sys
from pathlib import Path
from gopro_tools.files import claimed

with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def python(code: str, *arguments: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_of_many_that_contend_one_at_a_time_is_inside(tmp_path: Path) -> None:
    # The folder comes and goes with the lock, as the state folders of runs do.
    lock = tmp_path / "state" / "lock"
    contenders = [python(CONTENDER, lock, tmp_path / "inside") for _ in range(N_PROCESSES)]
    for process in contenders:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in contenders:
        _, said = process.communicate(timeout=250)
        assert process.returncode == 0, said
    # The folder may stay, empty: whoever made it need not be the last.
    assert [path for path in tmp_path.rglob("*") if path != lock.parent] == []


def test_a_killed_owner_frees_the_folder(tmp_path: Path) -> None:
    owner = python(OWNER, tmp_path)
    assert owner.stdout
    assert owner.stdout.readline() == "held\n"
    assert is_held(tmp_path / ".lock")
    with pytest.raises(InputError, match="another run is at work there"), claimed(tmp_path):
        pass
    owner.kill()
    owner.communicate()
    assert (tmp_path / ".lock").exists()
    assert not is_held(tmp_path / ".lock")
    with claimed(tmp_path):
        pass


def test_a_lock_whose_folder_goes_away_is_taken_again(tmp_path: Path) -> None:
    lock = tmp_path / "state" / "lock"
    with held(lock, "in use"):
        assert lock.exists()
    assert not lock.parent.exists()
    with held(lock, "in use"):
        assert lock.exists()


def test_what_was_removed_and_made_again_is_anothers(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock, "in use"):
        lock.unlink()  # as a run that clears its state folder does
        with held(lock, "in use"):
            pass
        lock.touch()
    assert lock.exists()


def test_a_link_in_place_of_the_lock_makes_nothing_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").symlink_to(elsewhere)
    with pytest.raises(InputError, match="cannot be used"), claimed(tmp_path / "out"):
        pass
    assert not elsewhere.exists()


def test_a_file_system_without_locks_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuses(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuses)
    with caplog.at_level(logging.WARNING, locks.__name__), claimed(tmp_path):
        pass
    assert "has no locks (Function not implemented)" in caplog.text
    assert not any(tmp_path.iterdir())
