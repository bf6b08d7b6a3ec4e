"""MATLAB's files, as SciPy writes them."""

import io
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from gopro_tools.metrics.mat_file import read_mat

RNG = np.random.default_rng(0)
MATRICES = {
    "doubles": RNG.normal(size=(36, 36)),
    "row": RNG.normal(size=(1, 5)),
    "one": np.array([[2.5]]),
    "bytes": RNG.integers(0, 9, (2, 3), np.uint8),
    "short": RNG.integers(-9, 9, (3, 1), np.int16),
    "empty": np.zeros((0, 4)),
}


@pytest.mark.parametrize("packed", [False, True])
def test_matrices_are_read_as_scipy_wrote_them(packed: bool) -> None:
    file = io.BytesIO()
    others = {
        "text": "abc",
        "record": {"x": 1},
        "complex": np.array([[1j]]),
        "cube": np.ones((2, 2, 2)),
    }
    scipy.io.savemat(file, {**MATRICES, **others}, do_compression=packed)
    found = read_mat(file.getvalue())
    assert MATRICES.keys() <= found.keys()
    assert not {"record", "complex", "cube"} & found.keys()
    for name, matrix in MATRICES.items():
        np.testing.assert_array_equal(found[name], matrix)


def test_a_cut_file_is_an_error_and_not_less(tmp_path: Path) -> None:
    file = io.BytesIO()
    scipy.io.savemat(file, MATRICES, do_compression=True)
    with pytest.raises(ValueError, match="cut off"):
        read_mat(file.getvalue()[:-3])
    with pytest.raises(ValueError, match="level 5"):
        read_mat(b"MATLAB 7.3" + bytes(200))
