"""Blur with a kernel of its own for each pixel, and its transpose, as one sparse matrix."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor


class VaryingBlur:
    """K of y = K x: y[p] = sum over o of kernel_of_p[o] x[p - o].

    x is larger than y by `margin` pixels on each side, so that every tap meets a pixel. K and
    its transpose take 16 bytes per tap: at 1280x720 0.4 GB on average over the 361 candidates, 0.8
    GB if every pixel had the one with the most taps.
    """

    def __init__(
        self,
        field: NDArray[np.integer[Any]],
        kernels: NDArray[np.floating[Any]],
        device: torch.device | str = "cpu",
        *,
        least_margin: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Make the matrix.

        Args:
            field: (H, W) index of each pixel's kernel.
            kernels: (N, S, S), S odd.
            device: Where the matrix is kept.
            least_margin: The margin is at least this, or as wide as the kernels reach.
            dtype: Of its values.
        """
        radius = kernels.shape[1] // 2
        taps = {index: np.argwhere(kernels[index])[::-1] for index in np.unique(field)}
        reach = max(int(np.abs(tap - radius).max(initial=0)) for tap in taps.values())
        self.margin = max(reach, least_margin)
        height, width = field.shape
        self.size_hw: tuple[int, int] = (height, width)
        self.extended_hw = (height + 2 * self.margin, width + 2 * self.margin)
        row_length = self.extended_hw[1]
        home = np.add.outer(
            (np.arange(height, dtype=np.int32) + self.margin) * row_length,
            np.arange(width, dtype=np.int32) + self.margin,
        ).ravel()
        pixels_of = {index: np.flatnonzero(field == index) for index in taps}
        n_taps = np.zeros(field.size, np.int64)
        for index, pixels in pixels_of.items():
            n_taps[pixels] = len(taps[index])
        starts = np.concatenate([[0], np.cumsum(n_taps)])
        columns = np.empty(starts[-1], np.int32)
        values = np.empty(starts[-1], torch.empty(0, dtype=dtype).numpy().dtype)
        for index, pixels in pixels_of.items():
            down, right = taps[index].T.astype(np.int32)  # in the order of x's pixels
            entries = np.add.outer(starts[pixels], np.arange(len(down)))
            offset = (radius - down) * row_length + radius - right
            columns[entries] = np.add.outer(home[pixels], offset)
            values[entries] = kernels[index][down, right]
        shape = (field.size, self.extended_hw[0] * row_length)
        matrix = sparse.csr_array((values, columns, starts.astype(np.int32)), shape=shape)
        self._matrix = _torch_csr(matrix, device)
        self._transposed = _torch_csr(matrix.T.tocsr(), device)

    @property
    def n_taps(self) -> int:
        """Non-zero weights in all."""
        return int(self._matrix.values().numel())

    def __call__(self, x: Tensor) -> Tensor:
        """Blur: (h, w, C) of the extended size -> (H W, C)."""
        blurred: Tensor = self._matrix @ x.reshape(-1, x.shape[2])
        return blurred

    def adjoint(self, y: Tensor) -> Tensor:
        """The transpose: (H W, C) -> (h, w, C)."""
        spread: Tensor = self._transposed @ y
        return spread.view(*self.extended_hw, y.shape[1])

    def extended(self, image: Tensor) -> Tensor:
        """(H, W, C) -> (h, w, C) with its border pixels repeated outwards."""
        planes = image.permute(2, 0, 1)[None]
        padded = torch.nn.functional.pad(planes, [self.margin] * 4, mode="replicate")
        return padded[0].permute(1, 2, 0).contiguous()

    def cropped(self, x: Tensor) -> Tensor:
        """(h, w, C) -> (H, W, C)."""
        height, width = self.size_hw
        return x[self.margin : self.margin + height, self.margin : self.margin + width]


def _torch_csr(matrix: Any, device: torch.device | str) -> Tensor:
    # 32-bit indices, as scipy has them: half the memory, and what the CPU's library works with.
    starts, columns, values = (
        torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data)
    )
    with warnings.catch_warnings():
        # torch calls sparse tensors a beta; the tests compare every product with scipy.
        warnings.simplefilter("ignore", UserWarning)
        result: Tensor = torch.sparse_csr_tensor(
            starts, columns, values, matrix.shape, device=device, check_invariants=False
        )
    return result
