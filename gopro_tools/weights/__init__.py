"""The small network that ships with the package: an ``.onnx`` file and its ``.json`` card.

The card says what a user must know before trusting a result::

    {"name": "...", "trained_on": "...", "image_size": "320x180", "blur_px": [1, 7],
     "scores": "...", "licence": "MIT"}

The file takes and gives (N, 3, H, W) float32 RGB in [0, 1] of any size, as
``python -m baselines.checkpoints export`` writes it, and stays under 2 MB.
"""
