"""What a network costs: parameters, and multiplications per image."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from baselines.restoring import NetworkRestorer, TiledRestorer
from baselines.zoo import ZooNetwork
from gopro_tools.restorers import Restorer

SHOWN_SIZE_HW = (720, 1280)
"""Size of the image whose restoration is timed and counted."""
_COUNTED_PX = 32


def n_macs(network: nn.Module, size_hw: tuple[int, int]) -> int:
    """Multiplications, each with an addition, for one image.

    Counted on a small square whose side every scale divides: the work of convolutions is
    proportional to the area.
    """
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.zeros(1, 3, _COUNTED_PX, _COUNTED_PX, device=device))
    n_products = int(counter.get_total_flops()) // 2
    return n_products * size_hw[0] * size_hw[1] // _COUNTED_PX**2


def cost_of(restorer: Restorer) -> dict[str, int]:
    """``n_parameters`` and ``n_macs`` for one image of 1280x720, as far as they are known.

    Of networks of the zoo only parameters: not all of them are made of what is counted, and
    attention is not proportional to the area.
    """
    if isinstance(restorer, TiledRestorer):
        return cost_of(restorer.restorer)
    if not isinstance(restorer, NetworkRestorer):
        return {}
    network = restorer.network
    cost = {"n_parameters": sum(parameter.numel() for parameter in network.parameters())}
    if not isinstance(network, ZooNetwork):
        cost["n_macs"] = n_macs(network, SHOWN_SIZE_HW)
    return cost
