"""The layout of DeblurGAN's weight files, by the names and shapes of their tensors."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from baselines.checkpoints import load_into
from baselines.deblurgan.network import Generator
from gopro_tools.errors import InputError

LAYOUT = "DeblurGAN's generator (model.1.weight, model.10.conv_block.1.weight, …)"


def load_deblurgan(tensors: Mapping[str, Tensor], path: Path) -> Generator | None:
    """DeblurGAN's ResNet generator: blocks and width are read off its names and shapes."""
    if not any(".conv_block." in name for name in tensors):
        return None
    blocks: dict[str, set[str]] = {}
    for name in tensors:
        if match := re.match(r"model\.(\d+)\.conv_block\.(\d+)\.weight$", name):
            blocks.setdefault(match[1], set()).add(match[2])
    if blocks and all(convolutions == {"1"} for convolutions in blocks.values()):
        n_parameters = sum(t.numel() for n, t in tensors.items() if not _is_statistic(n))
        raise InputError(
            f"{path}: a generator of DeblurGAN's later code, {n_parameters:,} parameters, whose "
            f"{len(blocks)} residual blocks have one convolution each. The paper's, and the "
            "published weights', have two (11,378,179 parameters in all); the second was lost in "
            "March 2019 to operator precedence in the code that builds a block (its issues 145 and "
            "168). Nor does the file say whether a ReLU follows the convolution: that depends on "
            "an option of the training run. It cannot be restored from; use the published file, or "
            "train anew."
        )
    first = tensors.get("model.1.weight")
    # Without dropout, which has no weights, the second convolution moves up by one.
    without_dropout = any("5" in convolutions for convolutions in blocks.values())
    network = Generator(
        n_features=64 if first is None else len(first),
        n_blocks=len(blocks),
        dropout=0.0 if without_dropout else 0.5,
    )
    statistics_of = {
        name for name, layer in network.named_modules() if isinstance(layer, nn.InstanceNorm2d)
    }

    def name_in_file(ours: str) -> str:
        return ours.replace("conv_block.6.", "conv_block.5.") if without_dropout else ours

    # Kept by instance norm in old versions of PyTorch and in the later code; neither reads them.
    used = {
        name: tensor
        for name, tensor in tensors.items()
        if not (_is_statistic(name) and name.rpartition(".")[0] in statistics_of)
    }
    load_into(network, used, f"{path} (DeblurGAN)", name_in_file)
    return network


def _is_statistic(name: str) -> bool:
    return name.endswith((".running_mean", ".running_var", ".num_batches_tracked"))
