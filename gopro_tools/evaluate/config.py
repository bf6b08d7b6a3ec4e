"""What a user can ask of the evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gopro_tools.errors import InputError
from gopro_tools.options import DrawnUnit
from gopro_tools.shape import convert_fields

if TYPE_CHECKING:
    from gopro_tools.metrics.parts import MetricParts


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to compute."""

    protocol: tuple[str, ...] = ("standard",)
    """Bundles (standard, all, nah2017, deepdeblur_pytorch, mprnet, nafnet, basicsr, basicsr_y,
    mimo, uformer, realblur, no_reference) or single metrics, such as dists, niqe, blur_effect or,
    for frames of videos, tof_farneback. A bundle's metric is left out, with a note, where its files
    are missing; one asked for by name is then an error. Without sharp images, only metrics that
    need none are computed."""
    lpips_weights: Path | None = None
    """File with torchvision's AlexNet weights, for LPIPS; by default it is looked for in torch's
    cache folder."""
    dists_weights: tuple[Path, ...] = ()
    """Two files for DISTS: torchvision's vgg16-397923af.pth and the authors' weights.pt."""
    niqe_model: Path | None = None
    """File with NIQE's model: the authors' modelparameters.mat, or BasicSR's .npz of it."""
    bootstrap_over: DrawnUnit = "sequence"
    """What the bootstrap resamples: whole sequences, or images. Frames of one sequence are alike,
    so images give intervals that are too narrow for another dataset."""
    by: str = ""
    """Also give scores by stratum of what is known of each pair: motion_px, another numeric column
    of the dataset's manifest, or FILE.csv:COLUMN with the columns sequence and name."""
    n_resamples: int = 10_000
    """Number of bootstrap resamples."""
    seed: int = 0
    """Of the bootstrap."""
    jobs: int = 0
    """Threads; 0 takes one per core."""

    def __post_init__(self) -> None:
        """Refuse unknown protocols and invalid counts."""
        from gopro_tools.metrics import metrics_of

        convert_fields(self)
        metrics_of(self.protocol)
        if min(self.n_resamples - 1, self.jobs, self.seed) < 0:
            raise InputError("--n-resamples must be at least 1, --jobs and --seed at least 0.")

    @property
    def parts(self) -> "MetricParts":
        """Files that metrics need."""
        from gopro_tools.metrics.parts import MetricParts

        return MetricParts(
            lpips_weights=self.lpips_weights,
            dists_weights=self.dists_weights,
            niqe_model=self.niqe_model,
        )

    @property
    def bundle(self) -> str:
        """The protocols as one word, for the rows."""
        return "+".join(self.protocol)
