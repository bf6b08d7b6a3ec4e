"""What a user can ask of the check."""

from dataclasses import dataclass

from gopro_tools.errors import InputError
from gopro_tools.shape import convert_fields


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """What counts as suspicious."""

    max_shift_px: float = 3.0
    """Warn where sharp and blurred lie further apart than this, in px. A middle frame is centred in
    its blur: two real GOPRO pairs are 0.5 px apart."""
    least_sharpness_ratio: float = 0.9
    """A sharp image with less than this share of its blurred partner's variance of the Laplacian is
    an error (swapped or mixed up); between this and 1 it is a warning (hardly any motion)."""
    jobs: int = 0
    """Images checked at once; 0 uses all cores."""

    def __post_init__(self) -> None:
        """Refuse limits that would never, or always, find something."""
        convert_fields(self)
        if not self.max_shift_px > 0:
            raise InputError(f"max_shift_px must be above 0, found {self.max_shift_px}.")
        if not 0 <= self.least_sharpness_ratio <= 1:
            raise InputError(
                f"least_sharpness_ratio must be in [0, 1], found {self.least_sharpness_ratio}."
            )
        if self.jobs < 0:
            raise InputError(f"jobs must be 0 (all cores) or more, found {self.jobs}.")
