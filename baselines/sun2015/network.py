"""The network that classifies the motion of a patch (Sun et al. 2015, section 3.1).

Made of convolutions alone, it classifies a 30x30 patch or, in one pass, all patches of an image
whose corners lie on a grid of four pixels: two poolings by two make the grid, and the fully
connected layers are convolutions.
"""

from typing import Any

import torch
from torch import Tensor, nn

from baselines.sun2015.kernels import TRAINED
from baselines.sun2015.method import PAPER_WIDTHS
from baselines.sun2015.prior import PatchPrior
from gopro_tools.errors import InputError

PATCH_PX = 30
"""Side of the patches that are classified."""
GRID_PX = 4
"""Distance of the patches that one pass classifies."""


class MotionClassifier(nn.Module):
    """Conv 7x7, ReLU, pool 2; conv 5x5, ReLU, pool 2; 1024 units, ReLU, dropout; 73 classes.

    30 -> 24 -> 12 -> 8 -> 4 -> 1 pixels; nothing is padded. The classes are `TRAINED`, in its
    order.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = PAPER_WIDTHS,
        dropout: float = 0.5,
        batch_norm: bool = False,
    ) -> None:
        """Make the layers, initialised as He et al. do; see `Sun2015Recipe` for the arguments."""
        super().__init__()
        first, second, hidden = widths
        norm = nn.BatchNorm2d if batch_norm else nn.Identity
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 7),
            nn.MaxPool2d(2),
            norm(first),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 5),
            nn.MaxPool2d(2),
            norm(second),
            nn.ReLU(inplace=True),
        )
        self.hidden = nn.Conv2d(second, hidden, 4)
        self.hidden_norm = norm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Conv2d(hidden, len(TRAINED), 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.classes.weight, std=0.01)

    def forward(self, images: Tensor, stride_px: int = GRID_PX) -> Tensor:
        """Classify all patches on a grid.

        Args:
            images: (N, 3, H, W), at least 30x30, as `patches.centred` or `normalised` makes them.
            stride_px: Distance of the patches, a multiple of 4.

        Returns:
            (N, 73, h, w) logits; entry (i, j) is of the patch whose upper left pixel is
            (i * stride_px, j * stride_px). A single patch gives (N, 73, 1, 1).
        """
        seen = self.features(images)
        hidden = nn.functional.conv2d(
            seen, self.hidden.weight, self.hidden.bias, stride=stride_px // GRID_PX
        )
        logits: Tensor = self.classes(self.dropout(torch.relu(self.hidden_norm(hidden))))
        return logits


class Sun2015(nn.Module):
    """All that is learned: the motion classifier and the patch prior, in one weight file."""

    def __init__(
        self,
        widths: tuple[int, int, int] = PAPER_WIDTHS,
        dropout: float = 0.5,
        n_components: int = 200,
        batch_norm: bool = False,
    ) -> None:
        """Make both, or raise InputError where a size is impossible."""
        super().__init__()
        if len(widths) != 3 or min(*widths, n_components) < 1 or not 0 <= dropout < 1:
            raise InputError(
                f"widths={widths}, dropout={dropout}, n_components={n_components}: three widths "
                "and components of at least 1 and a dropout in [0, 1) were expected."
            )
        self.architecture: dict[str, Any] = {
            "widths": list(widths),
            "dropout": dropout,
            "n_components": n_components,
            "batch_norm": batch_norm,
        }
        self.classifier = MotionClassifier(widths, dropout, batch_norm)
        self.prior = PatchPrior(n_components)

    def forward(self, images: Tensor) -> Tensor:
        """Classify patches: (N, 3, 30, 30) to (N, 73, 1, 1) logits; see `MotionClassifier`."""
        logits: Tensor = self.classifier(images)
        return logits
