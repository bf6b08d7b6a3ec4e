"""Candidate motions by their length and orientation."""

from baselines.sun2015.kernels import N_ORIENTATIONS


def candidate_index(length_index: int, orientation_index: int) -> int:
    """Index into `CANDIDATES`; orientations count modulo 180 degrees."""
    if length_index == 0:
        return 0
    return 1 + N_ORIENTATIONS * (length_index - 1) + orientation_index % N_ORIENTATIONS
