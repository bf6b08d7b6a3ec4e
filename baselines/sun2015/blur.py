"""Blur with a kernel of its own for each pixel, and its transpose, as one sparse matrix."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

_ROWS_AT_ONCE = 64
"""Image rows of the matrix made at a time: the indices in between take several times its memory."""


class VaryingBlur:
    """K of y = K x: y[p] = sum over o of kernel_of_p[o] x[p - o].

    x is larger than y by `margin` pixels on each side, so that every tap meets a pixel. Memory is
    16 bytes a tap, for K and its transpose: at 1280x720 0.4 GB on average over the 361 candidates,
    0.8 GB if every pixel had the one with the most taps.
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
            device: Where it lies.
            least_margin: The margin is this or as wide as the kernels reach.
            dtype: Of its values.
        """
        used, compact = np.unique(field, return_inverse=True)
        compact = compact.reshape(field.shape)
        radius = kernels.shape[1] // 2
        taps = [np.argwhere(kernels[index] != 0)[::-1] for index in used]  # x's pixels in order
        reach = max((int(np.abs(tap - radius).max(initial=0)) for tap in taps), default=0)
        self.margin = max(reach, least_margin)
        self.size_hw: tuple[int, int] = (field.shape[0], field.shape[1])
        self.extended_hw = (field.shape[0] + 2 * self.margin, field.shape[1] + 2 * self.margin)
        row_length = self.extended_hw[1]
        offsets = np.concatenate(
            [(radius - tap[:, 0]) * row_length + (radius - tap[:, 1]) for tap in taps]
        ).astype(np.int32)
        values = np.concatenate(
            [kernels[index][tap[:, 0], tap[:, 1]] for index, tap in zip(used, taps, strict=True)]
        ).astype(torch.empty(0, dtype=dtype).numpy().dtype)
        counts = np.array([len(tap) for tap in taps], np.int32)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)

        per_pixel = counts[compact].ravel()
        row_starts = np.concatenate([[0], np.cumsum(per_pixel, dtype=np.int64)])
        columns = np.empty(row_starts[-1], np.int32)
        data = np.empty(row_starts[-1], values.dtype)
        for top in range(0, field.shape[0], _ROWS_AT_ONCE):
            part = compact[top : top + _ROWS_AT_ONCE]
            y, x = np.indices(part.shape, np.int32)
            home = ((y + top + self.margin) * row_length + x + self.margin).ravel()
            n_taps = counts[part].ravel()
            begins = np.cumsum(n_taps) - n_taps
            tap = np.arange(n_taps.sum()) + np.repeat(starts[part].ravel() - begins, n_taps)
            here = slice(
                row_starts[top * field.shape[1]],
                row_starts[min(top + _ROWS_AT_ONCE, field.shape[0]) * field.shape[1]],
            )
            columns[here] = np.repeat(home, n_taps) + offsets[tap]
            data[here] = values[tap]
        shape = (field.size, self.extended_hw[0] * self.extended_hw[1])
        matrix = sparse.csr_array((data, columns, row_starts.astype(np.int32)), shape=shape)
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
    # 32-bit indices: half the memory, and what the CPU's library works with.
    starts, columns, values = (
        torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data)
    )
    with warnings.catch_warnings():
        # That sparse tensors are a beta of torch's; the tests compare every product with scipy.
        warnings.simplefilter("ignore", UserWarning)
        result: Tensor = torch.sparse_csr_tensor(
            starts, columns, values, matrix.shape, device=device, check_invariants=False
        )
    return result
