"""Loops as machine code: made once, stored, checked, and called without numba."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from llvmlite.binding import get_host_cpu_features

from gopro_tools import loops
from gopro_tools.averaging import ExposureAverager
from gopro_tools.machine_code import Loop
from gopro_tools.response import Response
from tests.commands import ROOT, environment

LOOPS = '''"""Loops of the tests."""
from numba import njit
from gopro_tools.machine_code import OPTIONS

@njit(**OPTIONS)
def scale(values, factor):
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            values[y, x] *= factor

@njit(**OPTIONS)
def allocate(values):
    values[0] = values.copy()[0]
'''
SCRIPT = """
import sys
import numpy as np
from gopro_tools.machine_code import Loop
values = np.arange(6.0).reshape(2, 3)
Loop("my_loops:scale", "float64[:,::1]", "float64")(values, 2.0)
assert (values == 2 * np.arange(6).reshape(2, 3)).all(), values
print("numba" in sys.modules)
"""


def _runs_with_numba(folder: Path, cache: Path) -> bool:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment(
            PYTHONPATH=os.pathsep.join([str(folder), str(ROOT)]), XDG_CACHE_HOME=str(cache)
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip() == "True"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_loops.py").write_text(LOOPS)
    return tmp_path


def test_loops_are_compiled_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(Loop, "load", lambda loop: loaded.append(loop._name.partition(":")[2]))
    loops.main()
    assert loaded == [
        *("average_light", "average_both", "deflate"),
        *("extremes_of_cells", "check", "refine_near_edges", "gaussian_ssim"),
    ]


def test_numba_is_loaded_only_where_no_whole_machine_code_of_this_source_is_stored(
    folder: Path,
) -> None:
    cache = folder / "cache"
    assert _runs_with_numba(folder, cache)
    assert not _runs_with_numba(folder, cache)
    (stored,) = cache.rglob("*.o")
    stored.write_bytes(stored.read_bytes()[:-9])
    assert _runs_with_numba(folder, cache), "cut short"
    stored.write_bytes(b"")
    assert _runs_with_numba(folder, cache), "emptied by a power cut"
    assert not _runs_with_numba(folder, cache)
    (folder / "my_loops.py").write_text(LOOPS.replace("*= factor", "*= 1 * factor"))
    assert _runs_with_numba(folder, cache), "another source"


def test_machine_code_is_made_once_for_all_checkouts(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "another checkout"
    other.mkdir()
    (other / "my_loops.py").write_text(LOOPS)
    assert _runs_with_numba(folder, tmp_path / "cache")
    assert not _runs_with_numba(other, tmp_path / "cache")


def test_without_a_cache_machine_code_lies_beside_the_module(folder: Path) -> None:
    cache = folder / "cache"
    cache.write_text("a file where the folder would be")
    assert _runs_with_numba(folder, cache)
    assert not _runs_with_numba(folder, cache)
    assert list((folder / "__pycache__").glob("*.o"))


@pytest.mark.usefixtures("folder")
def test_arguments_of_other_types_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    scale = Loop("my_loops:scale", "float64[:,::1]", "float64")
    for wrong in (np.zeros((2, 2), np.float32), np.zeros(4), np.zeros((2, 4))[:, ::2], [[1.0]]):
        with pytest.raises(TypeError, match="float64"):
            scale(wrong, 1.0)
    with pytest.raises(ValueError, match="zip"):
        scale(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="not a type"):
        Loop("my_loops:scale", "float64[")


def test_a_loop_that_allocates_is_refused_when_it_is_compiled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    sys.modules.pop("my_loops", None)
    with pytest.raises(Exception, match="NRT required"):
        Loop("my_loops:allocate", "float64[::1]").load()


def test_light_alone_is_the_same_as_with_the_plain_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    curves = rng.uniform(size=(256, 1, 3)).cumsum(axis=0)
    np.save(tmp_path / "measured.npy", curves / curves[-1])
    frames = rng.integers(0, 256, (7, 19, 23, 3), dtype=np.uint8)
    for name in ("gamma2.2", str(tmp_path / "measured.npy")):
        averager = ExposureAverager(Response.named(name), 7)
        both = averager.average(frames)
        assert (both.blur_gamma == averager.average_light(frames)).all()
        assert (both.blur == np.around(frames.mean(axis=0))).all()


AVERAGES = """
import sys
import llvmlite.binding as llvm
features = llvm.get_host_cpu_features()
for name in sys.argv[1].split():
    features[name] = False
llvm.get_host_cpu_features = lambda: features
import numpy as np
from gopro_tools.averaging import ExposureAverager
from gopro_tools.response import Response
frames = np.load(sys.argv[2])
averaged = []
for response in (Response.named("gamma2.2"), Response.named("linear")):
    averager = ExposureAverager(response, len(frames))
    both = averager.average(frames)
    averaged += [both.blur, both.blur_gamma, averager.average_light(frames)]
np.save(sys.argv[3], averaged)
"""


def test_averages_are_the_same_whatever_the_processor_looks_up_in_its_registers(
    tmp_path: Path,
) -> None:
    features = get_host_cpu_features()
    without = ["avx512vbmi avx512bw"]
    without += ["avx512vbmi"] if features.get("avx512bw") else []
    without += [""] if features.get("avx512vbmi") else []
    if len(without) == 1:
        pytest.skip("this processor has one way only")
    rng = np.random.default_rng(4)
    # Rows that are no multiple of 64 values, and darkness, where codes lie close together.
    bright, dark = rng.integers(0, 256, (11, 30, 71, 3)), rng.integers(0, 9, (11, 30, 71, 3))
    frames = np.concatenate([bright, dark], axis=1).astype(np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    for number, names in enumerate(without):
        subprocess.run(
            [sys.executable, "-c", AVERAGES, names, "frames.npy", f"{number}.npy"],
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(ROOT), XDG_CACHE_HOME=str(tmp_path)),
            check=True,
        )
    got = [np.load(tmp_path / f"{number}.npy") for number in range(len(without))]
    assert all((averages == got[0]).all() for averages in got)
    assert (got[0][0] == np.around(frames.mean(axis=0))).all()
    # Each its own machine code: two loops of either kind.
    assert len(list(tmp_path.rglob("averaging_loops.*.o"))) == 2 * len(without)
