"""Checkpoints: ours, written whole or not at all, and the official files of both methods.

Ours is one safetensors file: the tensors of every network under its name ("restorer.…",
"critic.…"), what a training run needs to continue, and the record of both in the header.

Nothing here runs code from a file: PyTorch files are read with `weights_only=True`. A tensor that
is missing, unexpected or of another shape is an error that lists them all.
"""
