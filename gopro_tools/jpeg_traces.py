"""Traces that JPEG leaves in the pixels of an image, whatever it was saved as afterwards."""

import numpy as np

from gopro_tools.images import Rgb

LEAST_TRACE = 0.3
"""The trace of an image that was a JPEG file: above 0.4 at qualities of 30 to 95 with and without
colour subsampling, none at 98; at most 0.12 in 2,517 restored, sharp and blurred images of
networks, GOPRO, REDS and rendered clips, and 0.14 in frames of H.264, HEVC, VP9 and ProRes. MPEG-2
and DNxHD quantise the same cosines: 0.6 and more in each intra-coded frame."""
_BLOCK_PX = 8
_SIDE_PX = 384
_FEWEST_VALUES = 48
_STEPS = range(2, 33)
"""Quantisation steps that are tried; a step of 1 is lost in rounding to code values."""
_WAVES = [(down, across) for down in range(6) for across in range(6) if 1 <= down + across <= 5]
_AT = np.arange(_BLOCK_PX)
_DCT = np.cos(np.pi * (2 * _AT + 1) * _AT[:, None] / (2 * _BLOCK_PX)) / 2
_DCT[0] /= np.sqrt(2)
_LUMA = np.array([0.299, 0.587, 0.114])


def jpeg_trace(image: Rgb) -> float:
    """How closely the DCT coefficients of 8x8 blocks keep to multiples of a step, as in JPEG.

    For each low frequency, the step is sought whose multiples are nearest to the coefficients above
    half of it, by the mean cosine of their phase: 1 for multiples, below 0 for the smooth
    distribution of an image that was never quantised. Blocks start in the upper left corner, so an
    image that was cut or resized afterwards has none.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        The median over the frequencies, in [-1, 1]; see `LEAST_TRACE`. -1 where there is too little
        texture to say.
    """
    top, left = (max(0, side - _SIDE_PX) // (2 * _BLOCK_PX) * _BLOCK_PX for side in image.shape[:2])
    luma = image[top : top + _SIDE_PX, left : left + _SIDE_PX] @ _LUMA
    n_down, n_across = (side // _BLOCK_PX for side in luma.shape)
    luma = luma[: n_down * _BLOCK_PX, : n_across * _BLOCK_PX]
    blocks = luma.reshape(n_down, _BLOCK_PX, n_across, _BLOCK_PX).swapaxes(1, 2)
    coefficients = np.abs(_DCT @ blocks @ _DCT.T)
    found = []
    for down, across in _WAVES:
        values = np.sort(coefficients[:, :, down, across].ravel())
        kept = [values[np.searchsorted(values, step / 2, side="right") :] for step in _STEPS]
        scores = [
            float(np.cos(2 * np.pi / step * above).mean())
            for step, above in zip(_STEPS, kept, strict=True)
            if len(above) >= _FEWEST_VALUES
        ]
        found += [max(scores)] if scores else []
    return float(np.median(found)) if found else -1.0
