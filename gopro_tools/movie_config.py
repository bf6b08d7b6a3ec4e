"""What users can ask of videos that are restored, for command lines: nothing is loaded with it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MovieConfig:
    """How videos are read and written."""

    lossless: bool = False
    """Write videos as FFV1 in Matroska instead of H.264: every restored value, in files about ten
    times as large."""
    compare: bool = False
    """Write blurred beside restored too, as <name>_compare."""
    hdr: bool = False
    """Convert PQ and HLG video to SDR; without this it is refused."""
    deinterlace: bool = False
    """Read interlaced video, one field per frame; without this it is refused."""
