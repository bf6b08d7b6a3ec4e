"""Other people's networks, recognised by their weight files: the method ``spandrel``.

The package of that name (MIT; extra ``zoo``) knows NAFNet, Uformer, FFTformer, KBNet, Retinexformer
and some forty more, and finds out width and depth from the tensors. Only tensors are read: a file
that needs code of its own to run is refused.
"""

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from baselines.checkpoints.tensors import read_tensors
from baselines.options import RestoreOptions
from baselines.restoring import NetworkRestorer
from gopro_tools.errors import InputError, installs
from gopro_tools.restorers import Restorer

if TYPE_CHECKING:
    import spandrel

log = logging.getLogger(__name__)


class ZooNetwork(nn.Module):
    """A network of the zoo as ours are called: any size in, the same size out.

    Args:
        model: What spandrel made of a weight file; it pads to the sizes the network takes.
    """

    def __init__(self, model: "spandrel.ImageModelDescriptor[Any]") -> None:
        super().__init__()
        self.network: nn.Module = model.model
        self._model = model

    def forward(self, images: Tensor) -> Tensor:
        """(1, 3, H, W) in [0, 1] -> the same."""
        restored: Tensor = self._model(images)
        return restored


def read_network(weights: Path) -> "spandrel.ImageModelDescriptor[Any]":
    """Recognise a network by its weight file, and fill it.

    Raises:
        InputError: The extra is not installed; the file is missing, damaged or holds more than
            tensors; the network is not known, or changes the size or the colours of images.
    """
    try:
        import spandrel
    except ImportError as error:
        raise InputError(
            f"--method spandrel needs the package spandrel ({error}): {installs('zoo')}."
        ) from error
    tensors = read_tensors(weights)
    try:
        with warnings.catch_warnings(action="ignore"):  # of their authors' torch and ours
            model = spandrel.ModelLoader().load_from_state_dict(
                spandrel.canonicalize_state_dict(tensors)
            )
    except Exception as error:  # detected by some names, and then other tensors are missing
        raise InputError(
            f"{weights}: no network that spandrel knows ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}). A network of your own is named as "
            "package.module:factory."
        ) from error
    form = (model.scale, model.input_channels, model.output_channels)
    if not isinstance(model, spandrel.ImageModelDescriptor) or form != (1, 3, 3):
        raise InputError(
            f"{weights}: {model.architecture.name} for {model.purpose} at scale {form[0]}, from "
            f"{form[1]} to {form[2]} channels; RGB to RGB at the images' own size was expected."
        )
    return model


def open_network(weights: Path | None, options: RestoreOptions) -> Restorer:
    """The restorer of any weight file that spandrel recognises.

    Raises:
        InputError: As `read_network`; no file is named, or the network cannot do what is asked.
    """
    if weights is None:
        raise InputError("--method spandrel needs --weights FILE (.pth, .ckpt or .safetensors).")
    model = read_network(weights)
    name = model.architecture.name
    if options.precision == "bf16" and not model.supports_bfloat16:
        raise InputError(f"{weights}: {name} does not compute in bf16; use --precision fp32.")
    if options.tile is not None and model.tiling.name != "SUPPORTED":
        log.warning("%s looks at whole images: tiles may show, or change the result.", name)
    log.info("%s: %s %s", weights, name, " ".join(model.tags))
    # Some of them have tensors of five dimensions, which know no such layout.
    return NetworkRestorer(ZooNetwork(model), replace(options, channels_last=False))
